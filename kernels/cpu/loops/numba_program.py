"""Programs run by one compiled call; see program.py.

NumPy takes Python's lock (the GIL) back after each product, so that two threads spend much of their time waiting for
each other. Here programs are recorded as rows of addresses, one for each instruction (numba_rows.py). Compiled loops on
all cores (numba_interpreter.py) run them without that lock; for products, they call SciPy's BLAS.

A recording consists of steps, one after another, each with parts for the cores. What ``Recorder`` records is a single
step; the recording of a whole net has one step for each of its operations (``joined``).
"""

from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.calls import Calls
from minidl.kernels.cpu.loops.numba_blas import NORMAL_OR_TRANSPOSED
from minidl.kernels.cpu.loops.numba_compiler import ready
from minidl.kernels.cpu.loops.numba_interpreter import run_steps
from minidl.kernels.cpu.loops.numba_rows import ROW, rows_of
from minidl.kernels.cpu.program import PerImage, Program

Array = NDArray[Any]


class Recording(NamedTuple):
    """What ``run`` needs to know about programs, without their arrays.

    rows: the instructions; starts: the first images of the chunks; bounds: for each program, where its rows and its
    starts begin, and at last where the last ones end; ends: for each part, where its programs begin, and at last where
    the last ones end; before: for each part, how many parts all earlier steps have; one_and_zero: the numbers 1 and 0
    of the operands' type; threads: the largest number of parts of a step.
    """

    rows: Array
    starts: Array
    bounds: Array
    ends: Array
    before: Array
    one_and_zero: Array
    threads: int


def record(parts: list[Sequence[Program]]) -> Recording:
    """Return a recording of one step, with the programs of each part of a batch."""
    programs = [program for part in parts for program in part]
    dtype = _dtype(programs)
    rows = [rows_of(program, dtype.itemsize) for program in programs]
    starts = [start for program in programs for start in program.starts]
    counts = [(0, 0), *((len(some), len(program.starts)) for some, program in zip(rows, programs, strict=True))]
    ends, before = np.cumsum([0, *map(len, parts)]), np.zeros(len(parts), np.int64)
    one_and_zero = np.array([1, 0], dtype)
    bounds = np.cumsum(counts, axis=0)
    every_row = np.array([*chain.from_iterable(rows)], ROW)
    return Recording(every_row, np.array(starts, np.int64), bounds, ends, before, one_and_zero, len(parts))


def _dtype(programs: list[Program]) -> Any:
    """Return the type of all operands; raise TypeError unless it is the same for all, float32 or float64."""
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
    """Run recorded programs for all their chunks; the parts of a step are shared among all cores."""
    ready()
    run_steps(*recording, NORMAL_OR_TRANSPOSED)


def joined(calls: Calls) -> Calls:
    """Return captured calls (calls.py), with consecutive runs of recordings joined into one run of several steps."""
    found: Calls = []
    for function, group in groupby(calls, lambda call: call[0]):
        some = list(group)
        if function is run_steps:
            recordings = [Recording(*arguments[:-1]) for _, arguments in some]
            for _, alike in groupby(recordings, lambda recording: recording.one_and_zero.dtype):
                found.append((run_steps, (*_one_after_another(list(alike)), NORMAL_OR_TRANSPOSED)))
        else:
            found += some
    return found


def _one_after_another(recordings: list[Recording]) -> Recording:
    """Return one recording with the steps of all ``recordings``."""
    rows, starts, bounds, ends, before, one_and_zero, threads = zip(*recordings, strict=True)
    # Bounds and ends are offsets, which begin with 0 in each recording; here they begin where the previous one ends.
    return Recording(
        np.concatenate(rows),
        np.concatenate(starts),
        _joined_offsets(bounds),
        _joined_offsets(ends),
        np.concatenate([own + earlier for own, earlier in zip(before, _prefix_sums(map(len, before)), strict=False)]),
        one_and_zero[0],
        max(threads),
    )


def _joined_offsets(counts: Sequence[Array]) -> Array:
    """Return arrays of offsets, each of which begins with 0, as one array of offsets."""
    ends = _prefix_sums(count[-1] for count in counts)
    return np.concatenate([ends[:1], *(count[1:] + end for count, end in zip(counts, ends, strict=False))])


def _prefix_sums(numbers: Iterable[Any]) -> Array:
    """Return 0 and the sum of each number and all before it."""
    found = np.array(list(numbers))
    return np.concatenate([np.zeros_like(found[:1]), np.cumsum(found, axis=0)])
