"""Random whole numbers that are the same on every machine and in every version of NumPy."""

from math import cos, pi, prod, sin

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int32]
ONE = 1 << 14
"""What stands for 1 in a rotation: rounding to it hides the last bits, in which machines may differ."""

_ANGLES = [2 * pi * step / 256 for step in range(256)]
_COSINES, _SINES = (np.array([round(ONE * f(angle)) for angle in _ANGLES], dtype=np.int32) for f in (cos, sin))


class Bits:
    """A stream of random whole numbers, made from a bit generator's raw output.

    NumPy guarantees that this output does not change; results of its ``Generator`` methods may change with a version.
    Different numbers after a seed give independent streams.
    """

    def __init__(self, seed: int, *stream: int) -> None:
        self._source = np.random.PCG64(np.random.SeedSequence((seed, *stream)))

    def integers(self, low: int, high: int, *shape: int) -> Integers:
        """Return numbers from ``low`` to ``high`` - 1 in steps of at least (high - low) / 2**16."""
        raw = self._source.random_raw(prod(shape)) >> np.uint64(48)
        return (low + (raw.astype(np.int64) * (high - low) >> 16)).astype(np.int32).reshape(shape)

    def noise(self, *shape: int) -> Integers:
        """Return numbers from -128 to 127, eight from each word of 64 bits."""
        count = prod(shape)
        raw = self._source.random_raw((count + 7) // 8).astype("<u8")
        return raw.view(np.int8)[:count].astype(np.int32).reshape(shape)

    def rotations(self, count: int) -> tuple[Integers, Integers]:
        """Return the cosines and the sines of ``count`` random angles, in units of 1 / ``ONE``."""
        step = self.integers(0, len(_ANGLES), count)
        return _COSINES[step], _SINES[step]
