"""Sets of two-talker clips with an enrolment, and the measures of one clip.

A set has the folders ``mixture/``, ``target/`` and ``enrolment/`` with files of equal names, and
META.csv with the columns ``name``, ``target``, ``interferer`` (speakers) and any others.  In each
mixture the target speaks alone from 0 to 3 s, both speak from 3 to 7 s, and the other speaks alone
from 7 to 10 s.  ``scripts/make_voice_val.py`` makes one.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sordino.arrays import Mono
from sordino.errors import SordinoError
from sordino.evaluate.dataset import META, Traits, audio_files, read_meta, read_mono
from sordino.evaluate.metrics import RATE, fit, resample, si_sdr, speech_attenuation

TARGET_ALONE, BOTH, OTHER_ALONE = slice(0, 3), slice(3, 7), slice(7, 10)  # s
FRAME = RATE // 50  # 20 ms
ACTIVE_DB = 25.0  # a frame of the target is active within this of its loudest
OVER_SUPPRESSED_DB = 10.0  # more attenuation than this over-suppresses a frame
SILENT = 1e-10  # power, -100 dBFS
MASK_WINDOW = 512  # samples, of the oracle mask


@dataclass(frozen=True)
class VoiceClip:
    """One clip of a set.

    Attributes:
        name: its file name without suffix.
        mixture, target: shape = (samples,), at 16 kHz.
        enrolment: of the target, any length.
        traits: its columns of META.csv.
    """

    name: str
    mixture: Mono
    target: Mono
    enrolment: Mono
    traits: Traits

    @property
    def pair(self) -> tuple[str, str]:
        """Who speaks: target and other."""
        return self.traits["target"], self.traits["interferer"]

    @property
    def others(self) -> Mono:
        """All but the target."""
        return self.mixture - self.target


def find_voice_clips(folder: Path, limit: int | None = None) -> list[VoiceClip]:
    """Read the first `limit` clips of a set, by name.

    Raises:
        SordinoError: a folder or META.csv is missing, or a clip has no target, enrolment or row.
    """
    if not (folder / META).is_file():
        raise SordinoError(f"{folder} has no {META}: it names target and interferer of each clip")
    traits = read_meta(folder / META)
    parts = {name: audio_files(folder / name) for name in ("mixture", "target", "enrolment")}
    clips: list[VoiceClip] = []
    for name in list(parts["mixture"])[:limit]:
        row = traits.get(name, {})
        if not row.get("target") or not row.get("interferer"):
            raise SordinoError(f"{folder / META} names no target and interferer of {name}")
        if missing := [part for part, files in parts.items() if name not in files]:
            raise SordinoError(f"{name} has no file of its name in {folder / missing[0]}")
        signals = {part: _at_16k(files[name]) for part, files in parts.items()}
        target = fit(signals["target"], len(signals["mixture"]))
        if len(target) < OTHER_ALONE.stop * RATE:
            raise SordinoError(f"{name} is shorter than {OTHER_ALONE.stop} s")
        clips.append(VoiceClip(name, signals["mixture"], target, signals["enrolment"], row))
    return clips


def _at_16k(path: Path) -> Mono:
    x, rate = read_mono(path)
    return resample(x, rate, RATE)


def _part(x: Mono, seconds: slice) -> Mono:
    return x[seconds.start * RATE : seconds.stop * RATE]


def oracle(clip: VoiceClip) -> Mono:
    """Apply the ideal ratio mask, computed from the clean signals, to the mixture.

    Source: Srinivasan, Roman, Wang, "Binary and ratio time-frequency masks for robust speech
    recognition", 2006.
    """
    window = np.sqrt(np.hanning(MASK_WINDOW + 1)[:-1])
    hop = MASK_WINDOW // 2
    padded = [np.pad(x, (hop, MASK_WINDOW)) for x in (clip.mixture, clip.target, clip.others)]
    frames = [np.lib.stride_tricks.sliding_window_view(x, MASK_WINDOW)[::hop] for x in padded]
    mixture, target, others = (np.fft.rfft(x * window) for x in frames)
    own, rest = np.abs(target) ** 2, np.abs(others) ** 2
    pieces = np.fft.irfft(mixture * np.sqrt(own / (own + rest + 1e-12))) * window
    y = np.zeros((len(pieces) + 1) * hop)
    for half in (0, 1):
        y[half * hop : half * hop + len(pieces) * hop] += pieces[
            :, half * hop : half * hop + hop
        ].ravel()
    return fit(y[hop:].astype(np.float32), len(clip.mixture))


def measure(clip: VoiceClip, estimate: Mono) -> dict[str, float]:
    """Measure the output of a system for a clip.

    Args:
        clip: with its reference.
        estimate: its output at 16 kHz without latency, shape = (samples,).

    Returns:
        ``sisdri``: SI-SDR in the overlap above that of the mixture, dB.
        ``other_both_db``: how much weaker the other's part of the output is than of the mixture
        where both speak (least squares on target and other), dB.
        ``other_alone_db``: how much the other is attenuated where the target is silent, dB.
        ``target_db``: how much the target is attenuated where it speaks alone, dB.
        ``over_suppressed``: share of its active frames there that lose more than 10 dB, %.
        ``confused``: 100 where the output in the overlap is nearer to the other, else 0.
    """
    mixture, target, others, y = (
        _part(x, BOTH) for x in (clip.mixture, clip.target, clip.others, estimate)
    )
    before, after = si_sdr(target, mixture), si_sdr(target, y)
    both = np.stack([target, others]).astype(np.float64)
    gains = np.linalg.lstsq(both.T, y.astype(np.float64), rcond=None)[0]
    alone = _part(clip.mixture, OTHER_ALONE), _part(estimate, OTHER_ALONE)
    return {
        "sisdri": after - before,
        "other_both_db": float(-20 * np.log10(max(abs(gains[1]), 1e-3))),
        "other_alone_db": _fall(*alone),
        "target_db": speech_attenuation(
            _part(clip.target, TARGET_ALONE), _part(estimate, TARGET_ALONE)
        ),
        "over_suppressed": _over_suppressed(
            _part(clip.target, TARGET_ALONE), _part(estimate, TARGET_ALONE)
        ),
        "confused": 100.0 * (si_sdr(others, y) > after),
    }


def _fall(before: Mono, after: Mono) -> float:
    """How many dB the level falls by, at most 60."""
    powers = [float(np.mean(np.square(x, dtype=np.float64))) + SILENT for x in (before, after)]
    return min(float(10 * np.log10(powers[0] / powers[1])), 60.0)


def _over_suppressed(clean: Mono, estimate: Mono) -> float:
    """Share of active frames that lose more than 10 dB, %."""
    powers = [
        np.square(x[: len(x) // FRAME * FRAME].astype(np.float64)).reshape(-1, FRAME).mean(1)
        for x in (clean, estimate)
    ]
    levels: list[NDArray[np.float64]] = [10 * np.log10(power + SILENT) for power in powers]
    clean_db, estimate_db = levels
    active = clean_db > clean_db.max() - ACTIVE_DB
    return float(100 * np.mean((clean_db - estimate_db)[active] > OVER_SUPPRESSED_DB))
