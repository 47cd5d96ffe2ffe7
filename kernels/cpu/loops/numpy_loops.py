"""Innermost loops in NumPy; see __init__.py.

Matrices are (n, rows, columns). Results for each column are (n, columns); numbers that are applied to the columns are
(n, 1, columns).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.calls import Calls
from minidl.kernels.cpu.loops.numpy_columns import affine, affine2, covariance, moments, products, scale, shift, sums
from minidl.kernels.cpu.loops.numpy_update import adam, sgd
from minidl.kernels.cpu.program import AnyInstruction, Largest, Program, Tiles, Windows, part
from minidl.kernels.cpu.scratch import carve
from minidl.kernels.cpu.threads import share
from minidl.kernels.windows import index_type

__all__ = [
    "adam",
    "affine",
    "affine2",
    "covariance",
    "joined",
    "max_pool",
    "max_pool_adjoint",
    "moments",
    "products",
    "relu_adjoint",
    "run",
    "scale",
    "sgd",
    "shift",
    "sums",
    "warning",
]

Array = NDArray[np.floating]
Argmax = NDArray[np.unsignedinteger]
RECORDS = False  # programs are not recorded, as this would keep their arrays alive
# numba_loops.py says what these are; measured with up to 111×111 pixels and at least 32 channels.
WINOGRAD_COSTS = (1.1, 145, 44)
_MIN_PER_THREAD = 1 << 19  # elements


def warning() -> str:
    """Return "": there is nothing to compile."""
    return ""


# -- programs, see program.py -----------------------------------------------------------------------------------------


def joined(calls: Calls) -> Calls:
    """Return captured calls (calls.py) as they are, because to join them would gain nothing."""
    return calls


def run(parts: list[Sequence[Program]]) -> None:
    """Run the programs of each part of a batch for all their chunks; each worker runs one part."""

    def work(worker: int, start: int, stop: int) -> None:
        for programs in parts[start:stop]:
            for program in programs:
                for first in program.starts:
                    for instruction in program.instructions:
                        _run(worker, instruction, first, program.samples)

    share(work, len(parts))


def _run(worker: int, instruction: AnyInstruction, start: int, samples: int) -> None:
    out = part(instruction.out, start, samples)
    if isinstance(instruction, Largest):
        np.copyto(out, instruction.source[:, :, :, 0, 0])
        for y, x in np.ndindex(instruction.source.shape[3:5]):
            np.maximum(out, instruction.source[:, :, :, y, x], out=out)
        return
    if isinstance(instruction, Tiles):
        _transform_tiles(worker, instruction, part(instruction.source, start, samples), out)
        return
    if instruction.right is None:
        np.maximum(out, out.dtype.type(0), out=out)
        return
    right = part(instruction.right, start, samples)
    if isinstance(instruction, Windows):
        _multiply_windows(part(instruction.left, start, samples), right, instruction.biases, out, instruction.relu)
    elif instruction.left is None:
        if instruction.factor != 1:
            (scaled,) = carve(f"products {worker}", out.dtype, out.shape)
            right = np.multiply(right, out.dtype.type(instruction.factor), out=scaled)
        np.add(out, right, out=out) if instruction.accumulate else np.copyto(out, right)
    elif instruction.accumulate:
        (product,) = carve(f"products {worker}", out.dtype, out.shape)
        np.matmul(part(instruction.left, start, samples), right, out=product)
        out += product
    else:
        np.matmul(part(instruction.left, start, samples), right, out=out)


def _transform_tiles(worker: int, instruction: Tiles, tiles: Array, out: Array) -> None:
    """Transform tiles, along x each tile by itself, then along y all tiles of a row at once; see ``Program.tiles``."""
    samples, rows, width, height, _, channels = tiles.shape
    points, by_row = len(instruction.across), out.transpose(0, 1, 3, 2, 4, 5)
    size = out.itemsize
    whole = by_row.strides[3:] == (points * channels * size, channels * size, size)  # a row of tiles lies in one piece
    shapes = (samples, rows, height, width, points, channels), (0,) if whole else by_row.shape
    between, apart = carve(f"products {worker}", out.dtype, *shapes)
    np.matmul(instruction.across, tiles, out=between.transpose(0, 1, 3, 2, 4, 5))
    target = by_row if whole else apart
    row = width * points * channels
    np.matmul(
        instruction.down,
        between.reshape(samples, rows, height, row),
        out=target.reshape(samples, rows, len(instruction.down), row),
    )
    if not whole:
        np.copyto(by_row, apart)
    if instruction.relu:
        np.maximum(out, out.dtype.type(0), out=out)


def _multiply_windows(windows: Array, lines: Array, biases: Array, out: Array, relu: bool) -> None:
    """Multiply windows, which are first copied side by side, by lines of weights; see ``Program.windows``."""
    columns, width = windows.reshape(*out.shape[:3], -1), lines.shape[-1]
    for i, weights in enumerate(lines):
        some = out[..., i * width : (i + 1) * width]
        np.matmul(columns, weights[:, : some.shape[-1]], out=some)
    out += biases
    if relu:
        np.maximum(out, out.dtype.type(0), out=out)


# -- rectified linear unit, on flat arrays ----------------------------------------------------------------------------

_PIECE = 1 << 20  # elements; with smaller ones, two threads mostly wait for the interpreter's lock (GIL)


def relu_adjoint(error: Array, output: Array, out: Array) -> None:
    """Write the error where the output is positive, else zero; ``out`` may be the error."""

    def work(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop, _PIECE):
            piece = slice(i, min(i + _PIECE, stop))
            (positive,) = carve(worker, np.bool_, output[piece].shape)
            np.greater(output[piece], 0, out=positive)
            _masked(error[piece], positive, out[piece])

    share(work, error.size, _MIN_PER_THREAD)


def _masked(x: Array, mask: NDArray[np.bool_], out: Array) -> None:
    """Write x where the mask is true, else zero.

    The bits of x are multiplied as integers, because as floats infinity times zero would be nan. NumPy's copy with a
    mask would take ten times as long.
    """
    bits = f"i{x.dtype.itemsize}"
    np.multiply(x.view(bits), mask.view(np.int8), out=out.view(bits))


# -- max pooling, see max_pool.py -------------------------------------------------------------------------------------

_IMAGES = 1 << 21  # elements of the images that a worker takes at a time, for the same reason as _PIECE


def max_pool(x: Array, size: int, stride: int, out: Array, buffer: Any) -> tuple[Argmax, Argmax]:
    """Write the maxima into ``out``, and return their places, ``down`` and ``across``.

    The maximum of a window is the maximum of the maxima of its columns. So this looks for the maximum of each column
    first, and writes its row into ``down``; then for the maximum of these, and writes its column into ``across``. Both
    passes run on long contiguous rows.
    """
    places = index_type(size)
    down: Argmax = buffer("rows of maxima", (*out.shape[:2], *x.shape[2:]), places)
    across: Argmax = buffer("columns of maxima", out.shape, places)
    several = max(1, _IMAGES // x[0].size)

    def work(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop, several):
            part = slice(i, min(i + several, stop))
            (rows,) = carve(worker, x.dtype, down[part].shape)
            _maxima(worker, x[part], 1, size, stride, rows, down[part])
            _maxima(worker, rows, 2, size, stride, out[part], across[part])

    share(work, len(x))
    return down, across


def max_pool_adjoint(error: Array, size: int, stride: int, argmax: tuple[Argmax, Argmax], out: Array) -> None:
    """Write each element of the error to the place of the maximum, zero elsewhere."""
    several, (down, across) = max(1, _IMAGES // out[0].size), argmax

    def work(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop, several):
            part = slice(i, min(i + several, stop))
            (rows,) = carve(worker, error.dtype, down[part].shape)
            _spread(worker, error[part], 2, size, stride, across[part], rows)
            _spread(worker, rows, 1, size, stride, down[part], out[part])

    share(work, len(error))


def _windows(array: Array, axis: int, offset: int, count: int, stride: int) -> Array:
    """View the elements at ``offset`` of each of ``count`` windows along ``axis``."""
    part = slice(offset, offset + stride * (count - 1) + 1, stride)
    return array[(slice(None),) * axis + (part,)]


def _maxima(worker: int, x: Array, axis: int, size: int, stride: int, out: Array, argmax: Argmax) -> None:
    """Write the maximum of each window along one axis into ``out``, and its place into ``argmax``."""
    count = out.shape[axis]
    first = _windows(x, axis, 0, count, stride)
    second = _windows(x, axis, 1, count, stride) if size > 1 else first
    bytes_as_flags = argmax.view(np.bool_) if argmax.itemsize == 1 else argmax  # the usual type, which needs no cast
    np.greater(second, first, out=bytes_as_flags, casting="unsafe")
    np.maximum(first, second, out=out)
    (larger,) = carve(f"argmax {worker}", np.bool_, out.shape)
    for offset in range(2, size):
        other = _windows(x, axis, offset, count, stride)
        np.greater(other, out, out=larger)
        np.copyto(argmax, offset, where=larger)
        np.maximum(out, other, out=out)


def _spread(worker: int, error: Array, axis: int, size: int, stride: int, argmax: Argmax, out: Array) -> None:
    """Write each element of the error to the place of its window's maximum; add up where windows overlap."""
    count = error.shape[axis]
    if size < stride:
        out[...] = 0  # for the pixels between the windows
    else:
        # The loop below writes the first ``stride`` pixels of each window before it adds to any. The others are zeroed.
        out[(slice(None),) * axis + (slice(stride * count, None),)] = 0
    (is_maximum,) = carve(f"argmax {worker}", np.bool_, argmax.shape)
    for offset in range(size):
        place = _windows(out, axis, offset, count, stride)
        np.equal(argmax, offset, out=is_maximum)
        if offset < stride:
            _masked(error, is_maximum, place)
        else:
            np.add(place, error, out=place, where=is_maximum)
