"""Arrays of different extents: missing elements count as zero, as in DLIB's residual additions.

Arrays are (samples, …), with equal numbers of samples and of axes; along each axis they begin at the same place.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.program import Program, Recorder

Array = NDArray[np.floating]
_MIN_PER_THREAD = 1 << 15  # elements; with fewer, waking a thread costs more than it gains
_copies, _sums = Recorder(), Recorder()


def copy(source: Array, out: Array) -> None:
    """Write ``source`` into ``out``: out[i] = source[i] at each index i that source has, zero at the others."""

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program = Program()
        _write(program, source[start:stop], out[start:stop])
        return [program]

    _copies.run(len(out), (source, out), write, _MIN_PER_THREAD * len(out) // out.size + 1)


def add(first: Array, second: Array, out: Array) -> None:
    """Write first + second into ``out``, which has the larger extent of both along each axis and may be ``first``."""
    in_place = first.ctypes.data == out.ctypes.data

    def write(worker: int, start: int, stop: int) -> list[Program]:
        program, total = Program(), out[start:stop]
        if not in_place:
            _write(program, first[start:stop], total)
        common = _common(second, total)
        program.copy(second[start:stop][common], total[common], accumulate=True)
        return [program]

    _sums.run(len(out), (first, second, out), write, _MIN_PER_THREAD * len(out) // out.size + 1)


def _write(program: Program, source: Array, out: Array) -> None:
    """Append the instructions that write one array into another, with zeros where it has no elements."""
    common = _common(source, out)
    if out[common].shape != out.shape:
        program.zero(out.reshape(len(out), -1))
    program.copy(source[common], out[common])


def _common(a: Array, b: Array) -> tuple[slice, ...]:
    """Return the region of the indices that both arrays have."""
    return (slice(None), *(slice(min(extents)) for extents in zip(a.shape[1:], b.shape[1:], strict=True)))
