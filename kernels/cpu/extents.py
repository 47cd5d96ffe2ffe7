"""Arrays of different extents: what is missing counts as zero, as in DLIB's residual additions.

Arrays are (samples, …), with equal numbers of samples and of axes; along each axis they begin at the same place.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.threads import share

Array = NDArray[np.floating]
_MIN_PER_THREAD = 1 << 18  # elements; with fewer, waking a thread costs more than it brings


def copy(source: Array, out: Array) -> None:
    """Write ``source`` into ``out``: cropped where out is smaller, zero where it is larger; its adjoint copies back."""
    common = _common(source, out)
    whole = out[common].shape == out.shape

    def work(worker: int, start: int, stop: int) -> None:
        if not whole:
            out[start:stop] = 0
        out[start:stop][common] = source[start:stop][common]

    share(work, len(out), _MIN_PER_THREAD * len(out) // out.size + 1)


def add(first: Array, second: Array, out: Array) -> None:
    """Write first + second into ``out``, whose extents are the larger ones of both and which may be ``first``."""
    of_first, of_second = _common(first, out), _common(second, out)
    in_place = first.ctypes.data == out.ctypes.data

    def work(worker: int, start: int, stop: int) -> None:
        a, b, total = first[start:stop], second[start:stop], out[start:stop]
        if a.shape == b.shape:
            np.add(a, b, out=total)
            return
        if a.shape != total.shape:
            total[...] = 0
        if not in_place:
            total[of_first] = a
        total[of_second] += b

    share(work, len(out), _MIN_PER_THREAD * len(out) // out.size + 1)


def _common(a: Array, b: Array) -> tuple[slice, ...]:
    """Return the region that both arrays have."""
    return (slice(None), *(slice(min(extents)) for extents in zip(a.shape[1:], b.shape[1:], strict=True)))
