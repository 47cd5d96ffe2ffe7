"""Scratch memory of the workers, shared by all operations that one thread calls.

An operation carves its temporary arrays from the buffer of its worker. A buffer grows to the largest size that is
needed, and then stays. So after the first steps, a training step allocates nothing, and consecutive layers work in
memory that is still in the cache. Carving new arrays from a buffer overwrites the earlier ones.

Each thread that calls operations has its own buffers, so that nets may run in several threads at a time; a helper
thread (threads.py) works in the buffers of the thread that it helps.
"""

from math import prod
from threading import local
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

ALIGNMENT = 64  # bytes: one cache line, one AVX-512 register
Buffers = dict[int | str, NDArray[np.uint8]]


class _Mine(local):
    """The buffers that the current thread carves arrays from."""

    def __init__(self) -> None:
        self.buffers: Buffers = {}


_mine = _Mine()


def buffers() -> Buffers:
    """Return the buffers that the current thread carves arrays from."""
    return _mine.buffers


def work_in(buffers: Buffers) -> None:
    """Let the current thread carve arrays from another thread's buffers from now on."""
    _mine.buffers = buffers


def carve(owner: int | str, dtype: DTypeLike, *shapes: tuple[int, ...]) -> list[NDArray[Any]]:
    """Return one uninitialized array of each shape, side by side in the buffer of ``owner``.

    owner is a worker's number, or a name for what all workers share. The arrays are valid until the same owner
    carves again.
    """
    dtype = np.dtype(dtype)
    sizes = [prod(shape) * dtype.itemsize for shape in shapes]
    starts, end = [], 0
    for size in sizes:
        starts.append(end)
        end += -(-size // ALIGNMENT) * ALIGNMENT
    buffer = _mine.buffers.get(owner)
    if buffer is None or buffer.size < end:
        buffer = _mine.buffers[owner] = allocate(end)
    return [
        buffer[start : start + size].view(dtype).reshape(shape)
        for start, size, shape in zip(starts, sizes, shapes, strict=True)
    ]


def version(owner: int | str) -> tuple[int, int]:
    """Return the address and the size of the owner's buffer: while both stay, the same arrays are carved again."""
    buffer = _mine.buffers.get(owner)
    return (0, 0) if buffer is None else (buffer.__array_interface__["data"][0], buffer.size)


def allocate(size: int) -> NDArray[np.uint8]:
    """Return new memory of ``size`` bytes, aligned to a cache line."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + size]
