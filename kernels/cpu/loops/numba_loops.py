"""Innermost loops compiled by Numba: the functions of numpy_loops.py, each in a single pass over its arrays."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.loops.numba_columns import affine, affine2, covariance, moments, products, scale, shift, sums
from minidl.kernels.cpu.loops.numba_compiler import compiled, parallel, part_of, parts
from minidl.kernels.cpu.loops.numba_parts import in_parts
from minidl.kernels.cpu.loops.numba_program import joined, record, run
from minidl.kernels.cpu.loops.numba_update import adam, sgd
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
    "record",
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
RECORDS = True  # whether programs are recorded, see program.py
# The times in Winograd's algorithm of one multiplication, of one transformed number of the data or outputs, and of one
# transformed weight, in units of the time of one multiplication in the direct algorithm. Measured for 1 to 50 images of
# 3×3 to 56×56 pixels with 16 to 512 channels, with AVX2. The last is between the time for weights in a cache, 2.5, and
# that for weights in memory.
WINOGRAD_COSTS = (1.2, 26, 8)
_MIN_PER_THREAD = 1 << 17  # elements


def warning() -> str:
    """Return a sentence about what makes the first step slow; "" if compiled loops of an earlier run were kept."""
    folder = _relu_adjoint.compiled.stats.cache_path
    if folder is None:
        return (
            "Numba finds no folder to keep its loops in and compiles them before the first step of every run: 10 to 20 "
            "seconds; NUMBA_CACHE_DIR=DIR in the environment names one that can be written."
        )
    if any(Path(folder).glob("numba_*.nbi")):
        return ""
    return "Numba compiles its loops before the first step, once: 10 to 20 seconds."


# -- rectified linear unit, on flat arrays ----------------------------------------------------------------------------


def relu_adjoint(error: Array, output: Array, out: Array) -> None:
    """Write the error where the output is positive, else zero; ``out`` may be the error."""
    _relu_adjoint(error, output, out, parts(error.size, _MIN_PER_THREAD))


@parallel
def _relu_adjoint(error: Any, output: Any, out: Any, parts: Any) -> None:
    in_parts(_relu_adjoint_of_part, (error, output, out), parts)


@compiled
def _relu_adjoint_of_part(error: Any, output: Any, out: Any, part: Any, parts: Any) -> None:
    error, output, out = part_of(error, part, parts), part_of(output, part, parts), part_of(out, part, parts)
    for k in range(error.size):
        out[k] = error[k] if output[k] > 0 else 0


# -- max pooling, see max_pool.py -------------------------------------------------------------------------------------


def max_pool(x: Array, size: int, stride: int, out: Array, buffer: Any) -> Argmax:
    """Write the maxima into ``out``, and return their places in the window, counted column by column.

    A place takes one byte for windows up to 16 × 16.
    """
    argmax: Argmax = buffer("argmax", out.shape, index_type(size))
    _max_pool(x, size, stride, out, argmax, parts(len(x), _MIN_PER_THREAD // x[0].size + 1))
    return argmax


@parallel
def _max_pool(x: Any, size: Any, stride: Any, out: Any, argmax: Any, parts: Any) -> None:
    in_parts(_max_pool_of_part, (x, size, stride, out, argmax), parts)


@compiled
def _max_pool_of_part(x: Any, size: Any, stride: Any, out: Any, argmax: Any, part: Any, parts: Any) -> None:
    x, out, argmax = part_of(x, part, parts), part_of(out, part, parts), part_of(argmax, part, parts)
    n, height, width, channels = out.shape
    for s in range(n):
        for i in range(height):
            for j in range(width):
                best, at = out[s, i, j], argmax[s, i, j]
                first = x[s, i * stride, j * stride]
                for c in range(channels):
                    best[c] = first[c]
                    at[c] = 0
                for place in range(1, size * size):
                    other = x[s, i * stride + place % size, j * stride + place // size]
                    for c in range(channels):
                        # A nan counts as larger than any number.
                        larger = other[c] > best[c] or other[c] != other[c]
                        best[c] = other[c] if larger else best[c]
                        at[c] = place if larger else at[c]


def max_pool_adjoint(error: Array, size: int, stride: int, argmax: Argmax, out: Array) -> None:
    """Write each element of the error to the place of the maximum, zero elsewhere."""
    _max_pool_adjoint(error, size, stride, argmax, out, parts(len(out), _MIN_PER_THREAD // out[0].size + 1))


@parallel
def _max_pool_adjoint(error: Any, size: Any, stride: Any, argmax: Any, out: Any, parts: Any) -> None:
    in_parts(_max_pool_adjoint_of_part, (error, size, stride, argmax, out), parts)


@compiled
def _max_pool_adjoint_of_part(error: Any, size: Any, stride: Any, argmax: Any, out: Any, part: Any, parts: Any) -> None:
    error, argmax, out = part_of(error, part, parts), part_of(argmax, part, parts), part_of(out, part, parts)
    n, height, width, channels = error.shape
    for s in range(n):
        out[s] = 0
        for i in range(height):
            for j in range(width):
                source, at = error[s, i, j], argmax[s, i, j]
                for place in range(size * size):
                    target = out[s, i * stride + place % size, j * stride + place // size]
                    for c in range(channels):
                        target[c] += source[c] if at[c] == place else 0
