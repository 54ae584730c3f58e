"""A live session: devices, engine and virtual device, kept running whatever happens to them."""

import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.levels import checked_attenuation_limit, checked_strength
from sordino.live.backends.base import (
    Backend,
    DeviceLost,
    RefusedDeviceError,
    ServerLost,
    UnheardError,
    UnknownDevice,
)
from sordino.live.config import LiveSettings
from sordino.live.devices import AudioIO
from sordino.live.engine import Controls, Engine
from sordino.live.monitor import Monitor, ProcessorUse, Recent, State, Status
from sordino.live.recorder import Recorder
from sordino.live.voices import AutoEnrolment
from sordino.voice import AnyVoices, Voice

CHECK_SECONDS = 0.1  # between two checks whether all is well
GRACE_SECONDS = 0.5  # that sound may come late without being cut off
RETRY_SECONDS = 0.5  # between two attempts to open what is not there

IDLE_SECONDS = 2.0  # the same while no program records, unless a recording begins


class Session:
    """Takes the noise out of a microphone, or of what others send, until it is stopped.

    Devices and the sound server may go and come back; within two seconds the sound flows again.
    The session is the one place that knows what the user has chosen while it runs: terminal and
    tray read its properties and keep no copies.

    Args:
        settings: how it begins.
        backend: where devices are.  It is not closed.

    Raises:
        SordinoError: the model cannot be loaded, or cannot do what is wanted.
    """

    def __init__(self, settings: LiveSettings, backend: Backend) -> None:
        self.settings, self.backend = settings, backend
        self._wanted = settings  # with the model and the voices that the user has chosen meanwhile
        self._voices = settings.load_voices()
        self._models = settings.load_models()
        self._controls = Controls(settings.strength, settings.attenuation_limit_db)
        self._monitor = Monitor(settings.sample_rate)
        self._enrolment = self._new_enrolment()
        seconds = settings.seconds
        self._until = None if seconds is None else round(seconds * settings.sample_rate)
        self._deadline: float | None = None  # by `time.monotonic`
        self._engine: Engine | None = None
        self._io = AudioIO(settings, backend)
        self._waiting_for = "starting"
        self._idle = False
        self._processor = ProcessorUse()
        self._changes = 0
        self._restart = False  # devices and engine, with what the user has chosen meanwhile
        self._underruns = 0  # of engines that are no more
        self._failure: Exception | None = None
        self._recording: Recorder | None = None  # of the whole session
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._lock = threading.Lock()  # between those who add and drop recorders
        self._supervisor = threading.Thread(target=self._supervise, name="session", daemon=True)

    def start(self) -> None:
        """Begin; returns when sound flows, or when it is known what has to be waited for.

        Raises:
            SordinoError: something is missing that will not come by itself, or, unless the
                settings say to wait, no device has the given name or no server answers.
        """
        try:
            if self.settings.record:
                self._recording = Recorder(self.settings.record, self.settings.sample_rate)
                self._add(self._recording)
            self._changes = self.backend.changes()
            self._begin()
        except BaseException:
            self._end()
            raise
        self._supervisor.start()

    def _begin(self) -> None:
        try:
            self.backend.clean_up()  # what a crashed run left, with or without a new one
            self._connect()
        except (ServerLost, UnknownDevice) as error:
            if not self.settings.wait:
                hint = ": `sordino doctor` says how to fix it" if ":" not in str(error) else ""
                raise SordinoError(f"{error}{hint}; --wait waits for it") from error
            self._waiting_for = str(error)
        except DeviceLost as error:
            self._waiting_for = str(error)
        if self.settings.seconds is not None:
            self._deadline = time.monotonic() + self.settings.seconds + GRACE_SECONDS

    def stop(self) -> None:
        """End: recordings are completed, virtual devices removed.  May be called twice."""
        self._stopping.set()
        if self._supervisor.ident:
            self._supervisor.join()
        self._end()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the session has ended by itself; return whether it has.

        It does so after `LiveSettings.seconds`, or at the end of a file.

        Args:
            timeout: in seconds; None: as long as it takes.

        Raises:
            SordinoError: it ended because something went wrong.
        """
        ended = self._ended.wait(timeout)
        if self._failure:
            raise SordinoError(f"the session has ended: {self._failure}") from self._failure
        return ended

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bypassed(self) -> bool:
        """Whether the user has turned bypass on."""
        return self._controls.bypass

    def set_bypass(self, bypass: bool) -> None:
        """Turn bypass on (the sound passes unchanged) or off; crossfaded."""
        self._controls.bypass = bypass

    @property
    def muted(self) -> bool:
        """Whether the user has muted the output."""
        return self._controls.muted

    def set_muted(self, muted: bool) -> None:
        """Mute the output, or unmute it; muted sound is not recorded either."""
        self._controls.muted = muted

    @property
    def strength(self) -> float:
        """Share of the noise that is removed, 0..1."""
        return self._controls.strength

    def set_strength(self, strength: float) -> None:
        """Set the share of the noise that is removed, 0..1.

        Raises:
            SordinoError: it is out of range.
        """
        checked_strength(strength)
        self._controls.strength = strength

    @property
    def attenuation_limit_db(self) -> float | None:
        """The maximum attenuation of any sound, in dB; None: no limit."""
        return self._controls.attenuation_limit_db

    def set_attenuation_limit(self, limit_db: float | None) -> None:
        """Set the maximum attenuation of any sound, in dB; None: no limit.

        Raises:
            SordinoError: it is negative.
        """
        checked_attenuation_limit(limit_db)
        self._controls.attenuation_limit_db = limit_db

    @property
    def input(self) -> str | None:
        """Name or label of the microphone; None: the system's default."""
        return self._io.input

    def set_input(self, name: str | None) -> None:
        """Change over to another microphone; the virtual device stays.

        Args:
            name: name or label; None: the system's default.  Its channel is detected again.

        Raises:
            SordinoError: it must not be used, since it is one of Sordino's own.  The one before
                goes on.
        """
        self._io.check_input(name)
        self._io.input = name
        self._io.channel = None
        self._restart = True

    @property
    def on_demand(self) -> bool:
        """Whether the microphone is open only while a program records the virtual one."""
        return self._io.on_demand

    def set_on_demand(self, on_demand: bool) -> None:
        """Open the microphone only while a program records the virtual one, or always.

        Raises:
            SordinoError: this system does not report which programs record.
        """
        if on_demand:
            with suppress(DeviceLost):
                self.backend.is_heard()
        self._io.on_demand = on_demand
        if self._engine is None:
            self._restart = True

    @property
    def channel(self) -> int | None:
        """Channel of the microphone, counted from 1; None: the one with sound."""
        return self._io.channel

    def set_channel(self, channel: int | None) -> None:
        """Change over to another channel of the microphone.

        Args:
            channel: counted from 1; None: the one with sound.

        Raises:
            SordinoError: the microphone has no such channel.
        """
        engine = self._engine
        channels = engine.source.picker.channels if engine else channel
        if channel is not None and not 1 <= channel <= (channels or channel):
            raise SordinoError(f"the microphone has {channels} channels: there is no {channel}")
        self._io.channel = channel
        self._restart = True

    @property
    def model(self) -> str:
        """Name of the model that the user chose; `Status.model` is the one in use."""
        return self._models[0].info.name

    def set_model(self, model: str | Path) -> None:
        """Change over to another model; the virtual device stays.

        Args:
            model: name of a packaged model, or path of an .onnx file.

        Raises:
            SordinoError: it cannot be loaded.
        """
        wanted = replace(self._wanted, model=model)
        self._models, self._wanted = wanted.load_models(), wanted
        self._restart = True

    @property
    def voices(self) -> tuple[Voice, ...]:
        """Profiles of the only voices to keep; () keeps everybody."""
        return self._voices.voices

    def set_voice(self, voice: AnyVoices) -> None:
        """Change over to other voices; the virtual device stays.

        Args:
            voice: see `LiveSettings`; None keeps everybody.

        Raises:
            SordinoError: there is no such profile, or the model cannot single out a voice.
        """
        wanted = replace(self._wanted, voice=voice)
        voices, models = wanted.load_voices(), wanted.load_models()
        self._wanted, self._voices, self._models = wanted, voices, models
        self._enrolment = self._new_enrolment()
        self._restart = True

    def _new_enrolment(self) -> AutoEnrolment | None:
        return AutoEnrolment(self._monitor, self.set_voice) if self._wanted.enrols else None

    @property
    def algorithm_latency(self) -> float:
        """Latency of the model and its windows alone, in seconds."""
        return Denoiser(self._models[0], self.settings.sample_rate).latency

    def record(self, seconds: float, folder: Path) -> tuple[Path, Path]:
        """Record what comes next; returns at once.

        Args:
            seconds: how much.
            folder: where; it is made if it is not there.

        Returns:
            Where the noisy and the clean recording will be when they are complete.

        Raises:
            SordinoError: the folder cannot be written to.
        """
        recorder = Recorder(folder, self.settings.sample_rate, seconds)
        self._add(recorder)
        return recorder.paths

    def recent(self, seconds: float) -> Recent:
        """Return the last seconds; at most 30 are kept."""
        return Recent(*self._monitor.recent(seconds), self.settings.sample_rate)

    def status(self) -> Status:
        """Return what the session does at this moment."""
        engine, monitor = self._engine, self._monitor
        status = Status(
            reason=self._waiting_for,
            underruns=self._underruns,
            strength=self.strength,
            seconds=monitor.samples / monitor.sample_rate,
        )
        if engine is None:
            return replace(status, state="idle" if self._idle else "waiting")
        state, reason = self._state(engine)
        input, output = self._io.devices or (None, None)
        return replace(
            status,
            state=state,
            reason=reason,
            notice=self._notice(engine),
            input_dbfs=monitor.input_dbfs,
            output_dbfs=monitor.output_dbfs,
            taken_db=monitor.taken_db,
            speech_probability=engine.fallback.speech_probability,
            voice=self._voices.names,
            voice_probability=engine.fallback.target_probability,
            cpu_share=self._processor.share(),
            underruns=self._underruns + engine.output.underruns,
            model=engine.fallback.model,
            latency_seconds=engine.latency,
            input_name=engine.source.name,
            output_name=engine.sink.name,
            input_rate=input.rate if input else engine.source.sample_rate,
            output_rate=output.rate if output else engine.sink.sample_rate,
            channel=engine.source.picker.channel,
            channels=engine.source.picker.channels,
            drift_ppm=engine.output.drift_ppm,
        )

    def _notice(self, engine: Engine) -> str:
        """Return what the user should know besides, the gravest first."""
        if self._recording and self._recording.problem:
            return self._recording.problem
        if engine.fallback.voice_missing:
            falls_back = self._voices.fallback_seconds is not None
            then = "everybody is kept until it is heard" if falls_back else "it alone is kept"
            return f"people speak, but {self._voices.names} is not heard: {then}"
        if self._enrolment and not self._enrolment.done:
            return "everybody is kept until there has been enough of one voice to enrol it"
        return self.backend.notice

    def _state(self, engine: Engine) -> tuple[State, str]:
        """Return the state of a running engine and the reason for it."""
        fallback = engine.fallback
        if self.muted:
            return "muted", "you have muted it"
        if self._io.devices and self._io.devices[0].muted:
            name = self._io.devices[0].label
            return "muted", f"{name} is muted in the sound settings: switch it on there"
        if self.bypassed:
            return "bypassed", "you have chosen so"
        if fallback.level and not fallback.model:
            return "bypassed", "the processor is too busy"
        if fallback.level:
            reason = f"the processor is too busy for {self.model!r}, so {fallback.model!r} is used"
            return "active", reason
        return "active", ""

    def _supervise(self) -> None:
        try:
            self._keep_running()
        except Exception as error:
            self._failure = error
            self._waiting_for = str(error)
            self._disconnect()
        self._ended.set()

    def _keep_running(self) -> None:
        """Return when there is no more sound, or when told to."""
        tried = time.monotonic()
        while not self._stopping.wait(CHECK_SECONDS):
            self._drop_recorders()
            if self._enrolment:
                self._enrolment.poll()
            if self._is_over():
                return
            if self._engine and self._engine.finished.is_set():
                if self._engine.failure:
                    raise self._engine.failure
                return
            changes = self.backend.changes()
            restart, self._restart = self._restart, False
            changed, self._changes = changes != self._changes or restart, changes
            if self._engine:
                loss = self._io.loss(changed)
                if not loss and not restart:
                    continue
                self._waiting_for = loss or "changing over"
                self._disconnect()
            elif not changed and time.monotonic() - tried < self._pause:
                continue
            tried = time.monotonic()
            with suppress(DeviceLost, RefusedDeviceError):
                self._connect()

    @property
    def _pause(self) -> float:
        """Seconds between two attempts to begin."""
        return IDLE_SECONDS if self._idle else RETRY_SECONDS

    def _is_over(self) -> bool:
        """Whether the time is up, where sound comes in real time or not at all."""
        clocked = self._engine is None or self._engine.source.clocked
        return clocked and self._deadline is not None and time.monotonic() > self._deadline

    def _connect(self) -> None:
        """Open the devices and start an engine between them; see `AudioIO.connect`."""
        try:
            source, sink = self._io.connect()
        except (DeviceLost, RefusedDeviceError) as error:
            self._waiting_for = str(error)
            self._idle = isinstance(error, UnheardError)
            raise
        self._idle = False
        engine = Engine(
            source, sink, self._models, self._controls, self._monitor, self._until, self._voices
        )
        engine.start()
        self._engine = engine

    def _disconnect(self) -> None:
        engine, self._engine = self._engine, None
        if engine:
            engine.stop()
            self._underruns += engine.output.underruns
        self._io.disconnect()
        self._monitor.silence()

    def _add(self, recorder: Recorder) -> None:
        with self._lock:
            self._monitor.recorders = (*self._monitor.recorders, recorder)

    def _drop_recorders(self) -> None:
        with self._lock:
            recorders = self._monitor.recorders
            self._monitor.recorders = tuple(each for each in recorders if not each.done.is_set())

    def _end(self) -> None:
        if self._enrolment:
            self._enrolment.close()
        self._disconnect()
        for recorder in self._monitor.recorders:
            recorder.close()
        self._drop_recorders()
        self._io.close()
