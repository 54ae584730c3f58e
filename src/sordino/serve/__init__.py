"""The server: upload, WebSocket stream, WebRTC peer and the page."""
