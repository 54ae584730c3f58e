"""One tray for each user: a second start talks to the first, as keyboard shortcuts do."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QStandardPaths
from PySide6.QtNetwork import QLocalServer, QLocalSocket

WAIT_MILLISECONDS = 10_000  # for a tray that is busy; where none runs, the answer comes at once
MAX_BYTES = 64


def server_name() -> str:
    """Return the name of the local socket of this user's tray: a path, but on Windows."""
    if sys.platform == "win32":
        return "sordino-tray"
    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.RuntimeLocation)
    return str(Path(folder) / "sordino-tray")


def send(command: str) -> bool:
    """Send a command to the tray that runs.

    Args:
        command: "open", "mute" or "noise".

    Returns:
        False if none runs.
    """
    socket = QLocalSocket()
    socket.connectToServer(server_name())
    if not socket.waitForConnected(WAIT_MILLISECONDS):
        return False
    socket.write(command.encode())
    sent = socket.waitForBytesWritten(WAIT_MILLISECONDS)
    socket.disconnectFromServer()
    return sent


class CommandServer(QObject):
    """Takes commands of later starts.

    Args:
        actions: what each command does.
    """

    def __init__(self, actions: dict[str, Callable[[], None]]) -> None:
        super().__init__()
        self._actions = actions
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._accept)
        name = server_name()
        if not self._server.listen(name):  # a tray that crashed has left its socket
            QLocalServer.removeServer(name)
            self._server.listen(name)

    def close(self) -> None:
        """Take no more commands."""
        self._server.close()

    def _accept(self) -> None:
        while self._server.hasPendingConnections():
            socket = self._server.nextPendingConnection()
            socket.disconnected.connect(socket.deleteLater)
            socket.readyRead.connect(partial(self._obey, socket))
            self._obey(socket)  # what has arrived already

    def _obey(self, socket: QLocalSocket) -> None:
        command = bytes(socket.read(MAX_BYTES).data()).decode("utf-8", "replace")
        if command in self._actions:
            self._actions[command]()
