"""The server: uploads, WebSocket streams, WebRTC peers and the page.

>>> from sordino.serve.app import create_app
>>> from sordino.serve.settings import ServerSettings
>>> create_app(ServerSettings(calibrate=False)).title
'Sordino'
"""
