"""A teacher: a larger network that shows a smaller one what can be told from a mixture.

The clean speech asks for what nobody can hear in the noise; what a good network makes of the
same mixture asks only for what can be done.  A network that learns from both takes more noise
out after as many updates (docs/experiments/small.md).

Source: Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from sordino.errors import SordinoError
from sordino.model import NOISE_MASK
from sordino.train.checkpoint import restore_weights
from sordino.train.pretrained import load_pretrained
from sordino.train.stft import istft, subtract
from sordino.train.unet import UNet


class Teacher(nn.Module):
    """Averaged weights which do not learn any more.

    Args:
        path: of a causal U-Net of any size, see `load_pretrained`.

    Raises:
        SordinoError: if there is none, or one of another kind.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        saved = load_pretrained(path)
        if saved.recipe.kind != NOISE_MASK:
            raise SordinoError(
                f"train.teacher: {path} is a {saved.recipe.kind} network; give one of "
                f"kind {NOISE_MASK!r}, such as 'default'"
            )
        self.network = UNet(saved.recipe.network)
        restore_weights(self.network, saved.part("average"), str(path))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, noisy: Tensor, rate: int) -> Tensor:
        """What it makes of spectrum frames: a waveform.

        Args:
            noisy: real and imaginary part, shape = (B, T, K, 2).
            rate: sample rate in Hz.

        Returns:
            Shape = (B, (T - 1) * hop).
        """
        output = self.network(noisy, *self.network.start(len(noisy), noisy.device))
        return istft(subtract(noisy, output.mask), rate)
