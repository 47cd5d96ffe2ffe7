"""Arrays of different extents: missing elements count as zero, as in DLIB's residual additions.

Arrays are (samples, …), with equal numbers of samples and of axes; along each axis they begin at the same place.

>>> out = np.empty((1, 3))
>>> add(np.array([[1.0, 2.0, 3.0]]), np.array([[10.0, 20.0]]), out)
>>> out
array([[11., 22.,  3.]])
"""

from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray


def copy(source: Array, out: Array) -> None:
    """Write ``source`` into ``out``: cropped where out is smaller, zero where it is larger; its adjoint copies back."""
    common = tuple(slice(min(extents)) for extents in zip(source.shape, out.shape, strict=True))
    out[...] = 0
    out[common] = source[common]


def add(first: Array, second: Array, out: Array) -> None:
    """Write first + second into ``out``, which has the larger extents of both and may be ``first``."""
    total, other = np.empty_like(out), np.empty_like(out)
    copy(first, total)
    copy(second, other)
    out[...] = total + other
