"""Interpreter: compiled loops that run programs, which are rows of instructions (numba_rows.py), on all cores.

As soon as a thread has finished a part, it takes the next one, and begins with it when all earlier steps are done. So
the threads need not sleep and be woken between steps, and if another program takes the core of a thread, the other
threads do its parts.
"""

from typing import Any

import numpy as np
from numba import carray

from minidl.kernels.cpu.loops.numba_blas import dgemm, sgemm
from minidl.kernels.cpu.loops.numba_compiler import compiled, inlined, parallel
from minidl.kernels.cpu.loops.numba_largest import largest_of_windows
from minidl.kernels.cpu.loops.numba_parts import call, in_parts
from minidl.kernels.cpu.loops.numba_rows import COPY, LARGEST, RELU, TILES, TRANSPOSE, WINDOWS
from minidl.kernels.cpu.loops.numba_threads import add_at, let_others_run
from minidl.kernels.cpu.loops.numba_tiles import transform_tiles
from minidl.kernels.cpu.loops.numba_transpose import transpose
from minidl.kernels.cpu.loops.numba_vectors import LINE, pointer
from minidl.kernels.cpu.loops.numba_windows import AT_A_TIME, multiply_windows

_LINES_BYTES = 1 << 14  # of weights that stay in the first-level cache while all windows are read
_PATIENCE = 1000  # how often a thread checks whether the others are done before it yields its core; some microseconds


@parallel
def run_steps(
    rows: Any, starts: Any, bounds: Any, ends: Any, before: Any, one_and_zero: Any, threads: Any, letters: Any
) -> None:
    """Run all steps of a recording."""
    # The number of parts that were taken, and in another cache line the number of those that are done.
    counters = np.zeros(3 * LINE // 8, np.int64)
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
    """Run one part after another until none is left.

    If there is only a single step, each thread takes the part with its own number. What it reads was mostly written by
    the same thread, and is still in the cache of its core.
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
    if op.kind == WINDOWS:
        call(_windows, (op, left, right, out, one_and_zero))
        return
    if op.kind == LARGEST:
        call(largest_of_windows, (op, left, out, one_and_zero))
        return
    if op.kind == TILES:
        call(transform_tiles, (op, left, out, one_and_zero))
        return
    size, (n0, n1, n2, n3) = one_and_zero.itemsize, (op.batch[0], op.batch[1], op.batch[2], op.batch[3])
    # BLAS expects matrices stored column by column, so it sees all of ours transposed: outᵀ = rightᵀ · leftᵀ.
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
                    if op.kind == COPY:
                        call(_copy, (op, b, c, one_and_zero))
                    elif op.kind == TRANSPOSE:
                        lines = (b, op.layout[1, 1] * size), (c, op.layout[2, 0])
                        call(transpose, (op.extent[0], op.extent[1], lines[0], lines[1], one_and_zero))
                    elif op.kind == RELU:
                        call(_relu, (op, c, one_and_zero))
                    elif size == 4:
                        sgemm(transpose_b, transpose_a, n, n + 4, n + 8, scalar, b, n + 12, a, n + 16, beta, c, n + 20)
                    else:
                        dgemm(transpose_b, transpose_a, n, n + 4, n + 8, scalar, b, n + 12, a, n + 16, beta, c, n + 20)
    numbers[0] = 0  # keeps the array alive until here, because BLAS got only its address


@compiled
def _windows(op: Any, left: Any, right: Any, out: Any, like: Any) -> None:
    """Multiply all windows by a few lines of filters at a time, so that each line is read from memory once."""
    height, width, size, filters = op.batch[1], op.batch[2], like.itemsize, op.extent[1]
    count, taps = op.batch[0] * height * width, (op.extent[0], op.batch[3], op.extent[2], op.stride[0, 3])
    groups, places = (count + AT_A_TIME - 1) // AT_A_TIME, np.empty(2 * AT_A_TIME, np.int64)
    lines, of_line = (filters * size + LINE - 1) // LINE, taps[0] * taps[1] * taps[2] * LINE
    together = max(1, _LINES_BYTES // of_line)
    for first in range(0, lines, together):
        s, y, x = 0, 0, 0
        for group in range(groups):
            windows = count * (group + 1) // groups - count * group // groups
            for i in range(windows):
                places[i] = left + s * op.stride[0, 0] + y * op.stride[0, 1] + x * op.stride[0, 2]
                places[AT_A_TIME + i] = out + s * op.stride[2, 0] + y * op.stride[2, 1] + x * op.stride[2, 2]
                x += 1
                if x == width:
                    y, x = y + 1, 0
                    if y == height:
                        s, y = s + 1, 0
            for k in range(first, min(first + together, lines)):
                weights, biases, some = right + k * op.stride[1, 0], op.biases + k * LINE, filters - k * (LINE // size)
                multiply_windows(
                    *(windows, places.ctypes.data, k * LINE, weights, biases),
                    *(taps, min(LINE // size, some), op.relu, like),
                )


@compiled
def _copy(op: Any, source: Any, out: Any, like: Any) -> None:
    columns, every_x, every_y, factor = op.extent[1], op.layout[1, 1], op.layout[2, 1], like.dtype.type(op.factor)
    for r in range(op.extent[0]):
        x = carray(pointer(source + r * op.layout[1, 0], like), columns * every_x)
        y = carray(pointer(out + r * op.layout[2, 0], like), columns * every_y)
        if every_x == 1 and every_y == 1:  # with these constants, the compiler vectorizes the loop
            _copy_row(x, 1, y, 1, columns, factor, op.accumulate)
        else:
            _copy_row(x, every_x, y, every_y, columns, factor, op.accumulate)


@inlined
def _copy_row(x: Any, every_x: Any, y: Any, every_y: Any, columns: Any, factor: Any, accumulate: Any) -> None:
    if accumulate:
        for c in range(columns):
            y[c * every_y] += factor * x[c * every_x]
    elif factor == 1:  # the compiler turns this loop into a copy of bytes
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
        y[c * every] = 0 if y[c * every] < 0 else y[c * every]  # nan stays nan
