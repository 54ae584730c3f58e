"""A live session: ports, engine and virtual device, kept running whatever happens to them."""

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from sordino.errors import SordinoError
from sordino.live.controls import Controls
from sordino.live.drift import Samples
from sordino.live.engine import Engine
from sordino.live.monitor import Monitor
from sordino.live.ports import DeviceLost
from sordino.live.recorder import Recorder
from sordino.live.settings import Settings
from sordino.live.status import State, Status
from sordino.live.systems.system import System
from sordino.live.wiring import Wiring
from sordino.model import Model, available_models, load_model

LOOK_SECONDS = 0.1  # from one look at whether all is well to the next
RETRY_SECONDS = 0.5  # from one attempt to open what is not there to the next
LIGHTER_MODEL = "small"


class Recent(NamedTuple):
    """The last seconds of a session, noisy and clean, aligned to the sample."""

    noisy: Samples
    clean: Samples
    sample_rate: int
    """In Hz."""


class Session:
    """Takes the noise out of a microphone, or of what others send, until it is stopped.

    Devices and the sound server may go and come back; within two seconds the sound flows again.

    Args:
        settings: what the user wants.
        system: where devices are.  It is not closed.

    Raises:
        SordinoError: the model cannot be loaded, or cannot do what is wanted.
    """

    def __init__(self, settings: Settings, system: System) -> None:
        self.settings, self.system = settings, system
        self._models = _ladder(settings)
        self._controls = Controls(settings.strength)
        self._monitor = Monitor(settings.sample_rate)
        seconds = settings.seconds
        self._until = None if seconds is None else round(seconds * settings.sample_rate)
        self._engine: Engine | None = None
        self._wiring = Wiring(settings, system)
        self._waiting_for = "starting"
        self._changes = 0
        self._underruns = 0  # of engines that are no more
        self._failure: Exception | None = None
        self._recording: Recorder | None = None  # of the whole session
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._lock = threading.Lock()  # between those who add and drop recorders
        self._supervisor = threading.Thread(target=self._supervise, name="session", daemon=True)

    def start(self) -> None:
        """Begin; returns when sound flows, or when it is known what has to be waited for.

        Raises:
            SordinoError: something is missing that will not come by itself.
        """
        try:
            if self.settings.record:
                self._recording = Recorder(self.settings.record, self.settings.sample_rate)
                self._add(self._recording)
            self._changes = self.system.changes()
            with suppress(DeviceLost):
                self.system.clean_up()  # what a crashed run left, with or without a new one
                self._connect()
        except BaseException:
            self._end()
            raise
        self._supervisor.start()

    def stop(self) -> None:
        """End: recordings are completed, virtual devices removed.  May be called twice."""
        self._stopping.set()
        if self._supervisor.ident:
            self._supervisor.join()
        self._end()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the session has ended by itself; return whether it has.

        It does so after `Settings.seconds`, or at the end of a file.

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

    def set_bypass(self, bypass: bool) -> None:
        """Let the sound pass as it is, or clean it again; crossfaded."""
        self._controls.bypass = bypass

    def set_muted(self, muted: bool) -> None:
        """Put out silence; what is muted is not recorded either."""
        self._controls.muted = muted

    def set_strength(self, strength: float) -> None:
        """Set the share of the noise that is taken away, 0..1.

        Raises:
            SordinoError: it is out of range.
        """
        if not 0 <= strength <= 1:
            raise SordinoError(f"strength is {strength}: expected 0 to 1")
        self._controls.strength = strength

    def record(self, seconds: float, folder: Path) -> tuple[Path, Path]:
        """Record what comes next; returns at once.

        Returns:
            Where the noisy and the clean recording will be when they are complete.

        Raises:
            SordinoError: the folder cannot be written to.
        """
        recorder = Recorder(folder, self.settings.sample_rate, seconds)
        self._add(recorder)
        return recorder.paths

    def recent(self, seconds: float) -> Recent:
        """Return the last seconds, as far as there are so many (30 are kept)."""
        return Recent(*self._monitor.recent(seconds), self.settings.sample_rate)

    def status(self) -> Status:
        """Return what the session does at this moment."""
        engine, monitor, controls = self._engine, self._monitor, self._controls
        seconds = monitor.samples / monitor.sample_rate
        if engine is None:
            return Status(
                reason=self._waiting_for,
                underruns=self._underruns,
                strength=controls.strength,
                seconds=seconds,
            )
        ladder, source, sink = engine.ladder, engine.source, engine.sink
        busy, best = ladder.rung > 0, self._models[0].info.name
        state: State = "active"
        reason = ""
        if controls.muted:
            state, reason = "muted", "you have muted it"
        elif controls.bypass:
            state, reason = "bypassed", "you have chosen so"
        elif busy and not ladder.model:
            state, reason = "bypassed", "the processor is too busy"
        elif busy:
            reason = f"the processor is too busy for {best!r}, so {ladder.model!r} does the work"
        return Status(
            state=state,
            reason=reason or (self._recording.problem if self._recording else ""),
            input_dbfs=monitor.input_dbfs,
            output_dbfs=monitor.output_dbfs,
            taken_db=monitor.taken_db,
            speech_probability=ladder.speech_probability,
            cpu_share=engine.cpu_share,
            underruns=self._underruns + engine.playout.underruns,
            model=ladder.model,
            strength=controls.strength,
            latency_seconds=engine.latency,
            input_name=source.name,
            output_name=sink.name,
            input_rate=source.sample_rate,
            output_rate=sink.sample_rate,
            seconds=seconds,
            drift_ppm=engine.playout.drift_ppm,
        )

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
        while not self._stopping.wait(LOOK_SECONDS):
            self._drop_recorders()
            if self._engine and self._engine.finished.is_set():
                if self._engine.failure:
                    raise self._engine.failure
                return
            changes = self.system.changes()
            changed, self._changes = changes != self._changes, changes
            if self._engine:
                self._waiting_for = self._wiring.loss(changed)
                if not self._waiting_for:
                    continue
                self._disconnect()
            elif not changed and time.monotonic() - tried < RETRY_SECONDS:
                continue
            tried = time.monotonic()
            with suppress(DeviceLost):
                self._connect()

    def _connect(self) -> None:
        """Open the devices and start an engine between them; see `Wiring.connect`."""
        try:
            source, sink = self._wiring.connect()
        except DeviceLost as error:
            self._waiting_for = str(error)
            raise
        limit = self.settings.attenuation_limit_db
        engine = Engine(
            source, sink, self._models, self._controls, self._monitor, limit, self._until
        )
        engine.start()
        self._engine = engine

    def _disconnect(self) -> None:
        engine, self._engine = self._engine, None
        if engine:
            engine.stop()
            self._underruns += engine.playout.underruns
        self._wiring.disconnect()
        self._monitor.silence()

    def _add(self, recorder: Recorder) -> None:
        with self._lock:
            self._monitor.recorders = (*self._monitor.recorders, recorder)

    def _drop_recorders(self) -> None:
        with self._lock:
            recorders = self._monitor.recorders
            self._monitor.recorders = tuple(each for each in recorders if not each.done.is_set())

    def _end(self) -> None:
        self._disconnect()
        for recorder in self._monitor.recorders:
            recorder.close()
        self._drop_recorders()
        self._wiring.close()


def _ladder(settings: Settings) -> list[Model]:
    """Return the models to run, the one asked for and a lighter one for a busy processor."""
    models = [settings.load_model()]
    if settings.model == "default" and LIGHTER_MODEL in available_models():
        models.append(load_model(LIGHTER_MODEL))
    return models
