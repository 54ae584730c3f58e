"""The server: uploads, WebSocket streams, WebRTC peers and the page.

>>> from sordino.serve.app import create_app
>>> from sordino.serve.settings import Settings
>>> create_app(Settings(calibrate=False)).title
'Sordino'
"""
