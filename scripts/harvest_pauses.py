"""Cut the pauses of noisy speech recordings out as noise: real rooms, fans and streets.

    python scripts/harvest_pauses.py DATA_ROOT

Reads DATA_ROOT/new/speech/*/manifest.csv (the columns path, speaker, licence, snr_est_db,
zero_frac and origin are needed) and writes DATA_ROOT/new/noise/room_pauses/room_pause-ID.flac
and a manifest.csv there.  A pause is at least a second whose level stays within 6 dB of the
recording's floor and in which Silero VAD sees no speech.  Recordings of held-out speakers are
passed over, and so are those that are clean (there is nothing to harvest) or gated.

Needs numpy, soundfile, soxr and onnxruntime, and the network of Silero VAD (MIT):
pip install --no-deps silero-vad
"""

import argparse
import csv
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort
import soundfile as sf
import soxr
from make_corpus import held_out
from numpy.typing import NDArray

Mono = NDArray[np.float32]  # (samples,)

VAD_RATE = 16000  # Hz
VAD_FRAME, VAD_CONTEXT = 512, 64  # samples at 16 kHz
MAX_PROBABILITY = 0.05  # of speech, in every frame of a pause
FRAME_SECONDS = 0.02
FLOOR_DB = 6.0  # a frame this far over the 10th percentile of levels is no pause
MIN_SECONDS = 1.0
EDGE_FRAMES = 3  # at either end of a pause, where speech fades
RANGE_DB = 35.0  # recordings with more between speech and pauses are clean
MIN_DBFS = -66.0  # quieter pauses are rounding noise
MAX_ZERO_FRACTION = 0.02  # of digital silence; more is a gate
FADE_SECONDS = 0.02
PEAK = 0.5  # of full scale
COLUMNS = ("path", "category", "sample_rate", "seconds", "licence", "origin")


class VoiceDetector:
    """Silero VAD: the probability of speech in frames of 32 ms."""

    def __init__(self) -> None:
        package = find_spec("silero_vad")
        if package is None or not package.submodule_search_locations:
            raise SystemExit("harvest_pauses.py: pip install --no-deps silero-vad")
        path = Path(package.submodule_search_locations[0]) / "data" / "silero_vad.onnx"
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(str(path), options)

    def __call__(self, x: Mono) -> NDArray[np.float64]:
        """Probabilities for sound at 16 kHz, one per whole frame."""
        state = np.zeros((2, 1, 128), np.float32)
        context = np.zeros(VAD_CONTEXT, np.float32)
        probabilities: list[float] = []
        for at in range(0, len(x) - VAD_FRAME + 1, VAD_FRAME):
            frame = x[at : at + VAD_FRAME]
            inputs = {
                "input": np.concatenate([context, frame])[None],
                "state": state,
                "sr": np.array(VAD_RATE, np.int64),
            }
            output, state = self.session.run(None, inputs)
            probabilities.append(float(output[0, 0]))
            context = frame[-VAD_CONTEXT:]
        return np.array(probabilities)


def quiet_stretches(x: Mono, rate: int) -> list[tuple[float, float]]:
    """(start, stop) in seconds where the level stays at the recording's floor."""
    size = round(FRAME_SECONDS * rate)
    frames = x[: len(x) // size * size].reshape(-1, size)
    if len(frames) < MIN_SECONDS / FRAME_SECONDS:
        return []
    level = 10 * np.log10((frames**2).mean(1) + 1e-12)
    floor = np.percentile(level[level > -95], 10) if (level > -95).any() else -120.0
    if floor < MIN_DBFS:
        return []
    quiet = (level < floor + FLOOR_DB) & (level > -90)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
    stretches = [
        ((start + EDGE_FRAMES) * FRAME_SECONDS, (stop - EDGE_FRAMES) * FRAME_SECONDS)
        for start, stop in edges.reshape(-1, 2)
    ]
    return [each for each in stretches if each[1] - each[0] >= MIN_SECONDS]


def pauses(x: Mono, rate: int, detector: VoiceDetector) -> list[Mono]:
    """The stretches at the floor in which the detector is sure that nobody speaks."""
    stretches = quiet_stretches(x, rate)
    if not stretches:
        return []
    peak = max(float(np.abs(x).max()), 1e-6)
    probability = detector(soxr.resample(x / peak * 0.5, rate, VAD_RATE).astype(np.float32))
    step = VAD_FRAME / VAD_RATE
    return [
        x[int(start * rate) : int(stop * rate)]
        for start, stop in stretches
        if probability[int(start / step) : int(stop / step) + 1].max(initial=0) < MAX_PROBABILITY
    ]


def join(parts: list[Mono], rate: int) -> Mono:
    """Parts one after another with crossfades of equal power."""
    fade = round(FADE_SECONDS * rate)
    ramp = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32))
    y = parts[0]
    for part in parts[1:]:
        y = np.concatenate([y[:-fade], y[-fade:] * ramp[::-1] + part[:fade] * ramp, part[fade:]])
    return y


def candidates(root: Path) -> Iterator[dict[str, str]]:
    """Rows of the manifests whose recordings have noise in their pauses."""
    for path in sorted(root.glob("new/speech/*/manifest.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                noisy = row["snr_est_db"] and float(row["snr_est_db"]) < RANGE_DB
                label = Path(row["path"]).stem.rpartition("-")[0]
                gated = float(row["zero_frac"] or 0) > MAX_ZERO_FRACTION
                if noisy and not gated and not held_out(label):
                    yield row


def main() -> None:
    """Harvest and print how much it was."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("root", type=Path, metavar="DATA_ROOT")
    root = parser.parse_args().root
    out = root / "new" / "noise" / "room_pauses"
    out.mkdir(parents=True, exist_ok=True)
    detector = VoiceDetector()
    files, seconds = 0, 0.0
    with open(out / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for row in candidates(root):
            x, rate = sf.read(root / "new" / row["path"], dtype="float32")
            parts = pauses(x, rate, detector)
            if not parts:
                continue
            y = join(parts, rate)
            y = y * (PEAK / np.abs(y).max())
            name = f"room_pause-{Path(row['path']).stem.replace('-', '_')}.flac"
            sf.write(out / name, y, rate, subtype="PCM_16")
            length = round(len(y) / rate, 2)
            path = f"noise/room_pauses/{name}"
            table.writerow([path, "room_pause", rate, length, row["licence"], row["path"]])
            files, seconds = files + 1, seconds + length
    print(f"{files} files, {seconds / 3600:.2f} h")


if __name__ == "__main__":
    main()
