"""Arrays of different extents on a GPU, where what is missing counts as zero: see kernels/extents.py and extents.cu."""

from typing import Any

import numpy as np

from minidl.kernels.gpu.source import THREADS, cover, ints, launch, over_rows

Array = Any


def copy(source: Array, out: Array) -> None:
    """Write ``source`` into ``out``: cropped where out is smaller, zero where it is larger; its adjoint copies back."""
    y, x, c = _image(out)
    args = (source, out, *ints(*_image(source), y, x, c))
    launch("extents", "copy", out.dtype, *over_rows(len(out) * y, x * c), args)


def add(first: Array, second: Array, out: Array) -> None:
    """Write first + second into ``out``, whose extents are the larger ones of both."""
    if first.shape == second.shape:
        args = (first, second, out, np.int64(out.size))
        launch("extents", "add", out.dtype, cover(out.size, out.dtype), THREADS, args)
        return
    y, x, c = _image(out)
    args = (first, second, out, *ints(*_image(first), *_image(second), y, x, c))
    launch("extents", "add_extended", out.dtype, *over_rows(len(out) * y, x * c), args)


def _image(array: Array) -> tuple[int, int, int]:
    """See an array of (samples, …), of up to four axes, as images of y, x, c."""
    extents = [1, 1, *array.shape[1:]][-3:]
    return extents[0], extents[1], extents[2]
