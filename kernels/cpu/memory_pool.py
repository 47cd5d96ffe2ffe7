"""Memory pool: the memory of an array is used again as soon as nothing refers to the array any more.

New memory costs a page fault every 4 KiB, so short-lived arrays of a training step should lie in memory that was used
before. Nobody has to release an array: its memory is in use as long as a reference to the array exists.
"""

from collections import deque
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minidl.kernels.cpu.scratch import ALIGNMENT, allocate


class Piece(NamedTuple):
    """Some bytes of one of the pool's blocks."""

    block: int
    start: int
    stop: int


class MemoryPool:
    """Blocks of memory; arrays get pieces of them, which become free again when the arrays are gone."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.uint8]] = []
        self._free: list[Piece] = []  # sorted, and merged: no two pieces are neighbours
        # Any thread can append here at any moment, because deleting an array can interrupt any code.
        self._returned: deque[Piece] = deque()

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialized array; when it and all views of it are gone, its memory is free again."""
        dtype = np.dtype(dtype)
        size = prod(shape) * dtype.itemsize
        piece = self._take(-(-size // ALIGNMENT) * ALIGNMENT)
        memory = self._blocks[piece.block][piece.start : piece.start + size]
        # The base of an array and of all its views is the loan, which so lives as long as any of them.
        return np.asarray(_Loan(self, piece, memory)).view(dtype).reshape(shape)

    def give_back(self, piece: Piece) -> None:
        """Take back memory that no array refers to any more."""
        self._returned.append(piece)

    def _take(self, size: int) -> Piece:
        """Return the beginning of the smallest free piece that is large enough, or a new block."""
        if self._returned:
            self._merge()
        fitting = [free for free in self._free if free.stop - free.start >= size]
        if not fitting:
            self._blocks.append(allocate(size))
            return Piece(len(self._blocks) - 1, 0, size)
        best = min(fitting, key=lambda free: free.stop - free.start)
        place = self._free.index(best)
        rest = best._replace(start=best.start + size)
        self._free[place : place + 1] = [rest] if rest.start < rest.stop else []
        return best._replace(stop=rest.start)

    def _merge(self) -> None:
        """Free the returned pieces, and merge neighbours."""
        returned = [self._returned.popleft() for _ in range(len(self._returned))]
        merged: list[Piece] = []
        for free in sorted([*self._free, *returned]):
            if merged and merged[-1].block == free.block and merged[-1].stop == free.start:
                merged[-1] = merged[-1]._replace(stop=free.stop)
            else:
                merged.append(free)
        self._free = merged


class _Loan:
    """The base object of an array and its views in a piece of memory; it gives the piece back when the last is gone."""

    def __init__(self, pool: MemoryPool, piece: Piece, memory: NDArray[np.uint8]) -> None:
        self._pool, self._piece = pool, piece
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self._pool.give_back(self._piece)
