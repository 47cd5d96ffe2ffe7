"""SGD's and Adam's updates compiled by Numba, on some whole filters (n, length); see update.py, sgd.py and adam.py."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.numba_compiler import compiled, inlined

Array = NDArray[np.floating]
_TINY = 1e-27  # what is closer to zero becomes zero, lest it become subnormal


def sgd(worker: int, rule: Any, weights: Array, grads: Array, moment: Array) -> None:
    """Update by Algorithm 2; rule: a Rule of sgd.py."""
    weights, grads, moment = _rows(rule, weights, grads, moment)
    number = weights.dtype.type
    numbers = (rule.decay, rule.momentum, rule.of_gradient, rule.of_moment, _TINY)
    _sgd(weights, grads, moment, rule.gc, rule.wc, *map(number, numbers))


@compiled
def _sgd(
    weights: Any,
    grads: Any,
    moment: Any,
    gc: Any,
    wc: Any,
    decay: Any,
    momentum: Any,
    of_gradient: Any,
    of_moment: Any,
    tiny: Any,
) -> None:
    n, length = weights.shape
    for i in range(n):
        w, g, m = weights[i], grads[i], moment[i]
        mean = _mean(g) if gc else decay * 0
        for k in range(length):
            gradient = g[k] - mean + decay * w[k]
            m[k] = _flushed(momentum * m[k] + of_gradient * gradient, tiny)
            w[k] = _flushed(w[k] + of_moment * m[k], tiny)
        if wc:
            _center(w)


def adam(worker: int, rule: Any, weights: Array, grads: Array, moment: Array, square: Array) -> None:
    """Update by Algorithm 3; rule: a Rule of adam.py."""
    weights, grads, moment, square = _rows(rule, weights, grads, moment, square)
    number = weights.dtype.type
    numbers = (rule.decay, rule.first, 1 - rule.first, rule.second, 1 - rule.second, rule.size, rule.epsilon, _TINY)
    _adam(weights, grads, moment, square, rule.gc, rule.wc, rule.inside, *map(number, numbers))


@compiled
def _adam(
    weights: Any,
    grads: Any,
    moment: Any,
    square: Any,
    gc: Any,
    wc: Any,
    inside: Any,
    decay: Any,
    first: Any,
    new_first: Any,
    second: Any,
    new_second: Any,
    size: Any,
    epsilon: Any,
    tiny: Any,
) -> None:
    n, length = weights.shape
    for i in range(n):
        w, g, m, v = weights[i], grads[i], moment[i], square[i]
        mean = _mean(g) if gc else decay * 0
        for k in range(length):
            gradient = _flushed(g[k] - mean + decay * w[k], tiny)
            m[k] = _flushed(first * m[k] + new_first * gradient, tiny)
            v[k] = _flushed(second * v[k] + new_second * gradient * gradient, tiny)
            root = np.sqrt(v[k] + epsilon) if inside else np.sqrt(v[k]) + epsilon
            w[k] = _flushed(w[k] - size * m[k] / root, tiny)
        if wc:
            _center(w)


def _rows(rule: Any, *arrays: Array) -> tuple[Array, ...]:
    """Return the arrays as they are or, where no filter has a mean to lose, as a single long row."""
    return arrays if rule.gc or rule.wc else tuple(array.reshape(1, -1) for array in arrays)


@inlined
def _mean(row: Any) -> Any:
    total = 0.0
    for k in range(row.size):
        total += row[k]
    return row.dtype.type(total / row.size)


@inlined
def _center(row: Any) -> None:
    mean = _mean(row)
    for k in range(row.size):
        row[k] -= mean


@inlined
def _flushed(x: Any, tiny: Any) -> Any:
    return x if abs(x) > tiny else x * 0
