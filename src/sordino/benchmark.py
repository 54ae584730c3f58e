"""Speed: what a model needs on this machine, live and on files, and whether it fits.

A live step is measured paced, as in a meeting: one every 10 ms, asleep in between.  Then caches are
cold, the clock of the processor is low and each step has to wake up, so that it takes up to twice
what it takes in a tight loop.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep, thread_time

import numpy as np

from sordino.arrays import Mono
from sordino.denoiser import Denoiser
from sordino.errors import SordinoError
from sordino.model import Model, load_model

STEP_SECONDS = 0.010
PACED_SECONDS = 3.0  # of real time
COMFORTABLE = 0.5  # share of one core that leaves room for everything else
LIVE_LATENCY = 0.3  # seconds; beyond this no one can talk


@dataclass(frozen=True)
class BenchResult:
    """What one thread of this machine needs.

    Args:
        model, sample_rate, seconds: what was run; the rate in Hz.
        processor: its name.
        latency: algorithmic latency in seconds.
        live: share of one core in live use: processor time of steps of 10 ms, paced.
        step_p50_ms, step_p99_ms: median and 99th percentile of the time of one paced step, by the
            clock.
        file: real-time factor in large blocks.
        tight: as `live`, without a pause between the steps.
        provider: execution provider of ONNX Runtime.
    """

    model: str
    sample_rate: int
    seconds: float
    processor: str
    latency: float
    live: float
    step_p50_ms: float
    step_p99_ms: float
    file: float
    tight: float = 0.0
    provider: str = "CPUExecutionProvider"

    @property
    def verdict(self) -> str:
        """The result in words.

        >>> BenchResult("default", 48000, 10, "a laptop", 0.02, 0.03, 0.2, 0.4, 0.02).verdict
        'fits: uses 3.0 % of one core live (p99 0.4 ms of 10 ms), files run at 50 x real time'
        """
        numbers = (
            f"{100 * self.live:.1f} % of one core live (p99 {self.step_p99_ms:.1f} ms of 10 ms), "
            f"files run at {1 / self.file:.0f} x real time"
        )
        if self.live >= 1:
            return f"too slow for live use: needs {numbers}"
        if self.latency > LIVE_LATENCY:
            return f"for files only: it answers {self.latency:.2f} s late; uses {numbers}"
        if self.live > COMFORTABLE or self.step_p99_ms > 1000 * STEP_SECONDS:
            return f"tight, may stutter when the machine is busy: uses {numbers}"
        return f"fits: uses {numbers}"


def bench(
    model: str | Path | Model = "default",
    sample_rate: int = 48000,
    seconds: float = 10.0,
    providers: str | Sequence[str] | None = None,
) -> BenchResult:
    """Time a model on this machine, on one thread, live and on files.

    Args:
        model: see `Denoiser`.
        sample_rate: in Hz.
        seconds: length of the sound that is run each way; paced, at most `PACED_SECONDS` of it.
        providers: of ONNX Runtime, see `sordino.model.load_model`.

    Raises:
        SordinoError: see `Denoiser`; or there is less than one second to run.
    """
    if not seconds >= 1:
        raise SordinoError(f"{seconds} s are too short to measure: expected 1 or more")
    network = model if isinstance(model, Model) else load_model(model, providers)
    sound = _bursts(sample_rate, seconds)
    denoiser = Denoiser(network, sample_rate)
    step = round(STEP_SECONDS * sample_rate)
    steps = [sound[i : i + step] for i in range(0, len(sound) - step + 1, step)]
    for block in steps[:50]:  # fill caches and memory pools
        denoiser.feed(block)
    cpu, wall = paced_steps(denoiser, steps[: round(PACED_SECONDS / STEP_SECONDS)])
    begin = thread_time()
    for block in steps:
        denoiser.feed(block)
    tight = thread_time() - begin
    denoiser.reset()
    return BenchResult(
        model=network.info.name,
        sample_rate=sample_rate,
        seconds=seconds,
        processor=processor(),
        latency=denoiser.latency,
        live=float(cpu.mean()) / STEP_SECONDS,
        step_p50_ms=float(1000 * np.percentile(wall, 50)),
        step_p99_ms=float(1000 * np.percentile(wall, 99)),
        file=_time(denoiser, sound) / seconds,
        tight=tight / (len(steps) * STEP_SECONDS),
        provider=network.providers[0],
    )


def paced_steps(denoiser: Denoiser, steps: Sequence[Mono]) -> tuple[Mono, Mono]:
    """Feed a block every 10 ms, as a microphone does, and sleep in between.

    Args:
        denoiser: that takes them.
        steps: blocks of 10 ms.

    Returns:
        Seconds of processor time and by the clock, for each step.
    """
    times = np.zeros((2, len(steps)), np.float32)
    begin = perf_counter()
    for i, block in enumerate(steps):
        sleep(max(0.0, begin + i * STEP_SECONDS - perf_counter()))
        wall, cpu = perf_counter(), thread_time()
        denoiser.feed(block)
        times[:, i] = thread_time() - cpu, perf_counter() - wall
    return times[0], times[1]


def processor() -> str:
    """Return the name of this machine's processor, as far as the system tells it."""
    try:  # Linux
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return next(iter(names), "") or platform.processor() or platform.machine()


def _time(denoiser: Denoiser, block: Mono) -> float:
    start = perf_counter()
    denoiser.feed(block)
    return perf_counter() - start


def _bursts(sample_rate: int, seconds: float) -> Mono:
    """Return noise that swells four times a second, as syllables do."""
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.1 * noise * np.sin(4 * np.pi * time) ** 2).astype(np.float32)
