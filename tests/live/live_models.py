"""Models for live tests: one that takes known time, one that takes hardly any."""

import time

from models import constant_mask_bytes
from sordino.model import Model


class SlowModel(Model):
    """A real model whose every step takes so many seconds more, as on a busy processor."""

    def __init__(self, seconds, value=0.5, name="slow"):
        super().__init__(constant_mask_bytes(value), name)
        self.seconds = seconds

    def run(self, spectrum, voice, state):
        time.sleep(self.seconds * spectrum.shape[1])
        return super().run(spectrum, voice, state)
