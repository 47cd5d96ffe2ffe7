"""Scratch memory of the workers, shared by all operations.

What an operation needs only while it runs, it cuts from its worker's buffer, which grows to the largest need and
then stays: a steady training step allocates nothing, and consecutive layers work in memory that is still in the
cache. Whatever a buffer held before is lost at the next cut.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

ALIGNMENT = 64  # bytes: one cache line, one AVX-512 register
_buffers: dict[int | str, NDArray[np.uint8]] = {}


def cut(owner: int | str, dtype: DTypeLike, *shapes: tuple[int, ...]) -> list[NDArray[Any]]:
    """Return one uninitialized array of each shape, side by side in the buffer of ``owner``.

    owner is a worker's number, or a name for what all workers share. The arrays are valid until the same owner
    cuts again.
    """
    dtype = np.dtype(dtype)
    sizes = [prod(shape) * dtype.itemsize for shape in shapes]
    starts, end = [], 0
    for size in sizes:
        starts.append(end)
        end += -(-size // ALIGNMENT) * ALIGNMENT
    buffer = _buffers.get(owner)
    if buffer is None or buffer.size < end:
        buffer = _buffers[owner] = allocate(end)
    return [
        buffer[start : start + size].view(dtype).reshape(shape)
        for start, size, shape in zip(starts, sizes, shapes, strict=True)
    ]


def version(owner: int | str) -> int:
    """Return a number that changes when the owner's buffer grows: what was cut from it before is not cut again."""
    buffer = _buffers.get(owner)
    return 0 if buffer is None else buffer.size


def allocate(size: int) -> NDArray[np.uint8]:
    """Return new memory of ``size`` bytes that begins with a cache line."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + size]
