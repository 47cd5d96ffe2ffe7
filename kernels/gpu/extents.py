"""Arrays of different extents on a GPU, where missing elements count as zero: see kernels/extents.py and extents.cu."""

from itertools import chain
from math import gcd
from typing import Any

import numpy as np

from minidl.kernels.gpu.source import THREADS, cover, ints, lanes, launch, over_pixels

Array = Any


def copy(source: Array, out: Array) -> None:
    """Write ``source`` into ``out``: out[i] = source[i] at each index i that source has, zero at the others."""
    _launch("copy", source, out)


def add(first: Array, second: Array, out: Array) -> None:
    """Write first + second into ``out``, which has the larger extent of both along each axis and may be ``first``."""
    if first.shape == second.shape:
        args = (first, second, out, np.int64(out.size))
        launch("extents", "add", out.dtype, cover(out.size, out.dtype), THREADS, args)
        return
    _launch("add_extended", first, second, out)


def _launch(kernel: str, *arrays: Array) -> None:
    """Run a kernel on arrays of different extents; it writes the last of them."""
    images, out = [_image(array) for array in arrays], arrays[-1]
    y, x, c = images[-1]
    unit = lanes(gcd(*(channels for _, _, channels in images)), *arrays)
    args = (*arrays, *ints(*chain(*images), unit))
    launch("extents", kernel, out.dtype, *over_pixels(len(out) * y, x, c // unit), args)


def _image(array: Array) -> tuple[int, int, int]:
    """View an array (samples, …) of up to four axes as images of y, x, c."""
    extents = [1, 1, *array.shape[1:]][-3:]
    return extents[0], extents[1], extents[2]
