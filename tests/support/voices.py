"""Voices for tests: bundled recordings of two people, and a folder for their profiles."""

import json
from contextlib import contextmanager
from hashlib import sha256
from importlib import resources

import numpy as np
import pytest
import soundfile

from sordino import examples, model
from sordino.voice import VOICE_MODEL
from support import models

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


@contextmanager
def packaged_voice_model(folder):
    """Have `models.voices_model` in the place of the packaged default-voice."""
    weights = resources.files("sordino") / "weights"
    for path in weights.iterdir():
        (folder / path.name).symlink_to(path)
    registry = json.loads((weights / "registry.json").read_text())
    data = models.voices_bytes()
    registry[VOICE_MODEL] = {
        "file": "voices.onnx",
        "kind": "noise-mask",
        "sha256": sha256(data).hexdigest(),
        "summary": "a test",
    }
    (folder / "registry.json").unlink()
    (folder / "registry.json").write_text(json.dumps(registry))
    (folder / "voices.onnx").write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_WEIGHTS", folder)
        yield
