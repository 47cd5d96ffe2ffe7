"""Concatenation of the channels of two arrays, and its adjoint, on a GPU: see kernels/concat.py and concat.cu."""

from math import gcd, prod
from typing import Any

from minidl.kernels.gpu.source import ints, lanes, launch, over_pixels

Array = Any


def forward(first: Array, second: Array, out: Array) -> None:
    """Write the channels of ``first``, then those of ``second``, into ``out``."""
    _launch("forward", out, (first, second, out), first.shape[-1], second.shape[-1])


def backward(error: Array, first: Array, second: Array) -> None:
    """Write the error's first channels into ``first``, the others into ``second``: the adjoint of forward."""
    _launch("backward", error, (error, first, second), first.shape[-1], second.shape[-1])


def _launch(kernel: str, joint: Array, arrays: tuple[Array, ...], c1: int, c2: int) -> None:
    *rows, pixels, channels = joint.shape
    unit = lanes(gcd(c1, c2), *arrays)
    grid, block = over_pixels(prod(rows), pixels, channels // unit)
    launch("concat", kernel, joint.dtype, grid, block, (*arrays, *ints(pixels, c1, c2, unit)))
