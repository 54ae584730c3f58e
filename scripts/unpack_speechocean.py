"""Turn a checkout of speechocean762 into FLAC files that are named after their speakers.

    git clone https://github.com/jimbozhang/speechocean762
    python scripts/unpack_speechocean.py speechocean762 DATA_ROOT

Writes DATA_ROOT/new/speech/speechocean762/soSPEAKER-SEX-UTTERANCE.flac with c behind the sex of
a child: so0003-Mc-000030012.flac.  Silence at the ends and offsets are taken away, very quiet
and very loud utterances scaled.  Every 13th speaker belongs to the dev set and is left out.

Source: Zhang and others, "speechocean762: an open-source non-native English speech corpus for
pronunciation assessment", Interspeech 2021; CC BY 4.0.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

Mono = NDArray[np.float32]  # (samples,)

DEV_EVERY = 13  # speakers in sorted order
CHILD_YEARS = 16  # younger speakers are children
SILENCE = 10 ** (-75 / 20)
PAD_SECONDS = 0.1  # of what is under SILENCE stays at either end
PEAKS, PEAK = (0.25, 0.99), 0.5  # peaks outside of the range are set to PEAK


def table(checkout: Path, name: str) -> dict[str, str]:
    """A table of two columns from both halves of the corpus."""
    lines = [
        line.split()
        for half in ("train", "test")
        for line in (checkout / half / name).read_text().splitlines()
    ]
    return dict(lines)


def tidy(x: Mono, rate: int) -> Mono:
    """An utterance without silence at its ends, without offset, at a usual level."""
    loud = np.flatnonzero(np.abs(x) > SILENCE)
    if not len(loud):
        return x[:0]
    pad = int(PAD_SECONDS * rate)
    x = x[max(0, loud[0] - pad) : loud[-1] + pad]
    x = x - x.mean()
    peak = np.abs(x).max()
    return x if PEAKS[0] <= peak <= PEAKS[1] else x * (PEAK / peak)


def main() -> None:
    """Unpack and print how many utterances there were."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("checkout", type=Path, help="folder with WAVE, train and test")
    parser.add_argument("root", type=Path, metavar="DATA_ROOT")
    options = parser.parse_args()
    ages, sexes = table(options.checkout, "spk2age"), table(options.checkout, "spk2gender")
    dev = set(sorted(ages)[::DEV_EVERY])
    out = options.root / "new" / "speech" / "speechocean762"
    out.mkdir(parents=True, exist_ok=True)
    number = 0
    for utterance, speaker in sorted(table(options.checkout, "utt2spk").items()):
        if speaker in dev:
            continue
        wave = options.checkout / "WAVE" / f"SPEAKER{speaker}" / f"{utterance}.WAV"
        x, rate = sf.read(wave, dtype="float32", always_2d=True)
        x = tidy(x.mean(1), rate)
        if len(x) < rate:
            continue
        child = "c" if int(ages[speaker]) < CHILD_YEARS else ""
        name = f"so{speaker}-{sexes[speaker].upper()}{child}-{utterance}.flac"
        pcm = (np.clip(x, -1, 1) * 32767).round().astype(np.int16)
        sf.write(out / name, pcm, rate, subtype="PCM_16", compression_level=0.2)
        number += 1
    print(f"{number} utterances")


if __name__ == "__main__":
    main()
