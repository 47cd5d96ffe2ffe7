"""Batch, layer, instance and group normalization of the data on a GPU: see kernels/data_norm.py and data_norm.cu."""

from typing import Any

import cupy
import numpy as np

from minidl.kernels.data_norm import Statistics
from minidl.kernels.gpu.groups import BLOCK, Layout, change, finish, sizes, sums, wide
from minidl.kernels.gpu.source import launch, warps

Array = Any


def forward(x: Array, gamma: Array, beta: Array, epsilon: float, out: Array, relu: bool = False) -> Statistics:
    """Write γ·x̂ + β into ``out`` and return the statistics of x.

    x, out: views (outer, rows, inner, lanes); gamma, beta: (inner·lanes,); relu: write max(γ·x̂ + β, 0) instead.
    """
    layout = wide(x)
    parts, affines = sums("data_norm", x, x, layout), _affines(layout)
    found = cupy.empty((3, layout.matrices, layout.channels))
    settings = (_elements(layout), gamma, beta, np.float64(epsilon), found, _stride(layout), affines)
    finish("data_norm", "forward", parts, layout, layout.width, *settings)
    change("data_norm", x, x, out, affines, layout, 1, relu)
    return Statistics(*found)


def track(statistics: Statistics, mean: Array, variance: Array, updates: Array, rows: int, window: int) -> None:
    """Move running statistics (c,) by 1/(n + 1) towards a batch's mean and unbiased variance over ``rows`` elements.

    updates: of one element, the number n of earlier batches, which is counted up to ``window``.
    """
    args = (mean, variance, updates, np.int32(mean.size), np.float64(rows), np.int32(window))
    launch("data_norm", "track", mean.dtype, 1, warps(mean.size), (statistics.mean, statistics.variance, *args))


def inference(x: Array, factor: Array, offset: Array, out: Array, relu: bool = False) -> None:
    """Write factor·x + offset into ``out``: x, out: views (1, rows, c, 1); factor, offset: (c,); relu as in forward."""
    layout = wide(x)
    args = (x, factor, offset, out, np.int32(relu), *sizes(layout))
    launch("data_norm", "inference", x.dtype, layout.grid, BLOCK, args)


def error_sums(error: Array, x: Array, statistics: Statistics) -> Array:
    """Return Σ error and Σ error·x̂ of each channel over the rows of the view, (2, outer, inner·lanes).

    The gradients are ``comp_grads`` of them.
    """
    layout = wide(error)
    parts, found = sums("data_norm", error, x, layout), cupy.empty((2, layout.matrices, layout.channels))
    finish("data_norm", "error_sums", parts, layout, 1, statistics.mean, statistics.scale, found, _stride(layout))
    return found


def comp_grads(sums: Array, gamma_grads: Array, beta_grads: Array) -> None:
    """Write the gradients of γ and β (c,), which are the sums of ``error_sums`` summed over outer."""
    _, matrices, channels = sums.shape
    args = (sums, gamma_grads, beta_grads, np.int32(matrices), np.int32(channels))
    launch("data_norm", "comp_grads", gamma_grads.dtype, -(-channels // 64), 64, args)


def backward(error: Array, x: Array, gamma: Array, statistics: Statistics, sums: Array, out: Array) -> None:
    """Write ∂L/∂x = (γ·e − mean(γ·e) − x̂·mean(γ·e·x̂))/√(σ² + ε) into ``out``, with e = ``error``.

    sums: of ``error_sums``.
    """
    layout = wide(error)
    affines = _affines(layout)
    extents = (np.int32(layout.channels), np.int32(layout.width), _elements(layout))
    args = (sums, statistics.mean, statistics.scale, _stride(layout), gamma, *extents, affines)
    launch("data_norm", "backward", x.dtype, layout.groups, warps(layout.width), args)
    change("data_norm", x, error, out, affines, layout, 1)


def _affines(layout: Layout) -> Array:
    """Return memory for the affine map of each channel of each matrix."""
    return cupy.empty((layout.matrices * layout.channels, 4), layout.dtype)


def _elements(layout: Layout) -> np.float64:
    """Return how many elements a group has."""
    return np.float64(layout.length // layout.channels * layout.width)


def _stride(layout: Layout) -> np.int32:
    return np.int32(layout.matrices * layout.channels)
