"""Make the validation set that weights, checkpoints and settings are chosen on.

    python scripts/make_val.py DATA_ROOT VAL [--corpus CORPUS]

All recordings are those of the split "val" in recipes/corpus.csv.gz: speakers, noise
recordings and rooms that no model hears in training (scripts/make_corpus.py leaves them out).
With --corpus, the speakers, noises and rooms of every clip are looked up in that corpus;
exit status 2 if one of them is there.

The set, 16 kHz, 5 s a clip, always the same (`SEED`):

    mixture      120   speech and noise at -5, 0, 5, 10, 15 and 25 dB, half of the noises
                       events, half stationary; every second speaker is in a room
    clean         30   speech alone, noisy = clean
    noise         20   noise alone, half events, half stationary; no clean file
    high-voice   100   children, and adults raised with WORLD to a median F0 in bands of
                       100 Hz from 300 to 700 Hz; each clip clean and again at 15 dB

VAL/noisy/NAME.flac, VAL/clean/NAME.flac and VAL/META.csv with the columns name, part, speaker,
noise, noise_kind, snr_db, room, f0_band.  SNR is the mean power of speech over that of noise,
each over its active frames.  The clean reference of speech in a room holds the first 50 ms of
reflections.  --check compares the result with recipes/val.sha256; it can differ by a rounding
where another version of a library decodes or transforms.

Needs numpy, soundfile and pyworld: pip install --group val
"""

import argparse
import csv
import hashlib
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyworld
import soundfile as sf
from make_corpus import LIST, Entry, checked, read_list
from numpy.typing import NDArray

Mono = NDArray[np.float64]  # (samples,)
T = TypeVar("T")

HASHES = Path(__file__).parent.parent / "recipes" / "val.sha256"
SEED = 19
RATE = 16000  # Hz
SECONDS = 5.0
SAMPLES = int(SECONDS * RATE)
SNRS_DB = (-5, 0, 5, 10, 15, 25)
KINDS = ("event", "stationary")
PER_CELL = 10  # mixtures of each SNR and kind of noise
CLEAN_CLIPS = 30
NOISE_CLIPS = 20
BANDS_HZ = (300, 400, 500, 600)  # lower edges
PER_BAND = 10  # raised voices in each
CHILDREN = 10
HIGH_VOICE_SNR_DB = 15
PEAK = 0.97  # of full scale
EVENT_DB = 6.0  # a noise whose mean level is this far over its median is an event,
STATIONARY_DB = 3.0  # within this of it, and never long without sound, stationary
FRAME = RATE // 50  # 20 ms
ACTIVE_DB = 30.0  # a frame is active within this of the loudest
EARLY_SECONDS, FADE_SECONDS = 0.05, 0.01  # reflections that the reference keeps
FORMANTS = 0.25  # formants move by the ratio of F0 to this power


@dataclass(frozen=True)
class Clip:
    """A clip of the set; its fields but the signals are the columns of META.csv."""

    name: str
    part: str
    noisy: Mono = field(repr=False)
    clean: Mono | None = field(repr=False)
    speaker: str = ""
    noise: str = ""
    noise_kind: str = ""
    snr_db: str = ""
    room: str = ""
    f0_band: str = ""


META = [name for name in Clip.__dataclass_fields__ if name not in ("noisy", "clean")]


def resample(x: Mono, rate: int, to: int = RATE) -> Mono:
    """Band-limited resampling of a whole signal through its spectrum."""
    if rate == to:
        return x
    samples = round(len(x) * to / rate)
    spectrum = np.fft.rfft(x)
    bins = samples // 2 + 1
    spectrum = np.pad(spectrum[:bins], (0, max(0, bins - len(spectrum))))
    return np.fft.irfft(spectrum, samples) * (samples / len(x))


def read(path: Path) -> Mono:
    """First channel of a file at 16 kHz."""
    x, rate = sf.read(path, always_2d=True)
    return resample(x[:, 0], rate)


def frame_levels(x: Mono) -> Mono:
    """Level of each frame of 20 ms in dBFS."""
    frames = x[: len(x) // FRAME * FRAME].reshape(-1, FRAME)
    return 10 * np.log10((frames**2).mean(1) + 1e-12)


def active_level(x: Mono) -> float:
    """Mean power over the active frames in dBFS."""
    level = frame_levels(x)
    active = level[level > level.max() - ACTIVE_DB]
    return float(10 * np.log10((10 ** (active / 10)).mean()))


def noise_kind(x: Mono) -> str:
    """ "event", "stationary", or "" for what is neither clearly."""
    level = frame_levels(x)
    if len(level) < 10 or level.max() < -60:
        return ""
    excess = 10 * np.log10((10 ** (level / 10)).mean()) - np.median(level)
    if excess > EVENT_DB:
        return "event"
    steady = excess < STATIONARY_DB and np.percentile(level, 5) > np.median(level) - 10
    return "stationary" if steady and len(x) >= 2 * RATE else ""


def join(clips: Sequence[Mono]) -> Mono:
    """Clips of one speaker one after another, 0.15 s apart, cut to the length of a clip."""
    pause = np.zeros(int(0.15 * RATE))
    x = np.concatenate([part for clip in clips for part in (clip, pause)])
    return np.pad(x[:SAMPLES], (0, max(0, SAMPLES - len(x))))


def fill(rng: np.random.Generator, x: Mono, kind: str) -> Mono:
    """Noise for the length of a clip: events recur after pauses, the rest is looped."""
    if len(x) > SAMPLES:
        spans = np.arange(0, len(x) - SAMPLES, RATE // 2)
        power = [float((x[at : at + SAMPLES] ** 2).sum()) for at in spans]
        at = int(spans[int(np.argmax(power))] if kind == "event" else rng.choice(spans))
        return x[at : at + SAMPLES]
    if kind == "event":
        y = np.zeros(SAMPLES)
        at = int(rng.uniform(0, 0.5) * RATE)
        while at < SAMPLES:
            part = x[: SAMPLES - at]
            y[at : at + len(part)] += part
            at += len(x) + int(rng.uniform(0.2, 1.0) * RATE)
        return y
    fade = RATE // 10  # crossfade of equal power where the recording begins anew
    ramp = np.sin(np.linspace(0, np.pi / 2, fade))
    y = x
    while len(y) < SAMPLES:
        seam = y[-fade:] * ramp[::-1] + x[:fade] * ramp
        y = np.concatenate([y[:-fade], seam, x[fade:]])
    return y[:SAMPLES]


def convolve(x: Mono, h: Mono) -> Mono:
    """`x` through an impulse response, cut to its own length."""
    size = len(x) + len(h) - 1
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(h, size), size)[: len(x)]


def early(h: Mono) -> Mono:
    """A room's response up to 50 ms after the direct path, faded out within 10 ms."""
    stop = int(np.abs(h).argmax()) + int(EARLY_SECONDS * RATE)
    ramp = np.linspace(1, 0, int(FADE_SECONDS * RATE))
    window = np.concatenate([np.ones(stop), ramp])[: len(h)]
    return h * np.pad(window, (0, len(h) - len(window)))


def scaled(speech: Mono, noise: Mono, snr_db: float) -> Mono:
    """Noise at an SNR in dB under speech."""
    return noise * 10 ** ((active_level(speech) - active_level(noise) - snr_db) / 20)


def median_f0(x: Mono) -> float:
    """Median fundamental frequency of the voiced frames in Hz; 0 without any."""
    f0, _ = pyworld.dio(x, RATE, f0_floor=70.0, f0_ceil=1000.0)
    return float(np.median(f0[f0 > 0])) if (f0 > 0).any() else 0.0


def raise_voice(x: Mono, target_hz: float) -> Mono:
    """A voice raised to a median F0 by WORLD; formants move up less than the pitch.

    Source: Morise, Yokomori, Ozawa, "WORLD: a vocoder-based high-quality speech synthesis
    system for real-time applications", IEICE Trans. 2016.
    """
    f0, times = pyworld.dio(x, RATE)
    f0 = pyworld.stonemask(x, f0, times, RATE)
    envelope = pyworld.cheaptrick(x, f0, times, RATE)
    aperiodicity = pyworld.d4c(x, f0, times, RATE)
    ratio = target_hz / np.median(f0[f0 > 0])
    bins = np.arange(envelope.shape[1])
    source = bins / ratio**FORMANTS
    envelope = np.exp([np.interp(source, bins, frame) for frame in np.log(envelope)])
    y = pyworld.synthesize(f0 * ratio, np.ascontiguousarray(envelope), aperiodicity, RATE)
    return np.pad(y[: len(x)], (0, max(0, len(x) - len(y))))


def cycle(rng: np.random.Generator, items: Sequence[T]) -> Iterator[T]:
    """The items in random order, again and again, none twice before all were drawn."""
    while True:
        yield from (items[i] for i in rng.permutation(len(items)))


class Recordings:
    """What the set is mixed from: voices, noises of each kind, rooms."""

    def __init__(self, root: Path, entries: Sequence[Entry]):
        self.root = root
        self.voices: dict[str, list[Entry]] = defaultdict(list)
        self.noises: dict[str, list[tuple[Entry, Mono]]] = {kind: [] for kind in KINDS}
        self.rooms = [entry for entry in entries if entry.kind == "rir"]
        for entry in entries:
            if entry.kind == "speech":
                self.voices[entry.label].append(entry)
            elif entry.kind == "noise":
                x = read(root / entry.path)
                kind = noise_kind(x)
                if kind:
                    self.noises[kind].append((entry, x))

    def adults(self) -> list[str]:
        """Labels of the speakers who are no children; those of speechocean762 end in c."""
        return sorted(label for label in self.voices if not self.is_child(label))

    def children(self) -> list[str]:
        """Labels of the children."""
        return sorted(label for label in self.voices if self.is_child(label))

    @staticmethod
    def is_child(label: str) -> bool:
        """Whether a label is that of a child: so1234-Fc, so1234-Mc."""
        return label.startswith("so") and label.endswith("c")

    def speech(self, rng: np.random.Generator, label: str) -> Mono | None:
        """Five seconds of a speaker at a random level; None if there is too little."""
        files = cycle(rng, sorted(self.voices[label], key=lambda entry: entry.path))
        clips: list[Mono] = []
        for entry, _ in zip(files, self.voices[label], strict=False):
            clips.append(read(self.root / entry.path))
            if sum(map(len, clips)) >= SAMPLES:
                break
        x = join(clips)
        level = frame_levels(x)
        if (level > level.max() - ACTIVE_DB).mean() < 0.5:
            return None
        return x * 10 ** ((rng.uniform(-32, -20) - active_level(x)) / 20)


def draw(voices: Iterator[str], make: Callable[[str], Mono | None]) -> tuple[str, Mono]:
    """The next voice that `make` has a signal of."""
    for _ in range(1000):
        label = next(voices)
        x = make(label)
        if x is not None:
            return label, x
    raise SystemExit("make_val.py: too few speakers of the split val have 5 s of speech")


def limited(noisy: Mono, clean: Mono | None) -> tuple[Mono, Mono | None]:
    """Both scaled by one gain, so that neither is beyond full scale."""
    peak = max(float(np.abs(x).max()) for x in (noisy, clean) if x is not None)
    gain = min(1.0, PEAK / peak)
    return noisy * gain, None if clean is None else clean * gain


def make_clips(recordings: Recordings) -> Iterator[Clip]:
    """All clips of the set, in order."""
    rng = np.random.default_rng(SEED)
    adults = cycle(rng, recordings.adults())
    children = cycle(rng, recordings.children())
    rooms = cycle(rng, recordings.rooms)
    noises = {kind: cycle(rng, recordings.noises[kind]) for kind in KINDS}

    def speech(label: str) -> Mono | None:
        return recordings.speech(rng, label)

    def noise(kind: str) -> tuple[Entry, Mono]:
        entry, x = next(noises[kind])
        return entry, fill(rng, x, kind)

    def about(entry: Entry, kind: str, snr_db: int | None = None) -> dict[str, str]:
        place = f"{entry.source}/{Path(entry.path).stem}"
        return {
            "noise": place,
            "noise_kind": kind,
            "snr_db": "" if snr_db is None else str(snr_db),
        }

    for number, (snr_db, kind, _) in enumerate(
        (snr_db, kind, i) for snr_db in SNRS_DB for i in range(PER_CELL) for kind in KINDS
    ):
        speaker, dry = draw(adults, speech)
        room, wet, clean = "", dry, dry
        if number % 4 in (1, 2):  # half of each cell
            entry = next(rooms)
            h = read(recordings.root / entry.path)
            room, wet, clean = Path(entry.path).stem, convolve(dry, h), convolve(dry, early(h))
        entry, x = noise(kind)
        noisy, clean = limited(wet + scaled(wet, x, snr_db), clean)
        traits = about(entry, kind, snr_db)
        yield Clip(f"mix_{number:03}", "mixture", noisy, clean, speaker, room=room, **traits)

    for number in range(CLEAN_CLIPS):
        speaker, dry = draw(adults, speech)
        dry, _ = limited(dry, None)
        yield Clip(f"clean_{number:03}", "clean", dry, dry, speaker)

    for number in range(NOISE_CLIPS):
        kind = KINDS[number % 2]
        entry, x = noise(kind)
        x, _ = limited(x * 10 ** ((rng.uniform(-45, -22) - active_level(x)) / 20), None)
        yield Clip(f"noise_{number:03}", "noise", x, None, **about(entry, kind))

    def raised(band: int) -> Callable[[str], Mono | None]:
        def make(label: str) -> Mono | None:
            x = speech(label)
            if x is None or not 80 <= median_f0(x) <= 260:
                return None
            level = active_level(x)
            y = raise_voice(x, rng.uniform(band + 25, band + 75))
            if not band <= median_f0(y) < band + 100:
                return None
            return y * 10 ** ((level - active_level(y)) / 20)

        return make

    def childs(label: str) -> Mono | None:
        x = speech(label)
        return x if x is not None and median_f0(x) >= 220 else None

    makers = [
        *((adults, raised(band)) for band in BANDS_HZ for _ in range(PER_BAND)),
        *((children, childs) for _ in range(CHILDREN)),
    ]
    for number, (voices, make) in enumerate(makers):
        speaker, dry = draw(voices, make)
        band = int(median_f0(dry) // 100 * 100)
        f0_band = f"{band}-{band + 100}"
        x, _ = limited(dry, None)
        yield Clip(f"high_{number:03}_clean", "high-voice", x, x, speaker, f0_band=f0_band)
        kind = KINDS[number % 2]
        entry, n = noise(kind)
        noisy, clean = limited(dry + scaled(dry, n, HIGH_VOICE_SNR_DB), dry)
        traits = about(entry, kind, HIGH_VOICE_SNR_DB)
        name = f"high_{number:03}_15db"
        yield Clip(name, "high-voice", noisy, clean, speaker, f0_band=f0_band, **traits)


def write(x: Mono, path: Path) -> str:
    """Write 16-bit FLAC; returns the SHA-256 of its samples, not of the file."""
    pcm = np.clip(np.round(x * 32767), -32768, 32767).astype("<i2")
    sf.write(path, pcm, RATE, subtype="PCM_16")
    return hashlib.sha256(pcm.tobytes()).hexdigest()


def held_out_in(corpus: Path, used: Sequence[Entry]) -> list[str]:
    """Speakers, noise recordings and rooms of `used` that a corpus holds, too."""
    with open(corpus / "MANIFEST.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    trained = {(row["kind"], Path(row["path"]).name) for row in rows}
    trained |= {("speaker", row["label"]) for row in rows if row["kind"] == "speech"}
    trained |= {
        ("file", hashlib.sha256((corpus / row["path"]).read_bytes()).hexdigest()[:10])
        for row in rows
        if row["kind"] != "speech"
    }
    return sorted(
        entry.path
        for entry in used
        if (entry.kind, Path(entry.path).name) in trained
        or (entry.kind == "speech" and ("speaker", entry.label) in trained)
        or ("file", entry.sha256) in trained
    )


def main() -> None:
    """Make the set, print its parts, compare it with what it should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("root", type=Path, metavar="DATA_ROOT", help="folder of the recordings")
    parser.add_argument("out", type=Path, metavar="VAL", help="folder to make")
    parser.add_argument("--corpus", type=Path, help="corpus that must hold nothing of the set")
    parser.add_argument("--list", type=Path, default=LIST, help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help=f"compare with {HASHES.name}")
    options = parser.parse_args()

    chosen = [entry for entry in read_list(options.list) if entry.split == "val"]
    if options.corpus and (shared := held_out_in(options.corpus, chosen)):
        print(*[f"{path}: held out, but in {options.corpus}" for path in shared], sep="\n")
        raise SystemExit(2)
    recordings = Recordings(options.root, list(checked(options.root, chosen)))
    hashes: list[str] = []
    parts: dict[str, int] = defaultdict(int)
    for folder in ("noisy", "clean"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    with open(options.out / "META.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(META)
        for clip in make_clips(recordings):
            for folder, x in (("noisy", clip.noisy), ("clean", clip.clean)):
                if x is not None:
                    name = f"{folder}/{clip.name}.flac"
                    hashes.append(f"{write(x, options.out / name)}  {name}")
            table.writerow([getattr(clip, column) for column in META])
            parts[clip.part] += 1
    (options.out / "val.sha256").write_text("\n".join(hashes) + "\n")
    print(", ".join(f"{part} {number}" for part, number in parts.items()))
    if options.check:
        right = HASHES.read_text().splitlines()
        wrong = sorted(set(right) ^ set(hashes))
        if wrong:
            print(f"{len(wrong)} lines differ from {HASHES.name}, such as {wrong[0]}")
            sys.exit(2)


if __name__ == "__main__":
    main()
