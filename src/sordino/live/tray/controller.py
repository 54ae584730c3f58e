"""What the icon, its menu and the window have in common: the session and the user's choices."""

from dataclasses import replace
from pathlib import Path
from threading import Thread

from PySide6.QtCore import QObject, QStandardPaths, Signal

from sordino.errors import SordinoError
from sordino.live.backends import MICROPHONE, Backend, Device
from sordino.live.backends.base import DeviceLost, Sink, virtual_end
from sordino.live.config import LiveSettings
from sordino.live.monitor import Status
from sordino.live.session import Session
from sordino.live.tray.preferences import Preferences
from sordino.voice import Voice, check_name, saved_voices

RECORD_SECONDS = 60


class Controller(QObject):
    """Runs a session, passes the user's choices on to it and remembers them.

    Args:
        settings: how the session begins.
        backend: where devices are; it is closed with the session.
        preferences: where choices are remembered; None: nowhere.
    """

    cleaning_changed = Signal(bool)
    muted_changed = Signal(bool)
    voice_enrolled = Signal(str, str)
    """Name of a new profile, or "" and why there is none."""

    def __init__(
        self, settings: LiveSettings, backend: Backend, preferences: Preferences | None = None
    ) -> None:
        super().__init__()
        self.backend = backend
        self.session = Session(replace(settings, wait=True), backend)
        self._preferences = preferences

    def start(self) -> None:
        """Begin; raises what `Session.start` raises."""
        self.session.start()

    def stop(self) -> None:
        """End, and leave the system as it was; may be called twice."""
        self.session.stop()
        self.backend.close()

    @property
    def cleaning(self) -> bool:
        """Whether the noise is taken out; if not, the sound passes as it is."""
        return not self.session.bypassed

    def set_cleaning(self, cleaning: bool) -> None:
        """Take the noise out, or let the sound pass as it is."""
        if cleaning != self.cleaning:
            self.session.set_bypass(not cleaning)
            self.cleaning_changed.emit(cleaning)

    @property
    def muted(self) -> bool:
        """Whether nothing passes."""
        return self.session.muted

    def set_muted(self, muted: bool) -> None:
        """Let nothing pass, or something again."""
        if muted != self.muted:
            self.session.set_muted(muted)
            self.muted_changed.emit(muted)

    def set_strength(self, strength: float) -> None:
        """Set the share of the noise that is removed, 0..1."""
        self.session.set_strength(strength)
        self._remember("strength", strength)

    def set_attenuation_limit(self, limit_db: float | None) -> None:
        """Set the maximum attenuation of any sound, in dB; None: no limit."""
        self.session.set_attenuation_limit(limit_db)
        self._remember("attenuation_limit_db", limit_db)

    def set_input(self, name: str | None) -> None:
        """Change over to another microphone; None: the system's default."""
        self.session.set_input(name)
        self._remember("input", name)

    def set_model(self, model: str) -> None:
        """Change over to another model.

        Raises:
            SordinoError: it cannot be loaded; the one before goes on.
        """
        self.session.set_model(model)
        self._remember("model", model)

    def set_voice(self, voice: str | None) -> None:
        """Keep the voice of this profile alone; None keeps everybody.

        Raises:
            SordinoError: there is no such profile, or the model cannot single it out.
        """
        self.session.set_voice(voice)
        self._remember("voice", voice)

    def enrol(self, name: str, seconds: float) -> None:
        """Make a profile of what the microphone heard last; `voice_enrolled` tells how it went.

        Args:
            name: of the profile.
            seconds: how much of the sound, 30 at most.

        Raises:
            SordinoError: the name cannot be used, or is taken.
        """
        check_name(name)
        if name in saved_voices():
            raise SordinoError(f"there is a voice {name!r} already: choose another name")
        recent = self.session.recent(seconds)

        def work() -> None:
            try:
                Voice.enroll((recent.noisy, recent.sample_rate), name).save()
            except SordinoError as error:
                self.voice_enrolled.emit("", str(error))
            else:
                self.voice_enrolled.emit(name, "")

        Thread(target=work, name="enrolment", daemon=True).start()

    @property
    def on_demand(self) -> bool:
        """Whether the microphone is taken only while somebody listens."""
        return self.session.on_demand

    def set_on_demand(self, on_demand: bool) -> None:
        """Take the microphone only while somebody listens, or always.

        Raises:
            SordinoError: this system does not report which programs record.
        """
        self.session.set_on_demand(on_demand)
        self._remember("on_demand", on_demand or None)

    def record(self) -> Path:
        """Record the next minute, noisy and clean; return the folder.

        Raises:
            SordinoError: the folder cannot be written to.
        """
        music = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.MusicLocation)
        folder = Path(music) / "Sordino"
        self.session.record(RECORD_SECONDS, folder)
        return folder

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

    def _remember(self, name: str, value: object) -> None:
        if self._preferences is not None:
            self._preferences.remember(name, value)
