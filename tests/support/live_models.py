"""Models for live tests: one that takes known time, one that takes hardly any."""

import time

from sordino.model import Model
from support.models import constant_mask_bytes


class SlowModel(Model):
    """A real model whose every step takes this many seconds more, as on a busy processor."""

    def __init__(self, seconds, value=0.5, name="slow"):
        super().__init__(constant_mask_bytes(value), name)
        self.seconds = seconds
        self.stall = 0.0  # more, for the next step alone

    def open(self, channels, strength):
        """Return a stream that takes its time with every frame."""
        stream = super().open(channels, strength)
        process = stream.process

        def slow_process(spectra):
            stall, self.stall = self.stall, 0.0
            time.sleep(self.seconds * spectra.shape[1] + stall)
            return process(spectra)

        stream.process = slow_process
        return stream
