"""DNSMOS P.835 as a differentiable function, for a perceptual term late in training.

The network of the `speechmos` package is rebuilt in PyTorch from the weights in its ONNX
file.  A model that was trained with this term has been shown what DNSMOS likes: its own
DNSMOS P.835 is then no independent measure, and its card has to say so.

Source: Reddy, Gopal, Cutler, "DNSMOS P.835: a non-intrusive perceptual objective speech
quality metric to evaluate noise suppressors", ICASSP 2022.
"""

# No types: torch.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from sordino.errors import SordinoError, install_command

RATE = 16000
FRAME, HOP = 320, 160
POOLED = (3, 4, 5)  # convolutions that a pooling by 2 follows


def lowered(x: Tensor, rate: int) -> Tensor:
    """Sound of a rate in Hz that is not under 16 kHz, shape = (B, N), at 16 kHz.

    What lies above 8 kHz is cut off in the spectrum of the whole excerpt.
    """
    if rate == RATE:
        return x
    samples = x.shape[-1] // (rate // 1000) * (RATE // 1000)
    spectrum = torch.fft.rfft(x[..., : samples * rate // RATE])
    return torch.fft.irfft(spectrum[..., : samples // 2 + 1], samples) * (RATE / rate)


class Dnsmos(nn.Module):
    """Raw predictions (speech, background, overall) of a listener's opinion, about 1..5.

    The estimator ends in a maximum over time, so it takes clips of any length; it was
    trained on 9 s, and it depends on the level of the sound as listeners do.

    Raises:
        SordinoError: if the package with its weights is not installed.
    """

    transform: Tensor

    def __init__(self) -> None:
        super().__init__()
        import onnx
        from onnx import numpy_helper

        package = find_spec("speechmos")
        if package is None or not package.submodule_search_locations:
            raise SordinoError(
                f"loss.dnsmos needs the networks of DNSMOS: {install_command('evaluate')}"
            )
        path = Path(package.submodule_search_locations[0]) / "dnsmos_models/sig_bak_ovr.onnx"
        weights = {
            each.name: torch.from_numpy(numpy_helper.to_array(each).copy())
            for each in onnx.load(path).graph.initializer
        }
        parts = [weights[f"time2freq/stft-{part}/kernel:0"][:, :, 0] for part in ("real", "imag")]
        self.register_buffer("transform", torch.cat(parts), persistent=False)
        names = ["conv2d", *(f"conv2d_{i}" for i in range(1, 7))]
        self.convolutions = nn.ModuleList()
        for name in names:
            kernel = weights[f"{name}/kernel:0"]
            # Ten times as fast in bfloat16 on a CPU with the channels last.
            kernel = kernel.contiguous(memory_format=torch.channels_last)
            layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
            layer.load_state_dict(
                {"weight": kernel, "bias": weights[f"{name}/bias:0"]}, assign=True
            )
            self.convolutions.append(layer)
        self.dense = nn.ModuleList()
        for name in ("dense", "dense_1", "dense_3"):
            prefix, suffix = f"mos_estimator_logpow/{name}", "ReadVariableOp/resource:0"
            matrix = weights[f"{prefix}/MatMul/{suffix}"].T.contiguous()
            layer = nn.Linear(matrix.shape[1], matrix.shape[0])
            bias = weights[f"{prefix}/BiasAdd/{suffix}"]
            layer.load_state_dict({"weight": matrix, "bias": bias}, assign=True)
            self.dense.append(layer)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Sound at 16 kHz, shape = (B, N), to scores, shape = (B, 3)."""
        frames = x.unfold(-1, FRAME, HOP)
        real, imag = (frames @ self.transform.T).chunk(2, -1)
        power = real.square() + imag.square()
        y = power.clamp_min(1e-12).log10()[:, None]
        for i, layer in enumerate(self.convolutions):
            y = functional.relu(layer(y))
            if i in POOLED:
                y = functional.max_pool2d(y, 2)
        y = y.amax((2, 3))
        first, second, last = self.dense
        return last(functional.relu(second(functional.relu(first(y)))))
