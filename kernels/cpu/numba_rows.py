"""Rows: instructions of programs (program.py) as the compiled interpreter (numba_interpreter.py) reads them."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from minidl.kernels.cpu.program import AnyInstruction, Largest, PerImage, Tiles, Windows, part

Array = NDArray[Any]

PRODUCT, COPY, LARGEST, RELU, WINDOWS, TILES = range(6)
_RUN = 32  # elements of a piece of a window, which is summed up by itself: whole nets have half the rounding error
_NO_MATRIX = (0, 0, 0, 0)
_BATCH = 4  # axes of a batch of matrices, filled up with ones
ROW = np.dtype(
    [
        ("kind", "i8"),
        ("accumulate", "i8"),
        ("address", "i8", 3),  # of left, right and out
        ("step", "i8", 3),  # bytes from an image to the next
        ("extent", "i8", 3),  # rows and columns of out, columns of left
        ("layout", "i8", (3, 2)),  # see _layout and _elements
        ("batch", "i8", _BATCH),
        ("stride", "i8", (3, _BATCH)),  # bytes from a matrix of the batch to the next
        ("biases", "i8"),  # address, of windows alone
        ("factor", "f8"),  # of copies alone
        ("down", "i8", 4),  # of tiles alone: address, rows, columns, bytes from a row to the next; so is the next one
        ("across", "i8", 4),
    ]
)


def row_of(instruction: AnyInstruction, samples: int) -> tuple[Any, ...]:
    """Return an instruction as a row of a recording."""
    if isinstance(instruction, Windows):
        return _windows_row(instruction, samples)
    if isinstance(instruction, Largest):
        return _largest_row(instruction, samples)
    if isinstance(instruction, Tiles):
        return _tiles_row(instruction, samples)
    kind = PRODUCT if instruction.left is not None else COPY if instruction.right is not None else RELU
    operands = [instruction.out if operand is None else operand for operand in instruction[:3]]
    arrays = [part(operand, 0, samples) for operand in operands]
    addresses = [*map(_address, arrays)]
    steps = [operand.array.strides[0] * operand.rows if isinstance(operand, PerImage) else 0 for operand in operands]
    layout = _layout
    if kind != PRODUCT:
        arrays, layout = _merged(arrays), _elements
    *batch, rows, columns = arrays[2].shape
    extents = rows, columns, arrays[0].shape[-1]
    batch = [1] * (_BATCH - len(batch)) + batch
    layouts, strides = [*map(layout, arrays)], [*map(_strides, arrays)]
    return (
        *(kind, instruction.accumulate, addresses, steps, extents, layouts, batch, strides, 0, instruction.factor),
        *(_NO_MATRIX, _NO_MATRIX),
    )


def _windows_row(instruction: Windows, samples: int) -> tuple[Any, ...]:
    """Return a product with windows as a row.

    The batch is (samples, y, x, rows of a window), that of outputs the first three of these. Extents are the pieces of
    a window, of which there are several only where it has a single row, the filters, and the elements in a row of a
    piece.
    """
    operands = instruction[:3]
    left, right, out = (part(operand, 0, samples) for operand in operands)
    addresses = [*map(_address, (left, right, out, instruction.biases))]
    steps = [operand.array.strides[0] * operand.rows if isinstance(operand, PerImage) else 0 for operand in operands]
    *batch, columns, channels = left.shape
    run = columns * channels
    pieces = max(1, run // _RUN) if batch[3] == 1 and run % _RUN == 0 else 1
    strides = [*left.strides[:4]], [right.strides[0], 0, 0, 0], [*out.strides[:3], 0]
    extents = pieces, out.shape[-1], run // pieces
    return (
        *(WINDOWS, instruction.relu, addresses[:3], steps, extents, [(0, 0)] * 3),
        *(batch, strides, addresses[3], 1, _NO_MATRIX, _NO_MATRIX),
    )


def _largest_row(instruction: Largest, samples: int) -> tuple[Any, ...]:
    """Return a search for the largest elements of windows as a row.

    The batch is (samples, y, x); extents are those of a window; the layout is the bytes from a row to the next, and
    from a pixel to the next.
    """
    source, out = instruction.source, instruction.out
    strides = [(*source.strides[:3], 0), [0] * _BATCH, (*out.strides[:3], 0)]
    return (
        *(LARGEST, 0, (_address(source), 0, _address(out)), (0, 0, 0), source.shape[3:]),
        *((source.strides[3:5], (0, 0), (0, 0)), (*out.shape[:3], 1), strides, 0, 1, _NO_MATRIX, _NO_MATRIX),
    )


def _address(array: Array) -> int:
    """Return where an array lies."""
    return int(array.__array_interface__["data"][0])


def _tiles_row(instruction: Tiles, samples: int) -> tuple[Any, ...]:
    """Return a transformation of tiles as a row.

    The batch is (samples, y, x); the columns of out are the channels; a layout is the bytes from a row of a tile to the
    next, and from a pixel or point to the next.
    """
    operands = instruction.source, instruction.out
    arrays = [part(operand, 0, samples) for operand in operands]
    addresses = [*map(_address, arrays)]
    steps = [operand.array.strides[0] * operand.rows if isinstance(operand, PerImage) else 0 for operand in operands]
    layouts, strides = [array.strides[3:5] for array in arrays], [(*array.strides[:3], 0) for array in arrays]
    matrices = [
        (_address(matrix), *matrix.shape, matrix.strides[0]) for matrix in (instruction.down, instruction.across)
    ]
    return (
        *(TILES, instruction.relu, (addresses[0], 0, addresses[1]), (steps[0], 0, steps[1])),
        *((1, arrays[1].shape[-1], 0), (layouts[0], (0, 0), layouts[1]), (*arrays[1].shape[:3], 1)),
        *((strides[0], [0] * _BATCH, strides[1]), 0, 1, *matrices),
    )


def _merged(arrays: list[Array]) -> list[Array]:
    """Return views of arrays of one shape with as few axes as possible, but two: those without a gap become one."""
    for axis in range(arrays[0].ndim - 1, 0, -1):
        if all(_without_gap(array, axis) for array in arrays):
            arrays = [_as_one(array, axis) for array in arrays]
    return [array if array.ndim > 1 else array[None] for array in arrays]


def _without_gap(array: Array, axis: int) -> bool:
    """Return whether an axis and the one before it lie in memory as one would."""
    before, own = array.shape[axis - 1 : axis + 1]
    return before == 1 or own == 1 or array.strides[axis - 1] == own * array.strides[axis]


def _as_one(array: Array, axis: int) -> Array:
    """Return a view in which an axis and the one before it are one."""
    before, own = array.shape[axis - 1 : axis + 1]
    shape = (*array.shape[: axis - 1], before * own, *array.shape[axis + 1 :])
    stride = array.strides[axis - 1] if own == 1 else array.strides[axis]
    return as_strided(array, shape, (*array.strides[: axis - 1], stride, *array.strides[axis + 1 :]))


def _elements(array: Array) -> tuple[int, int]:
    """Return the bytes from a row to the next, and the elements from one element of a row to the next."""
    return array.strides[-2], array.strides[-1] // array.itemsize


def _layout(array: Array) -> tuple[int, int]:
    """Return whether a matrix lies transposed in memory, and the distance of its rows, or columns."""
    rows, columns = array.shape[-2:]
    of_rows, of_columns = array.strides[-2] // array.itemsize, array.strides[-1] // array.itemsize
    if of_columns == 1 or columns <= 1 or rows == 0:
        return 0, max(of_rows, columns, 1) if rows > 1 else max(columns, 1)
    assert of_rows == 1 or rows == 1
    return 1, max(of_columns, rows)


def _strides(array: Array) -> list[int]:
    """Return the bytes between the matrices of a batch; 0 where all share one."""
    own = [stride if extent > 1 else 0 for extent, stride in zip(array.shape[:-2], array.strides[:-2], strict=True)]
    return [0] * (_BATCH - len(own)) + own
