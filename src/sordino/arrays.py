"""Types of sound: which axis is which, and conversion between sample formats.

All float samples are at full scale +-1.  Each type has one meaning throughout the package, so
that a signature says how an array lies in memory:

- `Mono` (samples,): one channel.
- `Interleaved` (samples, channels): as files and audio devices have it.
- `Planar` (channels, samples): as the DSP has it, so that a channel is contiguous.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mono = NDArray[np.float32]
"""One channel of sound, shape = (samples,)."""

Interleaved = NDArray[np.float32]
"""Sound of a file or a device, shape = (samples, channels)."""

Planar = NDArray[np.float32]
"""Sound inside the DSP, shape = (channels, samples)."""

INT16_SCALE = 32768


def from_int16(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Return 16-bit PCM as float32 at full scale +-1, in the same shape.

    >>> from_int16(np.array([-32768, 0, 16384], np.int16)).tolist()
    [-1.0, 0.0, 0.5]
    """
    return samples.astype(np.float32) * np.float32(1 / INT16_SCALE)


def to_int16(samples: NDArray[Any]) -> NDArray[np.int16]:
    """Return float samples as 16-bit PCM, rounded and clipped, in the same shape.

    It is the inverse of `from_int16`: what came from 16 bits goes back unchanged.

    >>> to_int16(np.array([-1.0, 0.5, 1.0], np.float32)).tolist()
    [-32768, 16384, 32767]
    """
    scaled = np.rint(samples * np.float32(INT16_SCALE))
    return np.clip(scaled, -INT16_SCALE, INT16_SCALE - 1).astype(np.int16)
