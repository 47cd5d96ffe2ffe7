"""Tiles times matrices, down · tile · acrossᵀ: the innermost loop of Winograd's algorithm; see tiles.py.

All channels of a tile are transformed in the same way, a cache line of them at a time. A row of the tile lies in the
processor's registers while the matrix ``across`` is applied to it. The results of all rows stay in the first-level
cache, until the matrix ``down`` is applied to them. With BLAS, these would be thousands of tiny products. The loop is
written in LLVM's instructions, once for each number of columns that a matrix can have, because vectors that the
compiler makes of a loop by itself would not stay in registers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from minidl.kernels.cpu.cook_toom import MOST_POINTS
from minidl.kernels.cpu.loops.numba_compiler import compiled, inlined
from minidl.kernels.cpu.loops.numba_vectors import CONTRACT, LINE, Vectors, number, pointer, unpacked

_ROW = MOST_POINTS * LINE  # bytes of a half-transformed row


def _typed(context: Any, matrix: Any, repeats: Any, source: Any, target: Any, lower: Any, like: Any) -> Any:
    """Compile target[r, i] = max(Σ_k matrix[i, k]·source[r, k], lower) for a line of channels.

    matrix: address, rows, columns and the bytes from a row to the next; repeats: the number of values of r; source,
    target: address, the bytes from one r to the next, and those from one k or i to the next; like: an array of the
    type.
    """
    return types.void(matrix, types.intp, source, target, like.dtype, like), _generate


def _generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[Any]) -> Any:
    matrix, repeats, source, target, lower, _ = arguments
    matrix, source, target = (unpacked(builder, values) for values in (matrix, source, target))
    vectors = _Sums(builder, context.get_value_type(signature.args[-1].dtype))
    end = builder.append_basic_block()
    switch = builder.switch(matrix[2], end)
    for columns in range(MOST_POINTS + 1):
        case = builder.append_basic_block()
        switch.add_case(number(columns), case)
        builder.position_at_end(case)
        vectors.write(columns, matrix, repeats, source, target, lower)
        builder.branch(end)
    builder.position_at_end(end)
    return context.get_dummy_value()


_sums_of_lines: Any = intrinsic(_typed)


class _Sums(Vectors):
    """Instructions for a line of channels."""

    def write(self, columns: int, matrix: Any, repeats: Any, source: Any, target: Any, lower: Any) -> None:
        """Append the loops for a number of columns."""
        builder, (address, rows, _, step), lowest = self.builder, matrix, self.splat(lower, self.scalar)
        for read, written in self.loop(repeats, source[:2], target[:2]):
            places = [builder.add(read, builder.mul(source[2], number(k))) for k in range(columns)]
            lines = [self.load(place, self.vector, self.size) for place in places]
            for row, place in self.loop(rows, (address, step), (written, target[2])):
                total = ir.Constant(self.vector, [0.0] * self.lanes)
                for k, line in enumerate(lines):
                    factor = self.load(builder.add(row, number(k * self.size)), self.scalar, self.size)
                    product = builder.fmul(self.splat(factor, self.scalar), line, flags=CONTRACT)
                    total = builder.fadd(total, product, flags=CONTRACT) if k else product
                below = builder.fcmp_ordered("<", total, lowest)  # nan stays nan
                self.store(builder.select(below, lowest, total), place)


@inlined
def _sums_of_elements(matrix: Any, repeats: Any, source: Any, target: Any, lower: Any, like: Any) -> None:
    """Compute the same for one channel."""
    for r in range(repeats):
        for i in range(matrix[1]):
            factors, total = carray(pointer(matrix[0] + i * matrix[3], like), matrix[2]), like.dtype.type(0)
            for k in range(matrix[2]):
                total += factors[k] * carray(pointer(source[0] + r * source[1] + k * source[2], like), 1)[0]
            out = carray(pointer(target[0] + r * target[1] + i * target[2], like), 1)
            out[0] = lower if total < lower else total


@compiled
def transform_tiles(op: Any, source: Any, out: Any, like: Any) -> None:
    """Write down · tile · acrossᵀ for all tiles of an instruction, given as a row of a recording (numba_rows.py)."""
    size, width, steps, on = like.itemsize, op.extent[1] * like.itemsize, op.stride, op.layout
    down = (op.down[0], op.down[1], op.down[2], op.down[3])
    across = (op.across[0], op.across[1], op.across[2], op.across[3])
    lowest = like.dtype.type(-np.inf)  # no lower limit
    memory = np.empty(MOST_POINTS * _ROW + LINE, np.uint8)
    between = (memory.ctypes.data + LINE - 1) // LINE * LINE
    step = LINE if width >= LINE else size
    for s in range(op.batch[0]):
        for y in range(op.batch[1]):
            for x in range(op.batch[2]):
                tile = source + s * steps[0, 0] + y * steps[0, 1] + x * steps[0, 2]
                target = out + s * steps[2, 0] + y * steps[2, 1] + x * steps[2, 2]
                for begin in range(0, width, step):
                    at = min(begin, width - step)  # the last line overlaps the one before it
                    matrix, repeats, lower = across, down[2], lowest
                    read, written = (tile + at, on[0, 0], on[0, 1]), (between, _ROW, LINE)
                    for side in range(2):
                        if side == 1:
                            matrix, repeats, lower = down, across[1], like.dtype.type(0) if op.relu else lowest
                            read, written = (between, LINE, _ROW), (target + at, on[2, 1], on[2, 0])
                        if step == LINE:
                            _sums_of_lines(matrix, repeats, read, written, lower, like)
                        else:
                            _sums_of_elements(matrix, repeats, read, written, lower, like)
    memory[0] = 0  # keeps the array alive until here, because only its address was used
