"""Batch, layer, instance and group normalization of the data on a GPU: see kernels/data_norm.py and data_norm.cu."""

from typing import Any

import cupy
import numpy as np

from minidl.kernels.data_norm import Statistics
from minidl.kernels.gpu.groups import BLOCK, Layout, change, finish, sizes, sums, wide
from minidl.kernels.gpu.source import ints, launch, warps
from minidl.kernels.running import Running

Array = Any


def forward(
    x: Array,
    gamma: Array,
    beta: Array,
    epsilon: float,
    out: Array,
    running: Running | None = None,
    relu: bool = False,
) -> Statistics:
    """Write γ·x̂ + β into ``out`` and return the statistics of x.

    x, out: views (outer, rows, inner, lanes); gamma, beta: (inner·lanes,); running: BN's running statistics, which are
    moved towards those of x; relu: write max(γ·x̂ + β, 0) instead. The statistics are float64 (outer, inner·lanes).
    """
    layout = wide(x)
    found = cupy.empty((3, layout.matrices, layout.channels))
    with_running = np.int32(running is not None and x.shape[1] > 1)
    # Without running statistics, the kernel needs valid arrays in their place, which it does not change.
    mean, variance, updates, window = running or Running(gamma, beta, cupy.empty(1, np.int64), 0)
    settings = (_elements(layout), np.float64(epsilon), found, _stride(layout), with_running, mean, variance, updates)
    finish("data_norm", "statistics", sums("data_norm", x, x, layout), layout, layout.width, *settings)
    args = (x, found[0], found[2], gamma, beta, out, np.int32(relu), with_running, updates, np.int32(window))
    launch("data_norm", "forward", x.dtype, layout.fine.grid, BLOCK, (*args, *sizes(layout.fine)))
    return Statistics(*found)


def inference(x: Array, factor: Array, offset: Array, out: Array, relu: bool = False) -> None:
    """Write factor·x + offset into ``out``: x, out: views (1, rows, c, 1); factor, offset: (c,); relu as in forward."""
    layout = wide(x).fine
    args = (x, factor, offset, out, np.int32(relu), *sizes(layout))
    launch("data_norm", "inference", x.dtype, layout.grid, BLOCK, args)


def comp_grads(error: Array, x: Array, statistics: Statistics, gamma_grads: Array, beta_grads: Array) -> Array:
    """Write ∂L/∂γ = Σ e·x̂ and ∂L/∂β = Σ e (c,), with e = ``error``, and return the sums that ``backward`` needs.

    These are Σ e and Σ e·x̂ of each channel over the rows of the view, (2, outer, inner·lanes).
    """
    layout = wide(error)
    matrices, channels = layout.matrices, layout.channels
    parts, found = sums("data_norm", error, x, layout), cupy.empty((2, matrices, channels))
    args = (statistics.mean, statistics.scale, found, _stride(layout), gamma_grads, beta_grads)
    finish("data_norm", "comp_grads", parts, layout, 1, *args)
    if matrices > 1:
        args = (found, gamma_grads, beta_grads, *ints(matrices, channels))
        launch("data_norm", "comp_grads_of_matrices", x.dtype, channels, warps(matrices), args)
    return found


def backward(error: Array, x: Array, gamma: Array, statistics: Statistics, sums: Array, out: Array) -> None:
    """Write ∂L/∂x = (γ·e − mean(γ·e) − x̂·mean(γ·e·x̂))/√(σ² + ε) into ``out``, with e = ``error``.

    sums: from ``comp_grads``. If a group has several channels, as in LN, one more kernel adds up its channels' sums.
    """
    layout = wide(error)
    of_both = (sums, statistics.mean, statistics.scale, _stride(layout), gamma)
    if layout.width == 1:
        args = (x, error, *of_both, 1 / _elements(layout), out, *sizes(layout.fine))
        launch("data_norm", "backward", x.dtype, layout.fine.grid, BLOCK, args)
        return
    affines = cupy.empty((layout.matrices * layout.channels, 4), layout.dtype)
    args = (*of_both, *ints(layout.channels, layout.width), _elements(layout), affines)
    launch("data_norm", "backward_affines", x.dtype, layout.groups, warps(layout.width), args)
    change("data_norm", x, error, out, affines, layout, 1)


def _elements(layout: Layout) -> np.float64:
    """Return how many elements a group has."""
    return np.float64(layout.length // layout.channels * layout.width)


def _stride(layout: Layout) -> np.int32:
    return np.int32(layout.matrices * layout.channels)
