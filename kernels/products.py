"""Matrix products in a row, repeated for one chunk of a batch after another.

A convolution is made of many small products. They are listed once, with everything about them but the chunk's place
in the batch, and then run for all chunks at once, because most of Python's share of the time would go there. Compiled
loops also keep a list as a table of addresses, for the next time that the same arrays come.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.loops import current
from minidl.kernels.scratch import version

Array = NDArray[Any]

_MOST_TABLES = 64


class Product(NamedTuple):
    """out = left · right, or out += left · right; operands (…, rows, columns), broadcast as matmul does.

    moving: which of left, right and out are the images of a whole batch, of which each chunk takes its own; the first
    axis of the others belongs to the chunk.
    """

    left: Array
    right: Array
    out: Array
    moving: tuple[bool, bool, bool]
    accumulate: bool


class Products:
    """Products on ``samples`` images at a time, for the chunks that begin at the images ``starts``."""

    def __init__(self, samples: int, starts: Sequence[int]) -> None:
        self.samples, self.starts = samples, starts
        self.steps: list[Product] = []

    def add(self, left: Array, right: Array, out: Array, moving: str = "", accumulate: bool = False) -> None:
        """List a product; moving: "right" or "out" where that is the images of a whole batch."""
        self.steps.append(Product(left, right, out, (False, moving == "right", moving == "out"), accumulate))

    def zero(self, out: Array) -> None:
        """List that ``out`` (…, rows, columns) becomes zero: a product of matrices that share no elements."""
        if out.size:
            rows, columns = out.shape[-2:]
            self.add(np.empty((rows, 0), out.dtype), np.empty((0, columns), out.dtype), out)


class Repeated:
    """Runs lists of products, again and again on the same arrays."""

    def __init__(self) -> None:
        self._tables: dict[tuple[Any, ...], list[Any]] = {}

    def run(
        self, worker: int, part: tuple[int, int], arrays: Sequence[Array], lists: Callable[[], Sequence[Products]]
    ) -> None:
        """Compute the products that ``lists()`` returns.

        They depend on nothing but the part of the batch, where the arrays lie, and the worker's scratch memory. Where
        all of this is known, nothing is left to do for Python, for whose lock the other threads may be waiting.
        """
        loops = current()
        if not loops.KEEPS_TABLES:
            for products in lists():
                loops.multiply(worker, products)
            return
        places = [(array.__array_interface__["data"][0], *array.strides) for array in arrays]
        tables = self._tables.get((worker, *part, version(worker), *places))
        if tables is None:
            tables = [loops.table(products) for products in lists()]
            self._forget(worker)
            # Only now: the lists may have needed more scratch memory than there was.
            key = (worker, *part, version(worker), *places)
            self._tables[key] = tables
        for table in tables:
            loops.run_table(*table)

    def _forget(self, worker: int) -> None:
        """Forget the tables of scratch memory that the worker has no more, and the oldest where there are too many."""
        for key in list(self._tables):
            if (key[0] == worker and key[3] != version(worker)) or len(self._tables) >= _MOST_TABLES:
                self._tables.pop(key, None)


@cache
def ones(rows: int, columns: int, dtype: Any) -> Array:
    """Return a matrix of ones, which nobody may change."""
    return np.ones((rows, columns), dtype)
