"""What the icon, its menu and the window have in common: the session and the user's wishes."""

from PySide6.QtCore import QObject, Signal

from sordino.live.backends import MICROPHONE, Backend, Device
from sordino.live.backends.base import DeviceLost, Sink, virtual_end
from sordino.live.config import Settings
from sordino.live.session import Session, Status


class Desk(QObject):
    """Runs a session and passes the user's wishes on to it.

    Args:
        settings: how it is to begin.
        backend: where devices are; it is closed with the session.
    """

    cleaning_changed = Signal(bool)
    muted_changed = Signal(bool)

    def __init__(self, settings: Settings, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self.session = Session(settings, backend)
        self._cleaning, self._muted = True, False

    def start(self) -> None:
        """Begin; raises what `Session.start` raises."""
        self.session.start()

    def stop(self) -> None:
        """End, and leave the system as it was; may be called twice."""
        self.session.stop()
        self.backend.close()

    @property
    def cleaning(self) -> bool:
        """Whether the noise is to be taken out; if not, the sound passes as it is."""
        return self._cleaning

    def set_cleaning(self, wanted: bool) -> None:
        """Take the noise out, or let it pass."""
        if wanted != self._cleaning:
            self._cleaning = wanted
            self.session.set_bypass(not wanted)
            self.cleaning_changed.emit(wanted)

    @property
    def muted(self) -> bool:
        """Whether nothing passes."""
        return self._muted

    def set_muted(self, wanted: bool) -> None:
        """Let nothing pass, or something again."""
        if wanted != self._muted:
            self._muted = wanted
            self.session.set_muted(wanted)
            self.muted_changed.emit(wanted)

    def status(self) -> Status:
        """Return what the session does at this moment."""
        return self.session.status()

    def inputs(self) -> list[Device]:
        """Return the microphones that there are, and what else is chosen to be one.

        There are none while the sound server is away.
        """
        try:
            devices = self.backend.devices()
        except DeviceLost:
            return []
        return [
            device
            for device in devices
            if device.kind == "input"
            and not device.virtual
            and (not device.monitor or self.session.input in (device.name, device.label))
        ]

    def virtual_name(self) -> str:
        """Return what meeting programs call the clean microphone; a cable has its own name."""
        try:
            device = virtual_end(self.backend, "input", MICROPHONE)
        except DeviceLost:
            device = None
        return device.label if device else MICROPHONE

    def open_loudspeaker(self, sample_rate: int) -> Sink:
        """Open what the user hears with; raises DeviceLost."""
        return self.backend.open_output(None, sample_rate)
