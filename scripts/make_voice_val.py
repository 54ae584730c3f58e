"""Make the set of two-talker clips that an enrolled voice is chosen and reported on.

    python scripts/make_voice_val.py DATA_ROOT VOICE_VAL [--check]

Speakers are those that no model hears in training: of the recordings in DATA_ROOT/new/speech,
every twelfth (the SHA-1 of the label, as a number, is a multiple of 12; scripts/make_corpus.py
leaves them out), where there is enough for an enrolment of 10 s and 7 s of speech from other
recordings.

The set, 16 kHz, 10 s a clip, always the same (`SEED`), in the layout of `sordino evaluate --voice`:

    plain     120   two talkers at 0 dB without noise
    noise      40   two talkers at 0 and 5 dB in noise at 10 dB, noise recordings of the split "val"

In each clip the target speaks alone from 0 to 3 s, both speak from 3 to 7 s, and the other one
speaks alone from 7 to 10 s.  VOICE_VAL/{mixture,target,enrolment}/NAME.flac; META.csv has the
columns name, part, half ("choose" or "report": settings are chosen on the one and figures given of
the other; no speaker is in both), target, interferer, gender ("same", "different" or "" where the
labels do not tell), sir_db, noise, noise_snr_db.  Levels are means over active frames.

Needs what scripts/make_val.py needs.  --check compares with recipes/voice-val.sha256; status 2
where it differs.
"""

import argparse
import csv
import hashlib
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from make_corpus import read_list
from make_val import PEAK, RATE, Mono, active_level, cycle, read, scaled, write

HASHES = Path(__file__).parent.parent / "recipes" / "voice-val.sha256"
SEED = 16
HELD_OUT = 12
AUDIO = (".flac", ".opus", ".wav", ".mp3")
SECONDS, TARGET_SECONDS, OTHER_FROM = 10, 7, 3  # of a clip
ENROLMENT_SECONDS = (10.0, 20.0)  # at least and at most
PAUSE = 0.15  # s between two recordings
PLAIN, NOISY = 120, 40
NOISE_SNR_DB = 10.0
LEVEL_DB = -26.0  # dBFS, of the target
GENDER = re.compile(r"-([FM])[a-z]?\d*$")
HALVES = ("choose", "report")


class Talker(NamedTuple):
    """A held-out speaker: what is enrolled, and what is said, of other recordings."""

    label: str
    enrolment: Mono
    speech: Mono  # 7 s


class Clip(NamedTuple):
    """One clip; the signals are written to files, the rest to META.csv."""

    mixture: Mono
    target: Mono
    enrolment: Mono
    traits: dict[str, str]


def held_out(root: Path) -> dict[str, list[Path]]:
    """Recordings of each held-out speaker, sorted; speakers on the list for training are none."""
    trained = {entry.label for entry in read_list() if entry.split == "train"}
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted((root / "new" / "speech").glob("*/*")):
        if path.suffix not in AUDIO:
            continue
        label = path.stem.rpartition("-")[0] or path.stem
        digest = int(hashlib.sha1(label.encode()).hexdigest(), 16)
        if digest % HELD_OUT == 0 and label not in trained:
            found[label].append(path)
    return found


def join(recordings: Sequence[Mono]) -> Mono:
    """Recordings of one speaker one after another, each at the same active level."""
    pause = np.zeros(round(PAUSE * RATE))
    level = [x * 10 ** ((LEVEL_DB - active_level(x)) / 20) for x in recordings]
    return np.concatenate([part for x in level for part in (x, pause)])


def talkers(root: Path) -> Iterator[Talker]:
    """All held-out speakers with enough speech, in the order of their labels."""
    for label, paths in sorted(held_out(root).items()):
        rng = np.random.default_rng([SEED, int(hashlib.sha1(label.encode()).hexdigest()[:8], 16)])
        order = [paths[i] for i in rng.permutation(len(paths))[:12]]
        said: list[Mono] = []
        enrolled: list[Mono] = []
        for x in map(read, order):
            if active_level(x) < -60 or len(x) < RATE:
                continue
            if sum(map(len, said)) < TARGET_SECONDS * RATE:
                said.append(x)
            elif sum(map(len, enrolled)) < ENROLMENT_SECONDS[1] * RATE:
                enrolled.append(x)
        if sum(map(len, said)) < TARGET_SECONDS * RATE:
            continue
        if sum(map(len, enrolled)) < ENROLMENT_SECONDS[0] * RATE:
            continue
        longest = round(ENROLMENT_SECONDS[1] * RATE)
        yield Talker(label, join(enrolled)[:longest], join(said)[: TARGET_SECONDS * RATE])


def gender(pair: tuple[str, str]) -> str:
    """Whether two labels are of the same gender, "" where they do not tell."""
    letters = [match[1] if (match := GENDER.search(label)) else "" for label in pair]
    return "" if "" in letters else "same" if letters[0] == letters[1] else "different"


def make_clip(target: Talker, other: Talker, sir_db: float, noise: Mono | None) -> Clip:
    """A target and another talker, perhaps in noise."""
    samples = SECONDS * RATE
    clean = np.pad(target.speech, (0, samples - len(target.speech)))
    voice = scaled(clean, other.speech, sir_db)
    mixture = clean + np.pad(voice, (OTHER_FROM * RATE, 0))
    if noise is not None:
        mixture = mixture + scaled(clean, np.resize(noise, samples), NOISE_SNR_DB)
    gain = min(1.0, PEAK / float(np.abs(mixture).max()))
    peak = max(1.0, float(np.abs(target.enrolment).max()) / PEAK)
    pair = target.label, other.label
    traits = {"target": pair[0], "interferer": pair[1], "gender": gender(pair)}
    traits |= {"sir_db": f"{sir_db:g}", "noise": "", "noise_snr_db": ""}
    return Clip(mixture * gain, clean * gain, target.enrolment / peak, traits)


def make_clips(root: Path) -> Iterator[Clip]:
    """All clips of the set, in order."""
    rng = np.random.default_rng(SEED)
    everybody = list(talkers(root))
    order = [everybody[i] for i in rng.permutation(len(everybody))]
    halves = {half: order[i::2] for i, half in enumerate(HALVES)}
    noises = [
        (entry, x)
        for entry in read_list()
        if entry.split == "val" and entry.kind == "noise"
        for x in [read(root / entry.path)]
        if len(x) >= 2 * RATE and active_level(x) > -60
    ]
    drawn = cycle(rng, noises)
    targets = {half: cycle(rng, own) for half, own in halves.items()}
    for number in range(PLAIN + NOISY):
        half = HALVES[number % 2]
        target = next(targets[half])
        others = [each for each in halves[half] if each.label != target.label]
        other = others[int(rng.integers(len(others)))]
        noisy = number >= PLAIN
        sir_db = 5.0 if noisy and number % 4 >= 2 else 0.0
        noise = next(drawn) if noisy else None
        clip = make_clip(target, other, sir_db, noise[1] if noise else None)
        about = {"name": f"v{number:03}", "part": "noise" if noisy else "plain", "half": half}
        traits = about | clip.traits
        if noise:
            place = f"{noise[0].source}/{Path(noise[0].path).stem}"
            traits |= {"noise": place, "noise_snr_db": f"{NOISE_SNR_DB:g}"}
        yield clip._replace(traits=traits)


def main() -> None:
    """Make the set, print its size, compare it with what it should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("root", type=Path, metavar="DATA_ROOT", help="folder of the recordings")
    parser.add_argument("out", type=Path, metavar="VOICE_VAL", help="folder to make")
    parser.add_argument("--check", action="store_true", help=f"compare with {HASHES.name}")
    options = parser.parse_args()

    hashes: list[str] = []
    rows: list[dict[str, str]] = []
    for clip in make_clips(options.root):
        signals = {"mixture": clip.mixture, "target": clip.target, "enrolment": clip.enrolment}
        for folder, x in signals.items():
            name = f"{folder}/{clip.traits['name']}.flac"
            (options.out / folder).mkdir(parents=True, exist_ok=True)
            hashes.append(f"{write(x, options.out / name)}  {name}")
        rows.append(clip.traits)
    with open(options.out / "META.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    (options.out / "voice-val.sha256").write_text("\n".join(hashes) + "\n")
    speakers = {row["target"] for row in rows} | {row["interferer"] for row in rows}
    pairs = {(row["target"], row["interferer"]) for row in rows}
    print(f"{len(rows)} clips, {len(speakers)} speakers, {len(pairs)} pairs")
    if options.check:
        wrong = sorted(set(HASHES.read_text().splitlines()) ^ set(hashes))
        if wrong:
            print(f"{len(wrong)} lines differ from {HASHES.name}, such as {wrong[0]}")
            sys.exit(2)


if __name__ == "__main__":
    main()
