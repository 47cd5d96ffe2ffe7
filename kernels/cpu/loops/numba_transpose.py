"""Copy of a matrix that lies transposed, in square blocks.

A block is as wide and as high as a cache line has numbers. Its lines are read into the processor's registers, exchange
their elements there, and are written as lines of the other direction. numba_tiles.py says why this is written in
LLVM's instructions.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from minidl.kernels.cpu.loops.numba_compiler import compiled, inlined
from minidl.kernels.cpu.loops.numba_vectors import I32, LINE, Vectors, number, pointer, unpacked


def _typed(context: Any, source: Any, target: Any, like: Any) -> Any:
    """Compile a function that writes a transposed block.

    source, target: an address, and the bytes from a line to the next; like: an array of the type.
    """
    return types.void(source, target, like), _generate


def _generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[Any]) -> Any:
    vectors = Vectors(builder, context.get_value_type(signature.args[-1].dtype))
    lanes = vectors.lanes
    source, target = (
        [builder.add(first, builder.mul(step, number(i))) for i in range(lanes)]
        for first, step in (unpacked(builder, place) for place in arguments[:2])
    )
    lines = [vectors.load(place, vectors.vector, vectors.size) for place in source]
    distance = 1
    while distance < lanes:  # lines i and i + distance exchange those elements whose index lacks, or has, this bit
        for i in range(lanes):
            if not i & distance:
                pair = lines[i], lines[i + distance]
                lines[i] = _shuffled(builder, pair, [k - distance + lanes if k & distance else k for k in range(lanes)])
                lines[i + distance] = _shuffled(
                    builder, pair, [k + lanes if k & distance else k + distance for k in range(lanes)]
                )
        distance *= 2
    for line, place in zip(lines, target, strict=True):
        vectors.store(line, place)
    return context.get_dummy_value()


def _shuffled(builder: ir.IRBuilder, pair: tuple[Any, Any], elements: list[int]) -> Any:
    """Return a vector of some elements of two; those of the second are counted on from those of the first."""
    return builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(I32, len(elements)), elements))


_transpose_block: Any = intrinsic(_typed)


@compiled
def transpose(rows: Any, columns: Any, source: Any, target: Any, like: Any) -> None:
    """Copy a matrix whose columns lie one after another to one whose rows do; arguments as in ``_typed``."""
    size = like.itemsize
    some = LINE // size
    if rows < some or columns < some:
        _transpose_elements(rows, columns, source, target, like)
        return
    for column in range(0, columns, some):
        for row in range(0, rows, some):
            c, r = min(column, columns - some), min(row, rows - some)  # the last block overlaps the one before it
            _transpose_block(
                (source[0] + c * source[1] + r * size, source[1]),
                (target[0] + r * target[1] + c * size, target[1]),
                like,
            )


@inlined
def _transpose_elements(rows: Any, columns: Any, source: Any, target: Any, like: Any) -> None:
    for c in range(columns):
        x = carray(pointer(source[0] + c * source[1], like), rows)
        for r in range(rows):
            carray(pointer(target[0] + r * target[1], like), columns)[c] = x[r]
