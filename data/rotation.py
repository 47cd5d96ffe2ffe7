"""Random rotations in whole numbers."""

from math import cos, pi, sin

import numpy as np

from minidl.data.bits import Bits, Integers

ONE = 1 << 14
"""What stands for 1 in the tables: rounding to it hides the last bits, in which machines may differ."""

_STEPS = 256
_ANGLES = [2 * pi * step / _STEPS for step in range(_STEPS)]
_COSINES = np.array([round(ONE * cos(angle)) for angle in _ANGLES], dtype=np.int32)
_SINES = np.array([round(ONE * sin(angle)) for angle in _ANGLES], dtype=np.int32)


def rotation(bits: Bits, count: int) -> tuple[Integers, Integers]:
    """Return the cosines and the sines of ``count`` random angles, in units of 1 / ``ONE``."""
    step = bits.integers(0, _STEPS, count)
    return _COSINES[step], _SINES[step]
