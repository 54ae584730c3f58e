"""How long a network remembers: from which second on do two starts give the same sound?

A recording is denoised in one pass, and again from its middle on, from other states.  What the
network remembers of the sound before the middle is over when both outputs agree.  The overlap of
`sordino denoise --cluster` (`sordino.cluster.sections.OVERLAP`) was chosen from this.

    .venv/bin/python scripts/network_memory.py default small
    .venv/bin/python scripts/network_memory.py --after 180 --rate 8000 small

Speech and noise are the bundled examples: every second noise with speech at 0 and 10 dB.
"""

import argparse
from pathlib import Path

import numpy as np

from sordino import examples
from sordino.denoiser import Denoiser
from sordino.evaluate.metrics import resample
from sordino.io.audiofile import open_source

BEFORE, WARM_UP = 30, 5  # seconds
WINDOW = 0.5  # seconds of sound in which outputs are compared
LIMITS = (40, 60, 70)  # dB below the speech


def main(models, rates, after):
    """Measure some models, for so many seconds after the start, and print a table."""
    root = Path(examples.__file__).parent / "train"
    speech = sorted((root / "speech").iterdir())
    noises = sorted((root / "noise").iterdir())
    print("model    rate  start                      " + "".join(f"{x:>8} dB" for x in LIMITS))
    for model in models:
        for rate in rates:
            needed = {name: [] for name in ("cold", "warmed up", "after another noise")}
            for number, noise in enumerate(noises[::2]):
                rng = np.random.default_rng(number)
                order = rng.permutation(len(speech))
                clips = [sound(speech[i], rate) for i in order]
                voice = spoken(clips, (BEFORE + after) * rate, rate, rng)
                other = repeated(sound(noises[2 * number - 1], rate), 10 * rate)
                for snr in (0, 10):
                    noisy = mixed(voice, repeated(sound(noise, rate), len(voice)), snr)
                    for name, seconds in compared(model, rate, noisy, other).items():
                        needed[name].append(seconds)
            for name, all_seconds in needed.items():
                table = np.array(all_seconds)
                cells = [f"{np.median(x):4.1f}/{x.max():4.1f} s" for x in table.T]
                print(f"{model:8} {rate:5} {name:22} median/most {' '.join(cells)}", flush=True)


def compared(model, rate, noisy, other):
    """Return the seconds after which each start agrees with one pass, by limit."""
    start = BEFORE * rate
    whole = denoised(model, rate, noisy, noisy[: WARM_UP * rate])[start:]
    loud = 20 * np.log10(active_level(whole, rate))
    rest = noisy[start:]
    starts = {
        "cold": rest[:0],
        "warmed up": rest[: WARM_UP * rate],
        "after another noise": other,
    }
    return {
        name: agreed_after(whole - denoised(model, rate, rest, heard), loud, rate)
        for name, heard in starts.items()
    }


def agreed_after(difference, loud, rate):
    """Return the seconds after which a difference stays below each limit; `loud` is in dBFS."""
    step = round(WINDOW * rate)
    windows = difference[: len(difference) // step * step].reshape(-1, step)
    levels = 10 * np.log10(np.mean(windows**2, axis=1) + 1e-20) - loud
    above = [np.flatnonzero(levels > -limit) for limit in LIMITS]
    return [(each[-1] + 1) * WINDOW if len(each) else 0.0 for each in above]


def denoised(model, rate, noisy, heard):
    """Denoise a recording after a warm-up with some other sound."""
    denoiser = Denoiser(model, rate)
    if len(heard):
        denoiser.warm_up(heard)
    return np.concatenate([denoiser.feed(noisy), denoiser.flush()])


def active_level(sound, rate):
    """RMS of the frames of 20 ms that are less than 25 dB below the loudest ones."""
    step = rate // 50
    power = np.mean(sound[: len(sound) // step * step].reshape(-1, step) ** 2, axis=1)
    return np.sqrt(power[power > np.quantile(power, 0.99) / 10**2.5].mean())


def sound(path, rate):
    """Read the first channel of a file at a rate in Hz."""
    with open_source(path) as source:
        samples = np.concatenate(list(source.blocks()))[:, 0]
        return resample(samples, source.info.sample_rate, rate)


def spoken(clips, samples, rate, rng):
    """Join clips with pauses of up to two seconds, to some length."""
    parts = []
    while sum(map(len, parts)) < samples:
        parts += [clips[len(parts) // 2 % len(clips)]]
        parts += [np.zeros(round(rng.uniform(0.2, 2) * rate), "f4")]
    return np.concatenate(parts)[:samples]


def repeated(noise, samples):
    """Repeat a noise to a length."""
    return np.tile(noise, samples // len(noise) + 1)[:samples]


def mixed(voice, noise, snr):
    """Mix at a signal-to-noise ratio in dB."""
    ratio = np.mean(voice**2) / np.mean(noise**2)
    return (voice + noise * np.sqrt(ratio / 10 ** (snr / 10))).astype(np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=["default", "small"])
    parser.add_argument("--rate", type=int, nargs="*", default=[8000, 16000, 48000])
    parser.add_argument("--after", type=int, default=60)
    given = parser.parse_args()
    main(given.models, given.rate, given.after)
