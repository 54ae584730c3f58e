"""The loop: from the source's ring through the network to the sink's ring."""

import threading
import time
from collections.abc import Sequence

import numpy as np

from sordino.live.controls import Controls
from sordino.live.drift import Samples
from sordino.live.ladder import Ladder
from sordino.live.lane import DelayLine
from sordino.live.load import Load
from sordino.live.monitor import Monitor
from sordino.live.playout import Playout
from sordino.live.ports import Sink, Source
from sordino.live.priority import raise_priority
from sordino.model import Model
from sordino.resample import Resampler

FRAMES_PER_SECOND = 100
MOST_FRAMES = 5  # at once, when the engine has fallen behind
MOST_UNHURRIED = 100  # at once, where nobody waits for them
LONGEST_NAP, SHORTEST_NAP = 0.005, 0.0005  # seconds
LOUDEST = 100.0  # beyond this a sample is a device's mistake


class Fader:
    """A gain that moves to its target within one frame, so that nothing clicks."""

    def __init__(self, gain: float, frame: int) -> None:
        self._gain = gain
        self._ramp = np.arange(1, frame + 1, dtype=np.float32) / frame

    def __call__(self, target: float, count: int) -> Samples | float:
        """Return the gain of each of the next `count` samples, or one for all of them."""
        if target == self._gain:
            return target
        gains = np.full(count, target, np.float32)
        size = min(count, len(self._ramp))
        gains[:size] = self._gain + (target - self._gain) * self._ramp[:size]
        self._gain = float(gains[-1])
        return gains


class Engine:
    """Cleans what comes from a source and gives it to a sink, in a thread of its own.

    Args:
        source, sink: open ports; who opened them closes them.
        models: the best one first; the others are for when the processor is too busy.
        controls: what the user may change meanwhile.
        monitor: is given all sound that goes by; its sample rate is the engine's.
        attenuation_limit_db: see `sordino.Denoiser`.
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
        attenuation_limit_db: float | None = None,
        until: int | None = None,
    ) -> None:
        self.source, self.sink = source, sink
        self.finished = threading.Event()
        """Set when the thread has ended, whatever the reason."""
        self.completed = False
        """All sound that was to come has come."""
        self.failure: Exception | None = None
        """What went wrong inside."""
        rate = monitor.sample_rate
        self._rate, self._frame = rate, rate // FRAMES_PER_SECOND
        self._controls, self._monitor, self._until = controls, monitor, until
        clocked = source.clocked or sink.clocked
        self._most = self._frame * (MOST_FRAMES if clocked else MOST_UNHURRIED)
        self.ladder = Ladder(models, rate, attenuation_limit_db, realtime=clocked)
        self.playout = Playout(sink, rate)
        self._converter = (
            Resampler(source.sample_rate, rate, 1) if source.sample_rate != rate else None
        )
        self._taken = np.zeros(source.ring.capacity, np.float32)
        self._rest = np.zeros(0, np.float32)  # less than a frame, or what is yet to be done
        self._dry = DelayLine(self.ladder.delay)
        self._mix, self._gain = Fader(1.0, self._frame), Fader(1.0, self._frame)
        self._load = Load(1.0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def cpu_share(self) -> float:
        """Time that it worked / time of the sound, over the last second."""
        return self._load.share

    @property
    def latency(self) -> float:
        """From the microphone to the output, as far as it is known, in seconds."""
        inside = self.ladder.delay / self._rate + self.playout.latency + self.playout.delay
        converter = self._converter.latency if self._converter else 0.0
        return self.source.latency + converter + inside + self.sink.latency

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; returns when the thread has."""
        self._stopping.set()
        if self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        raise_priority()
        try:
            if self.source.clocked:  # what came while the sink was being opened is late already
                self.source.ring.skip(self.source.ring.readable)
            while not self._stopping.is_set():
                ended = self.source.ended  # asked first: what it wrote before that is there
                if self._take():
                    self._work()
                elif ended and not self.source.ring.readable:
                    self._drain()
                    self.completed = True
                    return
                else:
                    self._nap()
                if self._until is not None and self._monitor.samples >= self._until:
                    self.completed = True
                    return
        except Exception as error:
            self.failure = error
        finally:
            self.ladder.close()
            self.finished.set()

    def _take(self) -> bool:
        """Move new samples from the ring to the rest; return whether that makes a frame."""
        if len(self._rest) >= self._frame:
            return True
        if count := self.source.ring.read(self._taken[: self._most]):
            self._append(np.clip(np.nan_to_num(self._taken[:count]), -LOUDEST, LOUDEST))
        return len(self._rest) >= self._frame

    def _append(self, samples: Samples) -> None:
        if self._converter:
            samples = self._converter.process(samples[None])[0]
        self._rest = np.concatenate([self._rest, samples])

    def _nap(self) -> None:
        """Sleep until the next frame should be there."""
        ring = self.source.ring
        missing = (self._frame - len(self._rest)) / self._rate
        missing -= ring.readable / self.source.sample_rate
        due = ring.written_at + missing - time.perf_counter() if self.source.clocked else 0.0
        self._stopping.wait(min(max(due, SHORTEST_NAP), LONGEST_NAP))

    def _work(self) -> None:
        frames = min(len(self._rest), self._most) // self._frame
        if self._until is not None:
            frames = min(frames, -(-(self._until - self._monitor.samples) // self._frame))
        count = frames * self._frame
        block, self._rest = self._rest[:count], self._rest[count:]
        self._play(self._cleaned(block))

    def _cleaned(self, block: Samples) -> Samples:
        """Return the sound as it is to be played, and show it to the monitor."""
        start = time.perf_counter()
        count, controls = len(block), self._controls
        wet = self.ladder.process(block, controls.strength)
        clean = noisy = self._dry(block)
        if wet is not None:
            wanted = self.ladder.in_step and not controls.bypass
            clean = noisy + self._mix(float(wanted), count) * (wet - noisy)
        gain = self._gain(float(not controls.muted), count)
        # What is muted is not recorded either.
        noisy, clean = noisy * gain, clean * gain
        self._monitor.feed(noisy, clean)
        self._load.add(count / self._rate, time.perf_counter() - start)
        return clean

    def _play(self, clean: Samples) -> None:
        ring = self.source.ring
        waiting = ring.readable / self.source.sample_rate + len(self._rest) / self._rate
        self.playout.push(clean, waiting + time.perf_counter() - ring.written_at)

    def _drain(self) -> None:
        """The source has ended: put out what is still inside."""
        if self._converter:
            self._rest = np.concatenate([self._rest, self._converter.flush()[0]])
        left = len(self._rest) + self.ladder.delay
        frames = -(-left // self._frame)
        block = np.zeros(frames * self._frame, np.float32)
        block[: len(self._rest)] = self._rest
        self._rest = self._rest[:0]
        self._play(self._cleaned(block)[:left])
