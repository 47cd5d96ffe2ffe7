"""Batch, layer, instance and group normalization of the data (equations 5 to 7; Wu and He 2018), with γ and β.

    y = γ·x̂ + β,    x̂ = (x − μ)/√(σ² + ε), or 0 of a group of one element

The four differ in the groups that share μ and σ, one for each (outer, inner) of their view (outer, rows, inner,
lanes), see areas.py. The inner·lanes channels have a γ and a β each.

    BN (1, s·y·x, c, 1)     LN (s, y·x, 1, c)     IN (s, y·x, c, 1)     GN (s, y·x, groups, c/groups)

The forward pass reads x twice, the backward pass x and the error twice; x̂ is never stored. kernels/data_norm.py has
the formulas of the backward pass.
"""

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.calls import compute_between
from minidl.kernels.cpu.groups import Sums, wide
from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.normalize import moments
from minidl.kernels.data_norm import Statistics
from minidl.kernels.running import Running

Array = NDArray[np.floating]


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
    moved towards those of x; relu: write max(γ·x̂ + β, 0) instead. The statistics are (outer, inner·lanes).
    """
    (data, layout), loops = wide(x), current()
    compute_between()
    mean, variance = (values[:, 0, : gamma.size] for values in moments(data, layout))
    alone = data.shape[1] * layout.tiles * layout.width == 1
    scale = np.zeros_like(variance) if alone else 1 / np.sqrt(variance + epsilon)
    factor, offset = _columns(data, scale * gamma), _columns(data, beta - mean * scale * gamma)
    loops.affine(data, factor, offset, wide(out)[0], relu)
    if running and x.shape[1] > 1:
        _move(running, mean[0], variance[0], x.shape[1])
    return Statistics(mean, variance, scale)


def inference(x: Array, factor: Array, offset: Array, out: Array, relu: bool = False) -> None:
    """Write factor·x + offset into ``out``: x, out: views (1, rows, c, 1); factor, offset: (c,); relu as in forward."""
    data = wide(x)[0]
    current().affine(data, _columns(data, factor[None]), _columns(data, offset[None]), wide(out)[0], relu)


def comp_grads(error: Array, x: Array, statistics: Statistics, gamma_grads: Array, beta_grads: Array) -> Sums:
    """Write ∂L/∂γ = Σ e·x̂ and ∂L/∂β = Σ e (c,), with e = ``error``, and return the sums that ``backward`` needs.

    These are Σ e and Σ e·x̂ of each channel over the rows of the view, (2, outer, inner·lanes).
    """
    data, layout = wide(error)
    found = np.stack(current().covariance(data, wide(x)[0], _columns(data, statistics.mean)))
    sums: Sums = found.reshape(2, len(data), layout.tiles, -1).sum(axis=2)
    sums[1] *= statistics.scale
    sums[0].sum(axis=0, out=beta_grads)
    sums[1].sum(axis=0, out=gamma_grads)
    return sums


def backward(error: Array, x: Array, gamma: Array, statistics: Statistics, sums: Sums, out: Array) -> None:
    """Write ∂L/∂x = (γ·e − mean(γ·e) − x̂·mean(γ·e·x̂))/√(σ² + ε) into ``out``, with e = ``error``.

    sums: from ``comp_grads``. As both means are constant in a group, this is an affine map of e and x for each channel.
    """
    data, layout = wide(error)
    means = layout._replace(tiles=1).mean(sums * gamma) / (data.shape[1] * layout.tiles)
    mean, scale = statistics.mean, statistics.scale
    slope = scale**2 * means[1]
    of_error, of_data = _columns(data, scale * gamma), _columns(data, -slope)
    offset = _columns(data, slope * mean - scale * means[0])
    current().affine2(data, of_error, wide(x)[0], of_data, offset, wide(out)[0])


def _move(running: Running, mean: Array, variance: Array, rows: int) -> None:
    """Move running statistics towards those of a batch; see ``move`` in kernels/data_norm.py."""
    factor = 1 / (running.updates[0] + 1)
    running.mean[...] += factor * (mean - running.mean)
    running.variance[...] += factor * (variance * rows / (rows - 1) - running.variance)
    running.updates[0] = min(running.updates[0] + 1, running.window)


def _columns(data: Array, channels: Array) -> Array:
    """Return for each column of the matrices the value of its channel: (n, channels) as (n, 1, columns)."""
    tiles = data.shape[2] // channels.shape[1]
    return np.tile(channels, tiles)[:, None].astype(data.dtype)
