"""One channel out of several: the one with sound, or the one that the user chose."""

import numpy as np

from sordino.arrays import Interleaved, Mono

MEMORY_SECONDS = 0.5  # time constant of the power of each channel
SWITCH_RATIO = 4.0  # 6 dB: a channel must be so much stronger to be chosen
FLOOR_POWER = 1e-8  # -80 dBFS: a weaker channel is never switched to


class ChannelPicker:
    """Picks one channel of a device, and another one when that is clearly stronger.

    Mixing would be simpler, but an interface of eight channels with one microphone would lose
    18 dB, and two channels of opposite polarity cancel.

    Args:
        channels: of the device.
        sample_rate: in Hz.
        channel: the user's choice, counted from 1; None: the strongest.

    >>> picker = ChannelPicker(2, 48000)
    >>> block = np.zeros((480, 2), np.float32)
    >>> block[:, 1] = 0.1 * np.sin(np.arange(480))
    >>> _ = picker(block)
    >>> picker.channel, bool(np.array_equal(picker(block), block[:, 1]))
    (2, True)
    """

    def __init__(self, channels: int, sample_rate: int, channel: int | None = None) -> None:
        self.channels = channels
        self.channel = channel or 1
        """The one in use, counted from 1."""
        self._automatic = channel is None
        self._memory = MEMORY_SECONDS * sample_rate
        self._power = np.zeros(channels)

    def __call__(self, block: Interleaved) -> Mono:
        """Return one channel of a block; where it changes, the two are crossfaded."""
        before = self.channel - 1
        if not self._automatic or not len(block):
            return np.ascontiguousarray(block[:, before])
        power = np.square(block - block.mean(axis=0)).mean(axis=0)
        weight = min(1.0, len(block) / self._memory)
        self._power += weight * (power - self._power)
        best = int(np.argmax(self._power))
        strong = self._power[best] > SWITCH_RATIO * self._power[before]
        if best == before or not strong or power[best] < FLOOR_POWER:
            return np.ascontiguousarray(block[:, before])
        self.channel = best + 1
        ramp = np.linspace(0, 1, len(block), dtype=np.float32)
        mixed = block[:, before] + ramp * (block[:, best] - block[:, before])
        return mixed.astype(np.float32, copy=False)
