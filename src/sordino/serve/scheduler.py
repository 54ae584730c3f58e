"""Micro-batching scheduler: a pool of threads that runs blocks of many live streams together.

`LiveStream.process` queues a block.  A free thread takes all queued blocks, the most urgent first,
and runs the network once for those of the same shape; meanwhile the next batch gathers.  So no
block ever waits for a batch to fill, and batches grow as the load does.

A stream that sends faster than real time gets what the others leave: a block is due when it would
have come if all audio of its stream had come in real time.
"""

import asyncio
import heapq
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import Condition, Thread
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.model import available_models, load_model
from sordino.serve.admission import Reservation, StreamAdmission
from sordino.serve.errors import Draining, Refusal
from sordino.serve.metrics import Metrics
from sordino.serve.settings import ServerSettings
from sordino.stft import FRAMES_PER_SECOND
from sordino.voice import EVERYBODY, VoiceChoice, load_voice_model

PIECE_SECONDS = 0.04  # longer blocks are split, so that nobody waits for them
BATCH_FRAMES = 16  # of all channels in one batch: about 3 ms of one processor
JITTER_SECONDS = 0.1  # that a stream may be early without losing priority
SWITCH_SECONDS = 0.0005  # of the GIL; Python's default of 5 ms would delay blocks

Sound = NDArray[np.float32]


@dataclass(order=True)
class _Work:
    """A block in the queue."""

    due: float
    number: int
    stream: "LiveStream" = field(compare=False)
    block: NDArray[Any] = field(compare=False)
    future: "asyncio.Future[Sound]" = field(compare=False)
    frames: float = field(compare=False)  # of all channels


class Scheduler:
    """Runs all live streams of a server; it belongs to one event loop.

    Args:
        settings: threads, limits, and whether the machine is measured at the start.
        metrics: of the server.
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self.metrics = metrics
        self.admission = StreamAdmission(
            settings.inference_threads, settings.max_streams, settings.late_share
        )
        self.streams: set[LiveStream] = set()
        self.draining_until: float | None = None
        self._calibrates = settings.calibrate
        self._threads = [
            Thread(target=self._run, name=f"sordino-scheduler-{i}", daemon=True)
            for i in range(settings.inference_threads)
        ]
        self._waiting: list[_Work] = []
        self._changed = Condition()
        self._closed = False
        self._numbers = count()

    def start(self) -> None:
        """Load and measure the models, and start the threads."""
        sys.setswitchinterval(SWITCH_SECONDS)
        for name, entry in available_models().items():
            if entry.live and self._calibrates:
                self.admission.measure(load_model(name))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop the threads; streams that are still open are cancelled."""
        with self._changed:
            self._closed = True
            for work in self._waiting:
                work.future.cancel()
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def check(self) -> None:
        """Refuse before anything is known of the stream.

        Raises:
            Overloaded, Draining: there is no capacity, or the server is about to end.
        """
        if self.draining_until is not None:
            raise Draining
        self.admission.check()

    def open(
        self,
        sample_rate: int,
        channels: int = 1,
        model: str = "default",
        strength: float = 1.0,
        voices: VoiceChoice = EVERYBODY,
    ) -> "LiveStream":
        """Open a live stream; `LiveStream.close` releases its capacity.

        Args:
            sample_rate: in Hz.
            channels: denoised independently of each other.
            model: name of a packaged one, not a path.
            strength: share of the noise to take, 0 to 1.
            voices: the only ones to keep.

        Raises:
            Overloaded, Draining: there is no capacity, or the server is about to end.
            Refusal: there is no such model, or it cannot run live.
            SordinoError: an argument is out of range.
        """
        return self._admit(_make_denoiser(sample_rate, channels, model, strength, voices), voices)

    async def open_in_thread(
        self,
        sample_rate: int,
        channels: int = 1,
        model: str = "default",
        strength: float = 1.0,
        voices: VoiceChoice = EVERYBODY,
    ) -> "LiveStream":
        """Open a live stream as `open` does, without blocking the event loop.

        The delay of the resampler is measured for a sample rate that was not used before, which
        takes longer than a block may.
        """
        denoiser = await asyncio.to_thread(
            _make_denoiser, sample_rate, channels, model, strength, voices
        )
        return self._admit(denoiser, voices)

    def submit(self, stream: "LiveStream", block: NDArray[Any]) -> "asyncio.Future[Sound]":
        """Queue a piece of audio; the future gets the clean samples.

        Shape: (samples, channels).
        """
        future: asyncio.Future[Sound] = asyncio.get_running_loop().create_future()
        now, seconds = perf_counter(), len(block) / stream.sample_rate
        due = max(now, stream.clock - JITTER_SECONDS)
        stream.clock = max(now, stream.clock) + seconds
        frames = seconds * FRAMES_PER_SECOND * stream.channels
        work = _Work(due, next(self._numbers), stream, block, future, frames)
        with self._changed:
            if self._closed:
                raise Draining
            heapq.heappush(self._waiting, work)
            self._changed.notify()
        return future

    def drain(self, seconds: float) -> None:
        """Accept no new streams; the open ones have this many seconds left."""
        self.draining_until = perf_counter() + seconds

    def count(self) -> None:
        """Update the metrics of streams and load."""
        self.metrics.streams.set(len(self.streams))
        self.metrics.load.set(self.admission.load)

    def _admit(self, denoiser: Denoiser, voices: VoiceChoice) -> "LiveStream":
        if self.draining_until is not None:
            raise Draining
        reservation = self.admission.reserve(
            denoiser.model, denoiser.sample_rate, denoiser.channels * voices.most_runs
        )
        return LiveStream(self, denoiser, reservation)

    def _run(self) -> None:
        """Run batches; the body of each thread."""
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                batch = [heapq.heappop(self._waiting)]
                frames = batch[0].frames
                while self._waiting and frames + self._waiting[0].frames <= BATCH_FRAMES:
                    batch.append(heapq.heappop(self._waiting))
                    frames += batch[-1].frames
            outcomes = _run_batch(batch)
            loop = batch[0].future.get_loop()
            try:
                loop.call_soon_threadsafe(_deliver, batch, outcomes)
            except RuntimeError:  # the loop has been closed
                return
            self.metrics.batch(len(batch))
            del batch, outcomes  # while it waits, a thread keeps no sound and no voice


class LiveStream:
    """One live stream: blocks of noisy audio -> clean audio.  Made by `Scheduler.open`.

    Blocks are float32, float64 or int16, shape = (samples,) or (samples, channels), of any
    length; the clean samples have the same layout and are float32.  A stream takes one call at a
    time: await the answer to a block before the next one, a flush or a reset.
    """

    def __init__(self, scheduler: Scheduler, denoiser: Denoiser, reservation: Reservation) -> None:
        self.denoiser = denoiser
        self.sample_rate = denoiser.sample_rate
        self.channels = denoiser.channels
        self.latency = denoiser.latency
        self.clock = 0.0  # when all its audio would have come in real time
        self.seconds = 0.0  # of audio so far
        self._scheduler = scheduler
        self._reservation = reservation
        self._piece = round(PIECE_SECONDS * self.sample_rate)
        scheduler.streams.add(self)
        scheduler.count()

    async def process(self, block: NDArray[Any]) -> Sound:
        """Return the clean samples that are ready after this block.

        Raises:
            SordinoError: the block holds NaN or Inf, or has a wrong shape.  It is dropped.
        """
        begin = perf_counter()
        is_urgent = len(block) <= self._piece and self.clock - begin <= JITTER_SECONDS
        pieces = range(0, max(1, len(block)), self._piece)
        cleaned = [await self._scheduler.submit(self, block[i : i + self._piece]) for i in pieces]
        elapsed = perf_counter() - begin
        seconds = len(block) / self.sample_rate
        self.seconds += seconds
        self._scheduler.metrics.block(elapsed, seconds)
        if is_urgent:  # early ones wait by design
            self._scheduler.admission.report(elapsed)
        return cleaned[0] if len(cleaned) == 1 else np.concatenate(cleaned)

    async def flush(self) -> Sound:
        """Return the samples that are still inside; what follows is a new sound."""
        return await asyncio.to_thread(self.denoiser.flush)

    def reset(self) -> None:
        """Reset the state and drop what is inside.  Any thread may call it."""
        self.denoiser.reset()

    @property
    def strength(self) -> float:
        """Share of the noise that is removed, 0 to 1; settable."""
        return self.denoiser.strength

    @strength.setter
    def strength(self, value: float) -> None:
        self.denoiser.strength = value

    @property
    def speech_probability(self) -> float | None:
        """Probability that the newest frame contains speech; None if it is not known."""
        return self.denoiser.speech_probability

    @property
    def voices(self) -> int:
        """How many voices are kept; 0 keeps everybody."""
        return len(self.denoiser.voices)

    @property
    def voice_probability(self) -> float | None:
        """Probability that an enrolled voice speaks in the newest frame; None without one."""
        return self.denoiser.target_probability

    @property
    def voice_missing(self) -> bool:
        """Whether people speak, and no enrolled voice has been heard for some seconds."""
        return self.denoiser.voice_missing

    def close(self) -> None:
        """Release its capacity; a second call does nothing."""
        self._reservation.release()
        self._scheduler.streams.discard(self)
        self._scheduler.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def live_model(name: str) -> str:
    """Return the name of a model if it can run live.

    Raises:
        Refusal: it cannot.
    """
    entries = available_models()
    live = [entry.name for entry in entries.values() if entry.live]
    if name not in live:
        raise Refusal(
            404, "unknown_model", f"no live model is called {name!r}: choose one of {live}"
        )
    return name


def _make_denoiser(
    sample_rate: int, channels: int, model: str, strength: float, voices: VoiceChoice
) -> Denoiser:
    name = live_model(model)
    loaded = load_voice_model(name) if voices.voices else load_model(name)
    return Denoiser(loaded, sample_rate, channels, strength, **voices.options(loaded))


def _run_batch(batch: Sequence[_Work]) -> list[Sound | BaseException]:
    """Run a batch; an error of one stream does not affect the others."""
    outcomes: dict[int, Sound | BaseException] = {}
    analysed: list[_Work] = []
    for work in batch:
        try:
            work.stream.denoiser.analyse(work.block)
            analysed.append(work)
        except SordinoError as error:
            outcomes[work.number] = error
    try:
        Denoiser.run_batch([work.stream.denoiser for work in analysed])
        for work in analysed:
            outcomes[work.number] = work.stream.denoiser.synthesise()
    except Exception as error:  # a thread that dies would silence all streams
        for work in analysed:
            outcomes.setdefault(work.number, error)
    return [outcomes[work.number] for work in batch]


def _deliver(batch: Sequence[_Work], outcomes: Sequence[Sound | BaseException]) -> None:
    for work, outcome in zip(batch, outcomes, strict=True):
        if work.future.done():  # the stream was cancelled
            continue
        if isinstance(outcome, BaseException):
            work.future.set_exception(outcome)
        else:
            work.future.set_result(outcome)
