"""Products of matrices, copies and rectifications in a row, repeated for one chunk of a batch after another.

A convolution is made of many small steps. They are listed once, with everything about them but the chunk's place in the
batch, and then run for all chunks at once, because most of Python's share of the time would go there. Compiled loops
also keep the lists of all workers as one table of addresses, for the next time that the same arrays come.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.scratch import version
from minidl.kernels.cpu.threads import shares

Array = NDArray[Any]

_MOST_TABLES = 64


class Moving(NamedTuple):
    """An operand of which each chunk has its own part, of whole images: rows of an array, their first axis.

    rows: from one image to the next; extent: of a chunk, where it is less than all rows of its images. turned: whether
    the operand is the part's transpose.
    """

    array: Array
    rows: int = 1
    extent: int | None = None
    turned: bool = False

    def part(self, start: int, samples: int) -> Array:
        """Return the part of a chunk."""
        extent = samples * self.rows if self.extent is None else self.extent
        part = self.array[start * self.rows : start * self.rows + extent]
        return part.T if self.turned else part


Operand = Array | Moving


class Step(NamedTuple):
    """out = left · right (broadcast as matmul does) or, without left, out = right; accumulate: out += that instead.

    Without either, out = max(out, 0). Operands are (…, rows, columns).
    """

    left: Operand | None
    right: Operand | None
    out: Operand
    accumulate: bool = False


class Steps:
    """Steps on ``samples`` images at a time, for the chunks that begin at the images ``starts``."""

    def __init__(self, samples: int = 1, starts: Sequence[int] = (0,)) -> None:
        self.samples, self.starts = samples, starts
        self.steps: list[Step] = []

    def product(self, left: Operand, right: Operand, out: Operand, accumulate: bool = False) -> None:
        """List out = left · right, or out += left · right."""
        self.steps.append(Step(left, right, out, accumulate))

    def copy(self, source: Operand, out: Operand, accumulate: bool = False) -> None:
        """List out = source, or out += source; both of one shape with six axes at most."""
        self.steps.append(Step(None, source, out, accumulate))

    def rectify(self, out: Operand) -> None:
        """List out = max(out, 0)."""
        self.steps.append(Step(None, None, out))

    def zero(self, out: Array) -> None:
        """List out = 0: a product of matrices that share no elements."""
        if out.size:
            rows, columns = out.shape[-2:]
            self.product(np.empty((rows, 0), out.dtype), np.empty((0, columns), out.dtype), out)


def part(operand: Operand, start: int, samples: int) -> Array:
    """Return what a chunk has of an operand."""
    return operand.part(start, samples) if isinstance(operand, Moving) else operand


class Repeated:
    """Runs lists of steps, again and again on the same arrays."""

    def __init__(self) -> None:
        self._tables: dict[tuple[int, ...], Any] = {}

    def __deepcopy__(self, memo: Any) -> "Repeated":
        """Return one without tables: these have the addresses of what belongs to the layer that is copied."""
        return Repeated()

    def run(
        self,
        count: int,
        arrays: Sequence[Array],
        lists: Callable[[int, int, int], Sequence[Steps]],
        least: int = 1,
        variant: int = 0,
    ) -> None:
        """Run the steps that ``lists(worker, start, stop)`` returns for shares of ``range(count)``, one by each worker.

        All arrays are of one type, float32 or float64. The steps depend on nothing but the variant, the share, how and
        where the arrays lie and the worker's scratch memory; whatever else they read is there for ever. Where all of
        this is known, nothing is left to do for Python. No share is smaller than ``least``.
        """
        loops, parts = current(), shares(count, least)
        if not loops.KEEPS_TABLES:
            loops.run([lists(*part) for part in parts])
            return
        table = self._tables.get(self._key(variant, parts, arrays))
        if table is None:
            table = loops.table([lists(*part) for part in parts])
            if len(self._tables) >= _MOST_TABLES:
                self._tables.clear()
            # Only now: the lists may have needed more scratch memory than there was.
            self._tables[self._key(variant, parts, arrays)] = table
        loops.run(table)

    @staticmethod
    def _key(variant: int, parts: Sequence[tuple[int, int, int]], arrays: Sequence[Array]) -> tuple[int, ...]:
        """Return all that the lists depend on."""
        places = ((array.__array_interface__["data"][0], *array.shape, *array.strides) for array in arrays)
        versions = (version(worker) for worker, _, _ in parts)
        return (variant, *parts[-1], *chain.from_iterable(versions), *chain.from_iterable(places))
