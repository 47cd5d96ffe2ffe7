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
    """Write ``source`` into ``out``: out[i] = source[i] at each index i that source has, zero at the others.

    Where ``out`` is smaller, the rest of ``source`` is cut off. The adjoint is the copy from ``out`` to ``source``.
    """
    common = tuple(slice(min(extents)) for extents in zip(source.shape, out.shape, strict=True))
    out[...] = 0
    out[common] = source[common]


def add(first: Array, second: Array, out: Array) -> None:
    """Write first + second into ``out``: out[i] = first[i] + second[i], where a missing element counts as zero.

    Along each axis, ``out`` has the larger extent of the two; it may be ``first`` itself.
    """
    total, other = np.empty_like(out), np.empty_like(out)
    copy(first, total)
    copy(second, other)
    out[...] = total + other
