"""Arrays of float32 as bfloat16, and back; CuPy sees the halves as whole numbers of 16 bits."""

from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu import source

Array = Any
THREADS = 256


def narrow(wide: Array) -> Array:
    """Return a new array of the numbers of ``wide`` rounded to bfloat16."""
    result = cupy.empty(wide.shape, np.uint16)
    _launch("narrow", wide, result)
    return result


def widen(narrow: Array, out: Array) -> None:
    """Write the numbers of an array of bfloat16 into ``out``."""
    _launch("widen", narrow, out)


def _launch(kernel: str, array: Array, out: Array) -> None:
    blocks = min(-(-array.size // THREADS), 1 << 16)
    source.launch("bf16", kernel, np.float32, blocks, THREADS, (array, out, np.int64(array.size)))
