"""A denoiser whose run of the network is shared with others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sordino.denoiser import Denoiser
from sordino.masks import HeldMaskFilter

Sound = NDArray[np.float32]


class HeldDenoiser(Denoiser):
    """A `Denoiser` in two halves: `hold` a block, and after `run` `take` what became of it."""

    _mask_filter = HeldMaskFilter

    @staticmethod
    def run(denoisers: "Sequence[HeldDenoiser]") -> None:
        """Run the network on all blocks that are held, as few times as possible."""
        filters = (each._filter for each in denoisers)
        HeldMaskFilter.run([each for each in filters if isinstance(each, HeldMaskFilter)])

    def hold(self, block: NDArray[Any]) -> None:
        """Take a block of noisy sound; see `Denoiser.feed`."""
        self.feed(block)  # returns nothing: all frames are held

    def take(self) -> Sound:
        """Return the clean samples that are ready."""
        shape = (0,) if self._mono else (0, self.channels)
        return self.feed(np.zeros(shape, np.float32))
