"""The precision that a network is trained in."""

import logging
from functools import lru_cache

import torch
from torch import nn

log = logging.getLogger("sordino")


def autocast(device: torch.device, bf16: bool) -> torch.autocast:
    """The context to run a network in: in bfloat16 where it is asked for and can be had.

    Args:
        device: that the network is on.
        bf16: whether it is asked for; else all stays in float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16 and _has_bf16(device.type))


@lru_cache
def _has_bf16(device: str) -> bool:
    """Whether recurrences run in bfloat16: oneDNN has none for processors without AVX-512."""
    try:
        with torch.autocast(device, torch.bfloat16), torch.device(device):
            nn.LSTM(8, 8)(torch.zeros(1, 1, 8))
    except RuntimeError:
        log.warning("this processor has no bfloat16 for recurrences: training in float32 (slower)")
        return False
    return True
