"""Batch, layer, instance and group normalization of the data (equations 5 to 7; Wu and He 2018), with γ and β.

    y = γ·x̂ + β,    x̂ = (x − μ)/√(σ² + ε)

    ∂L/∂γ = Σ ∂L/∂y·x̂        ∂L/∂β = Σ ∂L/∂y
    ∂L/∂x = (γ·e − mean(γ·e) − x̂·mean(γ·e·x̂))/√(σ² + ε)    with e = ∂L/∂y

The four differ in the groups that share μ and σ, one for each (outer, inner) of their view (outer, rows, inner,
lanes), see areas.py. The inner·lanes channels have a γ and a β each.

    BN (1, s·y·x, c, 1)     LN (s, y·x, 1, c)     IN (s, y·x, c, 1)     GN (s, y·x, groups, c/groups)
"""

from typing import Any, NamedTuple

import numpy as np

from minidl.kernels.normalize import mean as mean_of_group
from minidl.kernels.running import Running

Array = Any  # numpy.ndarray or cupy.ndarray


class Statistics(NamedTuple):
    """Mean, biased variance and 1/√(σ² + ε) of each group: here (outer, 1, inner, 1), elsewhere other shapes."""

    mean: Array
    variance: Array
    scale: Array


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
    moved towards those of x (see ``move``); relu: write max(γ·x̂ + β, 0) instead.
    """
    mean = mean_of_group(x)
    variance = mean_of_group((x - mean) ** 2)
    statistics = Statistics(mean, variance, 1 / np.sqrt(variance + epsilon))
    _affine(_normalized(x, statistics), gamma, beta, out, relu)
    if running and x.shape[1] > 1:
        move(running, mean, variance, x.shape[1])
    return statistics


def move(running: Running, mean: Array, variance: Array, rows: Array | int) -> None:
    """Move running statistics by 1/(n + 1) towards a batch's mean and unbiased variance, and count the batch.

        running mean     += (mean − running mean)/(n + 1)
        running variance += (variance·rows/(rows − 1) − running variance)/(n + 1)

    n is ``updates``, which stops at ``window``. mean, variance: of the batch, with the biased variance (1/rows); rows:
    the number of elements of each mean; with only one, nothing changes.
    """
    running_mean, running_variance, updates, window = running
    moves = rows > 1
    factor = moves / (updates + 1)
    running_mean += factor * (mean.reshape(-1) - running_mean)
    running_variance += factor * (variance.reshape(-1) * rows / np.maximum(rows - 1, 1) - running_variance)
    updates[...] = np.minimum(updates + moves, window)


def inference(x: Array, factor: Array, offset: Array, out: Array, relu: bool = False) -> None:
    """Write factor·x + offset into ``out``: x, out: views (1, rows, c, 1); factor, offset: (c,); relu as in forward."""
    _affine(x, factor, offset, out, relu)


def comp_grads(error: Array, x: Array, statistics: Statistics, gamma_grads: Array, beta_grads: Array) -> Array:
    """Write ∂L/∂γ = Σ e·x̂ and ∂L/∂β = Σ e (c,), with e = ``error``, and return the sums that ``backward`` needs.

    These are Σ e and Σ e·x̂ of each channel over the rows of the view, (2, outer, inner·lanes).
    """
    products = error * _normalized(x, statistics)
    both = [error.sum(axis=1, dtype=np.float64), products.sum(axis=1, dtype=np.float64)]
    sums = np.stack(both).reshape(2, len(x), -1)
    beta_grads[...], gamma_grads[...] = sums.sum(axis=1)
    return sums


def backward(error: Array, x: Array, gamma: Array, statistics: Statistics, sums: Array, out: Array) -> None:
    """Write ∂L/∂x = (γ·e − mean(γ·e) − x̂·mean(γ·e·x̂))/√(σ² + ε) into ``out``, with e = ``error``.

    sums: of ``comp_grads``, from which both means follow.
    """
    gamma = gamma.astype(np.float64)  # so that the mean of a single element is this element, to the last bit
    scaled = (sums * gamma).reshape(2, len(x), 1, *x.shape[2:])
    mean, slope = scaled.sum(axis=-1, keepdims=True) / (x.shape[1] * x.shape[3])
    out[...] = statistics.scale * (error * _of_channels(gamma, x) - mean - _normalized(x, statistics) * slope)


def _normalized(x: Array, statistics: Statistics) -> Array:
    """Return x̂."""
    return statistics.scale * (x - statistics.mean)


def _affine(x: Array, factor: Array, offset: Array, out: Array, relu: bool) -> None:
    """Write factor·x + offset, with a factor and an offset for each channel, into ``out``."""
    out[...] = _of_channels(factor, x) * x + _of_channels(offset, x)
    if relu:
        out[...] = np.maximum(out, 0)


def _of_channels(values: Array, x: Array) -> Array:
    """Return values of the channels (inner·lanes,) in the shape of the view x, (inner, lanes)."""
    return values.reshape(x.shape[2:])
