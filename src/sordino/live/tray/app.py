"""The tray: an icon with a menu, the window behind it, and a clean end."""

import sys
from collections.abc import Mapping
from threading import Event
from typing import Any

from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication, QMenu, QSystemTrayIcon

from sordino.errors import SordinoError
from sordino.live.backends import choose_backend
from sordino.live.terminal import stop_signals
from sordino.live.tray.controller import Controller
from sordino.live.tray.instance import CommandServer
from sordino.live.tray.preferences import Autostart, Preferences
from sordino.live.tray.widgets import state_icon
from sordino.live.tray.window import Window, state_words

SHOWN_MILLISECONDS = 50  # between two refreshes of the window
HIDDEN_MILLISECONDS = 250  # and of the icon alone


class Tray(QObject):
    """Icon, menu and window of one session.

    Args:
        controller: of the session, which runs.
        stop: set when the program is to end.
    """

    def __init__(self, controller: Controller, stop: Event) -> None:
        super().__init__()
        self.controller, self._stop = controller, stop
        self.failure: SordinoError | None = None
        """Why the session has ended, if something went wrong inside."""
        self.window = Window(controller, Autostart())
        self.menu = QMenu()
        self.clean_action = self._add_switch("Take the &noise out", controller.cleaning)
        self.clean_action.toggled.connect(controller.set_cleaning)
        controller.cleaning_changed.connect(self.clean_action.setChecked)
        self.mute_action = self._add_switch("&Mute", controller.muted)
        self.mute_action.toggled.connect(controller.set_muted)
        controller.muted_changed.connect(self.mute_action.setChecked)
        self.demand_action = self._add_switch(
            "Microphone only while somebody &listens", controller.on_demand
        )
        self.demand_action.toggled.connect(self._set_on_demand)
        self.menu.addSeparator()
        self.menu.addAction("&Open the window").triggered.connect(self.open)
        self.menu.addAction("&Quit").triggered.connect(QApplication.quit)
        self.icon = QSystemTrayIcon()
        self.icon.setContextMenu(self.menu)
        self.icon.activated.connect(self._clicked)
        self._timer = QTimer(self, interval=HIDDEN_MILLISECONDS)
        self._timer.timeout.connect(self.refresh)
        self._commands: CommandServer | None = None

    def start(self) -> None:
        """Show the icon; where the desktop has no tray, the window instead, which then quits."""
        self._commands = CommandServer(
            {
                "open": self.open,
                "mute": self.mute_action.toggle,
                "noise": self.clean_action.toggle,
            }
        )
        self.refresh()
        self._timer.start()
        self.icon.show()
        if not QSystemTrayIcon.isSystemTrayAvailable():
            self.open()

    def open(self) -> None:
        """Show the window, above all others."""
        self.window.show()
        self.window.raise_()
        self.window.activateWindow()
        self.refresh()

    def refresh(self) -> None:
        """Show the state of this moment; quit when told to or when the session has ended."""
        try:
            ended = self.controller.session.wait(0)
        except SordinoError as error:
            self.failure, ended = error, True
        if ended or self._stop.is_set():
            QApplication.quit()
        status = self.controller.status()
        icon = state_icon(status.state)
        if icon.cacheKey() != self.icon.icon().cacheKey():
            self.icon.setIcon(icon)
            self.window.setWindowIcon(icon)
        # At login the tray may come later than this program, and then the window may be closed.
        QApplication.setQuitOnLastWindowClosed(not QSystemTrayIcon.isSystemTrayAvailable())
        words = f"Sordino: {state_words(status)}"
        if words != self.icon.toolTip():
            self.icon.setToolTip(words)
        seen = self.window.isVisible() and not self.window.isMinimized()
        self._timer.setInterval(SHOWN_MILLISECONDS if seen else HIDDEN_MILLISECONDS)
        if seen:
            self.window.refresh()

    def close(self) -> None:
        """Take the icon and the window away."""
        if self._commands is not None:
            self._commands.close()
        self._timer.stop()
        self.window.player.stop()
        self.window.close()
        self.icon.hide()

    def _add_switch(self, text: str, checked: bool) -> QAction:
        action = QAction(text, self.menu, checkable=True, checked=checked)
        self.menu.addAction(action)
        return action

    def _set_on_demand(self, on_demand: bool) -> None:
        try:
            self.controller.set_on_demand(on_demand)
        except SordinoError as error:
            self.icon.showMessage("Sordino", str(error))
            self.demand_action.setChecked(False)

    def _clicked(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        if reason == QSystemTrayIcon.ActivationReason.Trigger:  # on others the menu opens itself
            self.open()


def run(options: Mapping[str, Any]) -> None:
    """Run a session with its tray until the user or the system ends it.

    Args:
        options: fields of `LiveSettings`; for those that are not there, what the user chose last.

    Raises:
        SordinoError: the session cannot begin, or something went wrong inside.
    """
    app = QApplication.instance() or QApplication(sys.argv[:1])
    app.setApplicationName("Sordino")
    preferences = Preferences()
    with stop_signals() as stop:
        controller = Controller(preferences.settings(options), choose_backend(), preferences)
        try:
            controller.start()
            tray = Tray(controller, stop)
            tray.start()
            app.exec()
            tray.close()
        finally:
            controller.stop()
    if tray.failure:
        raise tray.failure
