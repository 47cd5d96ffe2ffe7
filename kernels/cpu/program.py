"""Programs: lists of matrix products, copies and other instructions, run for one chunk of a batch after another.

A convolution consists of many small instructions. If Python issued them one by one, it would take most of the time. So
they are listed only once, relative to the place of a chunk in the batch, and then run for all chunks. Compiled loops
also record the programs of all workers as arrays of addresses, and reuse these for the same operands.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.calls import keep_alive
from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.scratch import version
from minidl.kernels.cpu.threads import shares

Array = NDArray[Any]

MIN_PRODUCTS = 1 << 18  # multiplications per thread; with fewer, waking a thread costs more than it gains
_MOST_RECORDINGS = 256


class PerImage(NamedTuple):
    """An operand with a part for each chunk: the rows of an array that belong to the chunk's images.

    rows: the rows of each image; extent: the rows of a chunk, if these are not all rows of its images; transposed:
    whether the operand is the transpose of that part.
    """

    array: Array
    rows: int = 1
    extent: int | None = None
    transposed: bool = False

    def part(self, start: int, samples: int) -> Array:
        """Return the part of a chunk."""
        extent = samples * self.rows if self.extent is None else self.extent
        part = self.array[start * self.rows : start * self.rows + extent]
        return part.T if self.transposed else part


Operand = Array | PerImage


class Instruction(NamedTuple):
    """A product out = left · right (broadcast as by matmul), a copy out = factor · right, or a ReLU out = max(out, 0).

    A copy has no ``left``, a ReLU has neither ``left`` nor ``right``. accumulate: add to ``out`` instead. Operands are
    (…, rows, columns).
    """

    left: Operand | None
    right: Operand | None
    out: Operand
    accumulate: bool = False
    factor: float = 1


class Windows(NamedTuple):
    """out = left · right + biases for overlapping windows of images or, with relu, the maximum of that and 0.

    left: (samples, y, x, rows, columns, channels), with each row of a window contiguous; right: the weights in lines,
    see lines.py; biases: (filters,); out: (samples, y, x, filters).
    """

    left: Operand
    right: Array
    out: Operand
    biases: Array
    relu: bool


class Tiles(NamedTuple):
    """out = down · source · acrossᵀ for each channel of each tile or, with relu, the maximum of that and 0.

    down, across: matrices; source: (samples, y, x, rows of a tile, columns of a tile, channels); out: the same with the
    rows of the matrices instead of their columns.
    """

    down: Array
    across: Array
    source: Operand
    out: Operand
    relu: bool


class Largest(NamedTuple):
    """out = the largest element of each window; nan counts as larger than any number.

    source: (samples, y, x, rows, columns, channels), overlapping windows; out: (samples, y, x, channels).
    """

    source: Array
    out: Array


AnyInstruction = Instruction | Windows | Tiles | Largest


class Program:
    """Instructions on ``samples`` images at a time, for the chunks that begin at the images ``starts``."""

    def __init__(self, samples: int = 1, starts: Sequence[int] = (0,)) -> None:
        self.samples, self.starts = samples, starts
        self.instructions: list[AnyInstruction] = []

    def product(self, left: Operand, right: Operand, out: Operand, accumulate: bool = False) -> None:
        """Append out = left · right, or out += left · right."""
        self.instructions.append(Instruction(left, right, out, accumulate))

    def copy(self, source: Operand, out: Operand, accumulate: bool = False, factor: float = 1) -> None:
        """Append out = factor · source, or out += that; both of one shape with six axes at most."""
        self.instructions.append(Instruction(None, source, out, accumulate, factor))

    def largest(self, source: Array, out: Array) -> None:
        """Append out = the largest element of each window; see ``Largest``."""
        self.instructions.append(Largest(source, out))

    def relu(self, out: Operand) -> None:
        """Append out = max(out, 0)."""
        self.instructions.append(Instruction(None, None, out))

    def windows(self, left: Operand, right: Array, biases: Array, out: Operand, relu: bool) -> None:
        """Append out = left · right + biases, or the maximum of that and 0; see ``Windows``."""
        self.instructions.append(Windows(left, right, out, biases, relu))

    def tiles(self, down: Array, across: Array, source: Operand, out: Operand, relu: bool = False) -> None:
        """Append out = down · source · acrossᵀ, or the maximum of that and 0; see ``Tiles``."""
        self.instructions.append(Tiles(down, across, source, out, relu))

    def zero(self, out: Array) -> None:
        """Append out = 0, as the product of a matrix without columns and one without rows."""
        if out.size:
            rows, columns = out.shape[-2:]
            self.product(np.empty((rows, 0), out.dtype), np.empty((0, columns), out.dtype), out)


def part(operand: Operand, start: int, samples: int) -> Array:
    """Return a chunk's part of an operand."""
    return operand.part(start, samples) if isinstance(operand, PerImage) else operand


class Recorder:
    """Runs programs repeatedly on the same arrays, and reuses its recordings of them."""

    def __init__(self) -> None:
        self._recordings: dict[tuple[Hashable, ...], Any] = {}

    def __deepcopy__(self, memo: Any) -> "Recorder":
        """Return one without recordings, because these have the addresses of the original layer's arrays."""
        return Recorder()

    def run(
        self,
        count: int,
        arrays: Sequence[Array],
        write: Callable[[int, int, int], Sequence[Program]],
        minimum: int = 1,
        variant: Hashable = 0,
    ) -> None:
        """Divide ``range(count)`` among the workers, and run the programs that ``write(worker, start, stop)`` returns.

        All arrays are of one type, float32 or float64. The programs depend only on the variant, the share, the
        addresses and shapes of the arrays and the worker's scratch memory; anything else that they read is permanent.
        If there is a recording for the same of all these, ``write`` is not called. No share is smaller than
        ``minimum``.
        """
        loops, parts = current(), shares(count, minimum)
        if not loops.RECORDS:
            loops.run([write(*part) for part in parts])
            return
        recording = self._recordings.get(self._key(variant, parts, arrays))
        if recording is None:
            recording = loops.record([write(*part) for part in parts])
            if len(self._recordings) >= _MOST_RECORDINGS:
                self._recordings.clear()
            # The key is computed again, because ``write`` may have enlarged the scratch memory.
            self._recordings[self._key(variant, parts, arrays)] = recording
        keep_alive(arrays, write)  # a recording has only addresses, also of the arrays that ``write`` refers to
        loops.run(recording)

    @staticmethod
    def _key(variant: Hashable, parts: Sequence[tuple[int, int, int]], arrays: Sequence[Array]) -> tuple[Hashable, ...]:
        """Return all that the programs depend on."""
        places = [(array.__array_interface__["data"][0], array.shape, array.strides) for array in arrays]
        return variant, parts[-1], *[version(worker) for worker, _, _ in parts], *places
