"""The loop: from the source's buffer through the network to the sink's buffer."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from sordino.arrays import Mono
from sordino.live.backends.base import Sink, Source, raise_priority
from sordino.live.drift import DriftCompensator
from sordino.live.fallback import DelayLine, LoadMeter, ModelFallback
from sordino.live.monitor import Monitor
from sordino.model import Model
from sordino.resample import Resampler
from sordino.voice import VoiceChoice

FRAMES_PER_SECOND = 100
MAX_FRAMES = 5  # in one call of the network, when the engine is late
MAX_FILE_FRAMES = 100  # in one call, where neither port is clocked
MAX_SLEEP = 0.1  # seconds to wait for sound before checking again
MAX_FILE_SLEEP = 0.005  # seconds, where no port is clocked: the end of a file wakes nobody
LOUDEST = 100.0  # times full scale; larger samples are errors of the device


@dataclass
class Controls:
    """What the user may change while the engine runs.

    Written by any thread, read by the engine before each block.

    Args:
        strength: share of the noise that is removed, 0..1.
        attenuation_limit_db: the maximum attenuation of any sound; None: no limit.
        bypass: let the sound pass as it is.
        muted: put out silence.
    """

    strength: float = 1.0
    attenuation_limit_db: float | None = None
    bypass: bool = False
    muted: bool = False


class Fader:
    """A gain that moves to its target within one frame, so that nothing clicks."""

    def __init__(self, gain: float, frame: int) -> None:
        self._gain = gain
        self._ramp = np.arange(1, frame + 1, dtype=np.float32) / frame

    def __call__(self, target: float, count: int) -> Mono | float:
        """Return the gain of each of the next `count` samples, or one for all of them."""
        if target == self._gain:
            return target
        gains = np.full(count, target, np.float32)
        size = min(count, len(self._ramp))
        gains[:size] = self._gain + (target - self._gain) * self._ramp[:size]
        self._gain = float(gains[-1])
        return gains


class Engine:
    """Denoises what comes from a source and gives it to a sink, in a thread of its own.

    Args:
        source, sink: open ports; who opened them closes them.
        models: the best one first; the others are for when the processor is too busy.
        controls: what the user may change meanwhile.
        monitor: is given all sound that goes by; its sample rate is the engine's.
        until: number of samples in the monitor at which to finish; None: when stopped, or
            when the source has ended.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        models: Sequence[Model],
        controls: Controls,
        monitor: Monitor,
        until: int | None = None,
        voices: VoiceChoice | None = None,
    ) -> None:
        self.source, self.sink = source, sink
        self.finished = threading.Event()
        """Set when the thread has ended, whatever the reason."""
        self.completed = False
        """The source has ended, or `until` is reached."""
        self.failure: Exception | None = None
        """What went wrong inside."""
        rate = monitor.sample_rate
        self._rate, self._frame = rate, rate // FRAMES_PER_SECOND
        self._controls, self._monitor, self._until = controls, monitor, until
        clocked = source.clocked or sink.clocked
        self._max_samples = self._frame * (MAX_FRAMES if clocked else MAX_FILE_FRAMES)
        self.fallback = ModelFallback(models, rate, realtime=clocked, voices=voices)
        self.output = DriftCompensator(sink, rate)
        self._converter = (
            Resampler(source.sample_rate, rate, 1) if source.sample_rate != rate else None
        )
        self._taken = np.zeros(source.buffer.capacity, np.float32)
        self._rest = np.zeros(0, np.float32)  # less than a frame, or what is yet to be done
        self._dry = DelayLine(self.fallback.delay)
        self._mix, self._gain = Fader(1.0, self._frame), Fader(1.0, self._frame)
        self._load = LoadMeter(1.0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def cpu_share(self) -> float:
        """Time that it worked / time of the sound, over the last second."""
        return self._load.share

    @property
    def latency(self) -> float:
        """From the microphone to the output, as far as it is known, in seconds."""
        inside = self.fallback.delay / self._rate + self.output.latency + self.output.delay
        converter = self._converter.latency if self._converter else 0.0
        return self.source.latency + converter + inside + self.sink.latency

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; returns when the thread has."""
        self._stopping.set()
        self.source.buffer.arrived.set()
        if self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        raise_priority()
        try:
            if self.source.clocked:  # what came before the sink was open is late already
                self.source.buffer.skip(self.source.buffer.readable)
            while not self._stopping.is_set():
                self.source.buffer.arrived.clear()  # before it is read, so that no write is missed
                ended = self.source.ended  # read first: what it wrote before that is there
                if self._take():
                    self._work()
                elif ended and not self.source.buffer.readable:
                    self._drain()
                    self.completed = True
                    return
                else:
                    self._sleep()
                if self._until is not None and self._monitor.samples >= self._until:
                    self.completed = True
                    return
        except Exception as error:
            self.failure = error
        finally:
            self.fallback.close()
            self.finished.set()

    def _take(self) -> bool:
        """Move new samples from the buffer to the rest; return whether that makes a frame."""
        if len(self._rest) >= self._frame:
            return True
        if count := self.source.buffer.read(self._taken[: self._max_samples]):
            self._append(_plausible(self._taken[:count]))
        return len(self._rest) >= self._frame

    def _append(self, samples: Mono) -> None:
        if self._converter:
            samples = self._converter.process(samples[None])[0]
        self._rest = np.concatenate([self._rest, samples])

    def _sleep(self) -> None:
        """Sleep until there is enough for a frame."""
        if self._stopping.is_set():
            return
        buffer = self.source.buffer
        if not self.source.clocked:
            buffer.arrived.wait(MAX_FILE_SLEEP)
            return
        missing = (self._frame - len(self._rest)) * self.source.sample_rate / self._rate
        buffer.threshold = ceil(missing)
        if buffer.readable < missing:
            buffer.arrived.wait(MAX_SLEEP)

    def _work(self) -> None:
        frames = min(len(self._rest), self._max_samples) // self._frame
        if self._until is not None:
            frames = min(frames, -(-(self._until - self._monitor.samples) // self._frame))
        count = frames * self._frame
        block, self._rest = self._rest[:count], self._rest[count:]
        self._play(self._denoised(block))

    def _denoised(self, block: Mono) -> Mono:
        """Return the sound as it is to be played, and show it to the monitor."""
        start = time.perf_counter()
        count, controls = len(block), self._controls
        wet = self.fallback.process(block, controls.strength, controls.attenuation_limit_db)
        clean = noisy = self._dry(block)
        if wet is not None:
            wanted = self.fallback.is_aligned and not controls.bypass
            clean = noisy + self._mix(float(wanted), count) * (wet - noisy)
        gain = self._gain(float(not controls.muted), count)
        # What is muted is not recorded either.
        noisy, clean = noisy * gain, clean * gain
        self._monitor.feed(noisy, clean)
        self._load.add(count / self._rate, time.perf_counter() - start)
        return clean

    def _play(self, clean: Mono) -> None:
        buffer = self.source.buffer
        waiting = buffer.readable / self.source.sample_rate + len(self._rest) / self._rate
        self.output.push(clean, waiting + time.perf_counter() - buffer.written_at)

    def _drain(self) -> None:
        """The source has ended: put out what is still inside."""
        if self._converter:
            self._rest = np.concatenate([self._rest, self._converter.flush()[0]])
        left = len(self._rest) + self.fallback.delay
        frames = -(-left // self._frame)
        block = np.zeros(frames * self._frame, np.float32)
        block[: len(self._rest)] = self._rest
        self._rest = self._rest[:0]
        self._play(self._denoised(block)[:left])


def _plausible(samples: Mono) -> Mono:
    """Return samples without what only a faulty device makes: NaN, or far beyond full scale."""
    if np.abs(samples).max() <= LOUDEST:  # false if one is NaN
        return samples
    return np.clip(np.nan_to_num(samples), -LOUDEST, LOUDEST)
