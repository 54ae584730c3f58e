"""Size and cost of a network: parameters and multiply-accumulates."""

from typing import Any

import torch
from torch import Tensor, nn


def count_parameters(network: nn.Module) -> int:
    """Number of weights that training can change, plus those it may have frozen."""
    return sum(weight.numel() for weight in network.parameters())


@torch.no_grad()
def count_macs(network: nn.Module, *inputs: Any) -> int:
    """Multiply-accumulates of one forward pass.

    Counted are linear, convolutional and recurrent layers, which is what other systems
    report; element-wise work and the two fixed band matrices are not.

    Args:
        network: run as `network(*inputs)`.
        inputs: of one second of audio, for a figure per second.

    >>> count_macs(nn.Linear(3, 5), torch.zeros(100, 3))
    1500
    """
    total = 0

    def count(layer: nn.Module, args: tuple[Tensor, ...], result: Any) -> None:
        nonlocal total
        if isinstance(layer, nn.Linear):
            total += result.numel() * layer.in_features
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            positions = (result if isinstance(layer, nn.Conv2d) else args[0]).numel()
            inner = layer.in_channels if isinstance(layer, nn.Conv2d) else layer.out_channels
            total += positions * inner // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
        elif isinstance(layer, nn.RNNBase):
            steps = args[0].shape[0] * args[0].shape[1]
            weights = sum(w.numel() for n, w in layer.named_parameters() if n.startswith("weight"))
            total += steps * weights

    hooks = [layer.register_forward_hook(count) for layer in network.modules()]
    network(*inputs)
    for hook in hooks:
        hook.remove()
    return total
