"""Voices for tests: bundled recordings of two people, and a folder for their profiles."""

import numpy as np
import soundfile

from sordino import examples

SPEECH = examples.FOLDER / "train" / "speech"


class TiltEncoder:
    """Tells bright voices from dark ones, which is enough for the two bundled people."""

    id = "tilt"

    def embed(self, samples, sample_rate):
        powers = np.abs(np.fft.rfft(samples)) ** 2
        hertz = np.fft.rfftfreq(len(samples), 1 / sample_rate)
        bright = powers[(hertz > 1500) & (hertz < 3500)].sum() / powers[hertz < 1000].sum()
        embedding = np.zeros(192, np.float32)
        embedding[int(bright < 10**-1.57)] = 1
        return embedding


def recordings(person, count=3):
    """Return files of a bundled person, "allison" or "carlo"."""
    return sorted(SPEECH.glob(f"{person}-*.opus"))[:count]


def recording(person, seconds=20.0):
    """Return speech of a bundled person, and its rate in Hz."""
    parts, rate, length = [], 0, 0
    for path in sorted(SPEECH.glob(f"{person}-*.opus")):
        sound, rate = soundfile.read(path, dtype="float32")
        parts.append(sound)
        length += len(sound)
        if length >= seconds * rate:
            break
    return np.concatenate(parts)[: round(seconds * rate)], rate
