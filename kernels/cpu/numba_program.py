"""Programs run by one compiled call; see program.py.

NumPy takes the interpreter's lock back after each product, and two threads spend much of their time waiting for each
other. Here programs are recorded as rows of addresses, one for each instruction, and compiled loops on all cores hand
the products among them to SciPy's BLAS without the interpreter.

A recording has steps, one after the other, each in parts for the cores. What ``Recorder`` records is a single one; a
whole net has one for each of its operations (``joined``). Each thread takes the next part as soon as it has none, and
begins with it when all earlier steps are done. So the threads are not sent to sleep and woken in between, and one that
another program keeps from its core leaves its parts to the others.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding
from numba import carray, types
from numba.extending import get_cython_function_address
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from minidl.kernels.cpu.calls import Calls
from minidl.kernels.cpu.numba_compiler import compiled, inlined, parallel, ready
from minidl.kernels.cpu.numba_largest import largest_of_windows
from minidl.kernels.cpu.numba_parts import call, in_parts
from minidl.kernels.cpu.numba_threads import add_at, let_others_run
from minidl.kernels.cpu.numba_tiles import transform_tiles
from minidl.kernels.cpu.numba_vectors import LINE, pointer
from minidl.kernels.cpu.numba_windows import WINDOWS, multiply_windows
from minidl.kernels.cpu.program import AnyInstruction, Largest, PerImage, Program, Tiles, Windows, part

Array = NDArray[Any]

for _name in ("sgemm", "dgemm"):
    binding.add_symbol(f"minidl_{_name}", get_cython_function_address("scipy.linalg.cython_blas", _name))
# transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc: addresses all of them, as Fortran wants it
_signature = types.void(*[types.intp] * 13)
_sgemm: Any = types.ExternalFunction("minidl_sgemm", _signature)
_dgemm: Any = types.ExternalFunction("minidl_dgemm", _signature)
_blas_limit = threadpool_limits(limits=1, user_api="blas")  # SciPy's BLAS has come just now
_NORMAL_OR_TRANSPOSED = np.frombuffer(b"NT", np.uint8).copy()
_RUN = 32  # elements of a piece of a window, which is summed up by itself: whole nets have half the rounding error
_LINES_BYTES = 1 << 14  # of weights that stay in the first-level cache while windows come and go
_PATIENCE = 1000  # looks at whether the others are done, before other programs may have the core; some microseconds
_NO_MATRIX = (0, 0, 0, 0)
_BATCH = 4  # axes of a batch of matrices, filled up with ones
_PRODUCT, _COPY, _LARGEST, _RELU, _WINDOWS, _TILES = range(6)
_ROW = np.dtype(
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


class Recording(NamedTuple):
    """What ``run`` needs to know of programs, without their arrays.

    rows: the instructions; starts: the first images of chunks; bounds: for each program the first of its rows and its
    starts, and the ones after the last; ends: for each part the first of its programs, and the one after the last;
    before: for each part how many parts the earlier steps have; one_and_zero: of the operands' type; threads: how many
    can work.
    """

    rows: Array
    starts: Array
    bounds: Array
    ends: Array
    before: Array
    one_and_zero: Array
    threads: int


def record(parts: list[Sequence[Program]]) -> Recording:
    """Return one step with the programs of each part of a batch."""
    programs = [program for part in parts for program in part]
    rows = [_row(instruction, program.samples) for program in programs for instruction in program.instructions]
    starts = [start for program in programs for start in program.starts]
    counts = [(0, 0), *((len(program.instructions), len(program.starts)) for program in programs)]
    ends, before = np.cumsum([0, *map(len, parts)]), np.zeros(len(parts), np.int64)
    one_and_zero = np.array([1, 0], _dtype(programs))
    bounds = np.cumsum(counts, axis=0)
    return Recording(np.array(rows, _ROW), np.array(starts, np.int64), bounds, ends, before, one_and_zero, len(parts))


def _dtype(programs: list[Program]) -> Any:
    """Return the type of all operands; raise TypeError for what BLAS would read as other numbers than it is."""
    found = {
        (operand.array if isinstance(operand, PerImage) else operand).dtype
        for program in programs
        for instruction in program.instructions
        for operand in instruction
        if isinstance(operand, np.ndarray | PerImage)
    }
    if len(found) != 1 or not found <= {np.dtype(np.float32), np.dtype(np.float64)}:
        raise TypeError(f"compiled loops take arrays of float32 or of float64 alone, not of {sorted(map(str, found))}")
    return found.pop()


def run(recording: Recording) -> None:
    """Run recorded programs for all their chunks, the parts of a step on all cores."""
    ready()
    _run_steps(*recording, _NORMAL_OR_TRANSPOSED)


def joined(calls: Calls) -> Calls:
    """Return noted calls (calls.py) in which runs of recordings that follow one another are one, step by step."""
    found: Calls = []
    for function, group in groupby(calls, lambda call: call[0]):
        some = list(group)
        if function is _run_steps:
            recordings = [Recording(*arguments[:-1]) for _, arguments in some]
            for _, alike in groupby(recordings, lambda recording: recording.one_and_zero.dtype):
                found.append((_run_steps, (*_one_after_another(list(alike)), _NORMAL_OR_TRANSPOSED)))
        else:
            found += some
    return found


def _one_after_another(recordings: list[Recording]) -> Recording:
    """Return one recording with the steps of all."""
    rows, starts, bounds, ends, before, one_and_zero, threads = zip(*recordings, strict=True)
    # Bounds and ends count what is before them; those of a recording begin with 0, the end of the one before it.
    return Recording(
        np.concatenate(rows),
        np.concatenate(starts),
        _counted_on(bounds),
        _counted_on(ends),
        np.concatenate([own + earlier for own, earlier in zip(before, _sums(map(len, before)), strict=False)]),
        one_and_zero[0],
        max(threads),
    )


def _counted_on(counts: Sequence[Array]) -> Array:
    """Return counts that begin with 0 each as one, which goes on counting."""
    ends = _sums(count[-1] for count in counts)
    return np.concatenate([ends[:1], *(count[1:] + end for count, end in zip(counts, ends, strict=False))])


def _sums(numbers: Iterable[Any]) -> Array:
    """Return 0 and the sum of each number and all before it."""
    found = np.array(list(numbers))
    return np.concatenate([np.zeros_like(found[:1]), np.cumsum(found, axis=0)])


def _row(instruction: AnyInstruction, samples: int) -> tuple[Any, ...]:
    """Return an instruction as a row of a recording."""
    if isinstance(instruction, Windows):
        return _windows_row(instruction, samples)
    if isinstance(instruction, Largest):
        return _largest_row(instruction, samples)
    if isinstance(instruction, Tiles):
        return _tiles_row(instruction, samples)
    kind = _PRODUCT if instruction.left is not None else _COPY if instruction.right is not None else _RELU
    operands = [instruction.out if operand is None else operand for operand in instruction[:3]]
    arrays = [part(operand, 0, samples) for operand in operands]
    addresses = [*map(_address, arrays)]
    steps = [operand.array.strides[0] * operand.rows if isinstance(operand, PerImage) else 0 for operand in operands]
    layout = _layout
    if kind != _PRODUCT:
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
        *(_WINDOWS, instruction.relu, addresses[:3], steps, extents, [(0, 0)] * 3),
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
        *(_LARGEST, 0, (_address(source), 0, _address(out)), (0, 0, 0), source.shape[3:]),
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
        *(_TILES, instruction.relu, (addresses[0], 0, addresses[1]), (steps[0], 0, steps[1])),
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


@parallel
def _run_steps(
    rows: Any, starts: Any, bounds: Any, ends: Any, before: Any, one_and_zero: Any, threads: Any, letters: Any
) -> None:
    # The number of parts that were taken and, some lines away from it, of those that are done.
    counters = np.zeros(2 * LINE, np.int64)
    in_parts(_take_parts, (rows, starts, bounds, ends, before, one_and_zero, letters, counters), threads)


@compiled
def _take_parts(
    rows: Any,
    starts: Any,
    bounds: Any,
    ends: Any,
    before: Any,
    one_and_zero: Any,
    letters: Any,
    counters: Any,
    thread: Any,
    threads: Any,
) -> None:
    """Run one part after the other until none is left.

    Of a single step, each thread takes its own part: what it reads was made by it, and lies in its core's cache.
    """
    taken, done = counters.ctypes.data, counters.ctypes.data + LINE
    single = before[-1] == 0
    part = thread if single else add_at(taken, 1)
    while part < len(before):
        patience = _PATIENCE
        while add_at(done, 0) < before[part]:
            patience -= 1
            if patience < 0:
                let_others_run()
        for k in range(ends[part], ends[part + 1]):
            for start in starts[bounds[k, 1] : bounds[k + 1, 1]]:
                for r in range(bounds[k, 0], bounds[k + 1, 0]):
                    call(_run, (rows[r], start, one_and_zero, letters))
        if single:
            return
        add_at(done, 1)
        part = add_at(taken, 1)


@compiled
def _run(op: Any, start: Any, one_and_zero: Any, letters: Any) -> None:
    left, right, out = op.address[0], op.address[1], op.address[2]
    left, right, out = left + start * op.step[0], right + start * op.step[1], out + start * op.step[2]
    if op.kind == _WINDOWS:
        call(_windows, (op, left, right, out, one_and_zero))
        return
    if op.kind == _LARGEST:
        call(largest_of_windows, (op, left, out, one_and_zero))
        return
    if op.kind == _TILES:
        call(transform_tiles, (op, left, out, one_and_zero))
        return
    size, (n0, n1, n2, n3) = one_and_zero.itemsize, (op.batch[0], op.batch[1], op.batch[2], op.batch[3])
    # To BLAS, which counts down the columns, all matrices are transposed: outᵀ = rightᵀ · leftᵀ.
    numbers = np.empty(6, np.int32)
    numbers[0], numbers[1], numbers[2] = op.extent[1], op.extent[0], op.extent[2]
    numbers[3], numbers[4], numbers[5] = op.layout[1, 1], op.layout[0, 1], op.layout[2, 1]
    n, scalar, letter = numbers.ctypes.data, one_and_zero.ctypes.data, letters.ctypes.data
    transpose_a, transpose_b = letter + op.layout[0, 0], letter + op.layout[1, 0]
    beta = scalar + size * (1 - op.accumulate)
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                for l in range(n3):  # noqa: E741
                    a = left + i * op.stride[0, 0] + j * op.stride[0, 1] + k * op.stride[0, 2] + l * op.stride[0, 3]
                    b = right + i * op.stride[1, 0] + j * op.stride[1, 1] + k * op.stride[1, 2] + l * op.stride[1, 3]
                    c = out + i * op.stride[2, 0] + j * op.stride[2, 1] + k * op.stride[2, 2] + l * op.stride[2, 3]
                    if op.kind == _COPY:
                        call(_copy, (op, b, c, one_and_zero))
                    elif op.kind == _RELU:
                        call(_relu, (op, c, one_and_zero))
                    elif size == 4:
                        _sgemm(transpose_b, transpose_a, n, n + 4, n + 8, scalar, b, n + 12, a, n + 16, beta, c, n + 20)
                    else:
                        _dgemm(transpose_b, transpose_a, n, n + 4, n + 8, scalar, b, n + 12, a, n + 16, beta, c, n + 20)
    numbers[0] = 0  # until here its memory is in use, which BLAS knows by its address alone


@compiled
def _windows(op: Any, left: Any, right: Any, out: Any, like: Any) -> None:
    """Multiply all windows by some lines of filters after the others, each of which is read from memory once."""
    height, width, size, filters = op.batch[1], op.batch[2], like.itemsize, op.extent[1]
    count, taps = op.batch[0] * height * width, (op.extent[0], op.batch[3], op.extent[2], op.stride[0, 3])
    groups, places = (count + WINDOWS - 1) // WINDOWS, np.empty(2 * WINDOWS, np.int64)
    lines, of_line = (filters * size + LINE - 1) // LINE, taps[0] * taps[1] * taps[2] * LINE
    together = max(1, _LINES_BYTES // of_line)
    for first in range(0, lines, together):
        s, y, x = 0, 0, 0
        for group in range(groups):
            windows = count * (group + 1) // groups - count * group // groups
            for i in range(windows):
                places[i] = left + s * op.stride[0, 0] + y * op.stride[0, 1] + x * op.stride[0, 2]
                places[WINDOWS + i] = out + s * op.stride[2, 0] + y * op.stride[2, 1] + x * op.stride[2, 2]
                x += 1
                if x == width:
                    y, x = y + 1, 0
                    if y == height:
                        s, y = s + 1, 0
            for k in range(first, min(first + together, lines)):
                weights, biases, some = right + k * op.stride[1, 0], op.biases + k * LINE, filters - k * (LINE // size)
                multiply_windows(
                    *(windows, places.ctypes.data, k * LINE, weights, biases),
                    *(taps, min(LINE // size, some), op.accumulate, like),
                )


@compiled
def _copy(op: Any, source: Any, out: Any, like: Any) -> None:
    columns, every_x, every_y, factor = op.extent[1], op.layout[1, 1], op.layout[2, 1], like.dtype.type(op.factor)
    for r in range(op.extent[0]):
        x = carray(pointer(source + r * op.layout[1, 0], like), columns * every_x)
        y = carray(pointer(out + r * op.layout[2, 0], like), columns * every_y)
        if every_x == 1 and every_y == 1:  # the compiler takes several elements at a time where it knows that
            _copy_row(x, 1, y, 1, columns, factor, op.accumulate)
        else:
            _copy_row(x, every_x, y, every_y, columns, factor, op.accumulate)


@inlined
def _copy_row(x: Any, every_x: Any, y: Any, every_y: Any, columns: Any, factor: Any, accumulate: Any) -> None:
    if accumulate:
        for c in range(columns):
            y[c * every_y] += factor * x[c * every_x]
    elif factor == 1:  # which the compiler makes a copy of bytes
        for c in range(columns):
            y[c * every_y] = x[c * every_x]
    else:
        for c in range(columns):
            y[c * every_y] = factor * x[c * every_x]


@compiled
def _relu(op: Any, out: Any, like: Any) -> None:
    columns, every = op.extent[1], op.layout[2, 1]
    for r in range(op.extent[0]):
        y = carray(pointer(out + r * op.layout[2, 0], like), columns * every)
        if every == 1:
            _relu_row(y, 1, columns)
        else:
            _relu_row(y, every, columns)


@inlined
def _relu_row(y: Any, every: Any, columns: Any) -> None:
    for c in range(columns):
        y[c * every] = 0 if y[c * every] < 0 else y[c * every]  # not a number stays what it is
