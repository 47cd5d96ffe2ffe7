"""Rows: instructions of programs (program.py) as the compiled interpreter (numba_interpreter.py) reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from minidl.kernels.cpu.loops.numba_blas import MOST_IN_PLACE
from minidl.kernels.cpu.program import (
    AnyInstruction,
    Instruction,
    Largest,
    Operand,
    PerImage,
    Program,
    Tiles,
    Windows,
    part,
)

Array = NDArray[Any]
Range = tuple[int, int]

PRODUCT, COPY, TRANSPOSE, LARGEST, RELU, WINDOWS, TILES = range(7)
_PIECE = 32  # elements of a window that are summed separately, which halves the rounding errors of whole nets
_BLOCK_COLUMNS = 64  # of a large product: four registers of AVX-512; with 32 or 128, most were slower
_SMALL_RESULT = 1 << 13  # elements of a result for which a long sum is divided, and not the result
_MOST_IN_BLOCKS = 1 << 24  # multiplications of a product; larger ones were mostly faster as a whole
_BATCH = 4  # axes of a batch of matrices; missing ones have the length 1
_NOT_READ = (0, 0)
_NO_MATRIX = (0, 0, 0, 0)


class Row(NamedTuple):
    """An instruction as numbers; ``ROW`` is the type of an array of them.

    Sequences of three belong to left, right and out. Addresses are those of the first image, steps the bytes from an
    image to the next, strides those from a matrix of the batch to the next. The functions below say for each kind of
    instruction what extents and layouts are. A matrix of tiles (down, across) is given by its address, its rows and
    columns, and the bytes from a row to the next.
    """

    kind: int
    addresses: Sequence[int]
    steps: Sequence[int]
    extents: Sequence[int]
    layouts: Sequence[Sequence[int]]
    batch: Sequence[int]
    strides: Sequence[Sequence[int]]
    accumulate: bool = False  # for products and copies
    factor: float = 1  # for copies
    relu: bool = False  # for windows and tiles
    biases: int = 0  # their address, for windows
    down: Sequence[int] = _NO_MATRIX  # for tiles
    across: Sequence[int] = _NO_MATRIX  # for tiles


ROW = np.dtype(
    [
        ("kind", "i8"),
        ("address", "i8", 3),
        ("step", "i8", 3),
        ("extent", "i8", 3),
        ("layout", "i8", (3, 2)),
        ("batch", "i8", _BATCH),
        ("stride", "i8", (3, _BATCH)),
        ("accumulate", "i8"),
        ("factor", "f8"),
        ("relu", "i8"),
        ("biases", "i8"),
        ("down", "i8", 4),
        ("across", "i8", 4),
    ]
)


def rows_of(program: Program, itemsize: int) -> list[Row]:
    """Return the instructions of a program as rows of a recording; a large product becomes several (``_blocks``)."""
    rows = [_row_of(instruction, program.samples) for instruction in program.instructions]
    return [block for row in rows for block in (_blocks(row, itemsize) if row.kind == PRODUCT else [row])]


def _row_of(instruction: AnyInstruction, samples: int) -> Row:
    if isinstance(instruction, Windows):
        return _windows_row(instruction, samples)
    if isinstance(instruction, Largest):
        return _largest_row(instruction)
    if isinstance(instruction, Tiles):
        return _tiles_row(instruction, samples)
    return _matrices_row(instruction, samples)


def _matrices_row(instruction: Instruction, samples: int) -> Row:
    """Return a product, a copy or a ReLU of a batch of matrices as a row.

    Extents are the rows and columns of out, and the columns of left. Layouts are those of ``_layout`` for a product,
    those of ``_elements`` for a copy or a ReLU.
    """
    kind = PRODUCT if instruction.left is not None else COPY if instruction.right is not None else RELU
    operands = [instruction.out if operand is None else operand for operand in instruction[:3]]
    arrays = [part(operand, 0, samples) for operand in operands]
    addresses, layout = [*map(_address, arrays)], _layout
    if kind != PRODUCT:
        arrays, layout = _merged(arrays), _elements
    if kind == COPY and instruction.factor == 1 and not instruction.accumulate and _is_transposed(*arrays[1:]):
        kind = TRANSPOSE
    *batch, rows, columns = arrays[2].shape
    return Row(
        kind=kind,
        addresses=addresses,
        steps=[*map(_step, operands)],
        extents=(rows, columns, arrays[0].shape[-1]),
        layouts=[*map(layout, arrays)],
        batch=[1] * (_BATCH - len(batch)) + batch,
        strides=[*map(_strides, arrays)],
        accumulate=instruction.accumulate,
        factor=instruction.factor,
    )


def _blocks(row: Row, itemsize: int) -> list[Row]:
    """Return a product as products of blocks, small enough for BLAS's faster kernels.

    A small result is summed up in several products, a larger one divided. The product stays whole if BLAS has no such
    kernels, if right is transposed, or if it is so large that a copy of its matrices costs little.
    """
    rows, columns, inner = row.extents
    products = rows * columns * inner
    if MOST_IN_PLACE is None or row.layouts[1][0] or products <= MOST_IN_PLACE:
        return [row]
    height, width, depth = rows, columns, inner
    if rows * columns <= _SMALL_RESULT:
        depth = MOST_IN_PLACE // (rows * columns)
    elif products <= _MOST_IN_BLOCKS:
        width = min(columns, max(_BLOCK_COLUMNS, MOST_IN_PLACE // (rows * inner) // _BLOCK_COLUMNS * _BLOCK_COLUMNS))
        height = max(1, MOST_IN_PLACE // (width * inner))
    return [
        _block(row, itemsize, (top, bottom), (start, min(start + width, columns)), (first, last))
        for top, bottom in _divided(rows, height)
        for start in range(0, columns, width)
        for first, last in _divided(inner, depth)
    ]


def _block(row: Row, itemsize: int, rows: Range, columns: Range, inner: Range) -> Row:
    """Return the product of some rows and columns of left with some columns of right, which is not transposed."""
    left, right, out = row.addresses
    (left_transposed, left_line), (_, right_line), (_, out_line) = row.layouts
    place = rows[0] + inner[0] * left_line if left_transposed else rows[0] * left_line + inner[0]
    return row._replace(
        addresses=(
            left + itemsize * place,
            right + itemsize * (inner[0] * right_line + columns[0]),
            out + itemsize * (rows[0] * out_line + columns[0]),
        ),
        extents=(rows[1] - rows[0], columns[1] - columns[0], inner[1] - inner[0]),
        accumulate=row.accumulate or inner[0] > 0,
    )


def _divided(count: int, most: int) -> list[Range]:
    """Divide range(count) into parts of nearly equal size, ``most`` at most; return where they begin and end."""
    parts = -(-count // most)
    return [(count * k // parts, count * (k + 1) // parts) for k in range(parts)]


def _windows_row(instruction: Windows, samples: int) -> Row:
    """Return a product with windows as a row.

    The batch is (samples, y, x, rows of a window); outputs have only the first three of these axes. Extents are the
    number of pieces of a window (more than one only if a window has a single row), the number of filters, and the
    elements in a row of a piece.
    """
    operands = instruction[:3]
    left, right, out = (part(operand, 0, samples) for operand in operands)
    *batch, columns, channels = left.shape
    elements = columns * channels
    pieces = max(1, elements // _PIECE) if batch[3] == 1 and elements % _PIECE == 0 else 1
    return Row(
        kind=WINDOWS,
        addresses=[*map(_address, (left, right, out))],
        steps=[*map(_step, operands)],
        extents=(pieces, out.shape[-1], elements // pieces),
        layouts=(_NOT_READ, _NOT_READ, _NOT_READ),
        batch=batch,
        strides=(left.strides[:4], (right.strides[0], 0, 0, 0), (*out.strides[:3], 0)),
        relu=instruction.relu,
        biases=_address(instruction.biases),
    )


def _largest_row(instruction: Largest) -> Row:
    """Return a search for the largest elements of windows as a row.

    The batch is (samples, y, x). Extents are those of a window; the layout is the bytes from a row to the next, and
    those from a pixel to the next.
    """
    source, out = instruction.source, instruction.out
    return Row(
        kind=LARGEST,
        addresses=(_address(source), 0, _address(out)),
        steps=(0, 0, 0),
        extents=source.shape[3:],
        layouts=(source.strides[3:5], _NOT_READ, _NOT_READ),
        batch=(*out.shape[:3], 1),
        strides=((*source.strides[:3], 0), (0, 0, 0, 0), (*out.strides[:3], 0)),
    )


def _tiles_row(instruction: Tiles, samples: int) -> Row:
    """Return a transformation of tiles as a row.

    The batch is (samples, y, x). The second extent is the number of channels; a layout is the bytes from a row of a
    tile to the next, and those from a pixel or point to the next.
    """
    source, out = (part(operand, 0, samples) for operand in (instruction.source, instruction.out))
    down, across = (
        (_address(matrix), *matrix.shape, matrix.strides[0]) for matrix in (instruction.down, instruction.across)
    )
    return Row(
        kind=TILES,
        addresses=(_address(source), 0, _address(out)),
        steps=(_step(instruction.source), 0, _step(instruction.out)),
        extents=(1, out.shape[-1], 0),
        layouts=(source.strides[3:5], _NOT_READ, out.strides[3:5]),
        batch=(*out.shape[:3], 1),
        strides=((*source.strides[:3], 0), (0, 0, 0, 0), (*out.strides[:3], 0)),
        relu=instruction.relu,
        down=down,
        across=across,
    )


def _address(array: Array) -> int:
    """Return the address of an array."""
    return int(array.__array_interface__["data"][0])


def _step(operand: Operand) -> int:
    """Return the bytes from an image of an operand to the next; 0 if all images share the operand."""
    return operand.array.strides[0] * operand.rows if isinstance(operand, PerImage) else 0


def _merged(arrays: list[Array]) -> list[Array]:
    """Return views of arrays of one shape with as few axes as possible, at least two: axes without a gap are joined."""
    for axis in range(arrays[0].ndim - 1, 0, -1):
        if all(_without_gap(array, axis) for array in arrays):
            arrays = [_as_one(array, axis) for array in arrays]
    return [array if array.ndim > 1 else array[None] for array in arrays]


def _without_gap(array: Array, axis: int) -> bool:
    """Return whether an axis and the one before it can be viewed as one axis."""
    before, own = array.shape[axis - 1 : axis + 1]
    return before == 1 or own == 1 or array.strides[axis - 1] == own * array.strides[axis]


def _as_one(array: Array, axis: int) -> Array:
    """Return a view in which an axis and the one before it are joined."""
    before, own = array.shape[axis - 1 : axis + 1]
    shape = (*array.shape[: axis - 1], before * own, *array.shape[axis + 1 :])
    stride = array.strides[axis - 1] if own == 1 else array.strides[axis]
    return as_strided(array, shape, (*array.strides[: axis - 1], stride, *array.strides[axis + 1 :]))


def _elements(array: Array) -> tuple[int, int]:
    """Return the bytes from a row to the next, and the distance of neighbours in a row, in elements."""
    return array.strides[-2], array.strides[-1] // array.itemsize


def _layout(array: Array) -> tuple[int, int]:
    """Return whether a matrix lies transposed in memory, and the distance of its rows, or columns, in elements."""
    rows, columns = array.shape[-2:]
    of_rows, of_columns = array.strides[-2] // array.itemsize, array.strides[-1] // array.itemsize
    if of_columns == 1 or columns <= 1 or rows == 0:
        return 0, max(of_rows, columns, 1) if rows > 1 else max(columns, 1)
    assert of_rows == 1 or rows == 1
    return 1, max(of_columns, rows)


def _is_transposed(source: Array, out: Array) -> bool:
    """Return whether ``source`` lies in memory column by column, and ``out`` row by row."""
    size = source.itemsize
    return source.strides[-2] == size != source.strides[-1] and out.strides[-1] == size


def _strides(array: Array) -> list[int]:
    """Return for each axis of a batch the bytes from a matrix to the next; 0 if there is only one."""
    own = [stride if extent > 1 else 0 for extent, stride in zip(array.shape[:-2], array.strides[:-2], strict=True)]
    return [0] * (_BATCH - len(own)) + own
