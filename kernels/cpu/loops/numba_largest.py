"""Largest elements of windows, the innermost loop of max pooling at inference.

It takes a cache line of channels at a time, whose maxima stay in the processor's registers. numba_tiles.py says why it
is written in LLVM's instructions.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.kernels.cpu.loops.numba_compiler import compiled
from minidl.kernels.cpu.loops.numba_vectors import LINE, Vectors, unpacked


def _largest_of(lanes: int) -> Any:
    """Return an intrinsic that takes ``lanes`` channels at a time, or with 0 as many as fill a cache line."""

    def typed(context: Any, source: Any, extents: Any, target: Any, like: Any) -> Any:
        """Compile a function that writes the largest elements of a window; nan counts as larger than any number.

        source: an address, the bytes from a row to the next and those from a pixel to the next; extents: rows and
        columns of the window; target: an address; like: an array of the type.
        """
        return types.void(source, extents, types.intp, like), generate

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[Any]) -> Any:
        source, extents, target, _ = arguments
        (address, next_row, next_pixel), (rows, columns) = unpacked(builder, source), unpacked(builder, extents)
        vectors = Vectors(builder, context.get_value_type(signature.args[-1].dtype), lanes)
        best = cgutils.alloca_once_value(builder, vectors.load(address, vectors.vector, vectors.size))
        for (row,) in vectors.loop(rows, (address, next_row)):
            for (pixel,) in vectors.loop(columns, (row, next_pixel)):
                before, other = builder.load(best), vectors.load(pixel, vectors.vector, vectors.size)
                larger = builder.or_(
                    builder.fcmp_ordered(">", other, before), builder.fcmp_unordered("uno", other, other)
                )
                builder.store(builder.select(larger, other, before), best)
        vectors.store(builder.load(best), target)
        return context.get_dummy_value()

    return intrinsic(typed)


_largest_of_lines, _largest_of_elements = _largest_of(0), _largest_of(1)


@compiled
def largest_of_windows(op: Any, source: Any, out: Any, like: Any) -> None:
    """Write the largest elements of all windows of an instruction, given as a row of a recording (numba_rows.py)."""
    size, width, steps = like.itemsize, op.extent[2] * like.itemsize, op.stride
    step, extents = LINE if width >= LINE else size, (op.extent[0], op.extent[1])
    for s in range(op.batch[0]):
        for y in range(op.batch[1]):
            for x in range(op.batch[2]):
                window = source + s * steps[0, 0] + y * steps[0, 1] + x * steps[0, 2]
                target = out + s * steps[2, 0] + y * steps[2, 1] + x * steps[2, 2]
                for begin in range(0, width, step):
                    at = min(begin, width - step)  # the last line overlaps the one before it
                    first = (window + at, op.layout[0, 0], op.layout[0, 1])
                    if step == LINE:
                        _largest_of_lines(first, extents, target + at, like)
                    else:
                        _largest_of_elements(first, extents, target + at, like)
