"""Types of sound: which axis is which, and conversion between sample formats.

All float samples are at full scale +-1.  Each type has one meaning throughout the package, so
that a signature says how an array lies in memory:

- `Mono` (samples,): one channel.
- `Interleaved` (samples, channels): as files and audio devices have it.
- `Planar` (channels, samples): as the DSP has it, so that a channel is contiguous.
"""

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sordino.errors import SordinoError

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


def as_array(sound: ArrayLike) -> NDArray[Any]:
    """Return sound as an array of whatever type it is.

    Shape: (samples,) or (samples, channels).

    Raises:
        SordinoError: it is a path, None, or nothing that NumPy can read.
    """
    given: Any = sound
    if isinstance(given, str | bytes | PathLike):
        raise SordinoError(
            f"sound is {given!r:.60}: expected an array of samples; `sordino denoise` takes files, "
            "soundfile.read makes an array of one"
        )
    if given is None:
        raise SordinoError("sound is None: expected an array of samples")
    try:
        array = np.asarray(given)
    except Exception as error:  # PyTorch and others raise what they like
        reason = " ".join(str(error).split())
        raise SordinoError(
            f"sound cannot be read as an array ({reason:.120}): of a PyTorch tensor pass "
            "x.detach().cpu().float().numpy()"
        ) from error
    if array.dtype == object and not array.ndim:  # open files, generators, dictionaries
        raise SordinoError(f"sound is {given!r:.60}: expected an array of samples")
    return array


def to_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """Return samples of any format as float32 at full scale +-1, in the same shape.

    Raises:
        SordinoError: they are of a type that no format of sound has.
    """
    kind = array.dtype.type
    if kind in (np.float32, np.float16):
        return array.astype(np.float32, copy=False)
    if kind is np.int16:
        return from_int16(array)
    if kind is np.int32:
        return (array * 2.0**-31).astype(np.float32)
    if kind is np.uint8:  # as in wav files: silence is 128
        return (array.astype(np.float32) - np.float32(128)) / np.float32(128)
    if kind is np.float64:
        with np.errstate(over="ignore"):  # what overflows is refused as Inf
            return array.astype(np.float32)
    raise SordinoError(
        f"sound is of the type {array.dtype}: expected floats at full scale +-1, int16, int32 or "
        "uint8"
    )
