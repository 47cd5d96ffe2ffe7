"""Updates by SGD and Adam of filters (n, length), compiled by Numba; see update.py, sgd.py and adam.py."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.loops import numba_compiler
from minidl.kernels.cpu.loops.numba_compiler import compiled, inlined, parallel, part_of
from minidl.kernels.cpu.loops.numba_parts import in_parts
from minidl.kernels.subnormal import smallest_square, tiny

Array = NDArray[np.floating]
_MIN_PER_THREAD = 1 << 15  # elements


def _parts(weights: Array) -> int:
    """Return into how many parts to divide the filters."""
    return numba_compiler.parts(len(weights), _MIN_PER_THREAD // weights.shape[1] + 1)


def sgd(rule: Any, weights: Array, grads: Array, moment: Array) -> None:
    """Update by Algorithm 2; rule: a Rule of sgd.py."""
    numbers = (rule.decay, rule.momentum, rule.of_gradient, rule.of_moment, tiny(weights.dtype))
    _sgd(weights, grads, moment, rule.gc, rule.wc, tuple(map(weights.dtype.type, numbers)), _parts(weights))


@parallel
def _sgd(weights: Any, grads: Any, moment: Any, gc: Any, wc: Any, numbers: Any, parts: Any) -> None:
    in_parts(_sgd_of_part, (weights, grads, moment, gc, wc, numbers), parts)


@compiled
def _sgd_of_part(weights: Any, grads: Any, moment: Any, gc: Any, wc: Any, numbers: Any, part: Any, parts: Any) -> None:
    decay, momentum, of_gradient, of_moment, tiny = numbers
    whole = gc or wc
    weights = _rows(part_of(weights, part, parts), whole)
    grads = _rows(part_of(grads, part, parts), whole)
    moment = _rows(part_of(moment, part, parts), whole)
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


def adam(rule: Any, weights: Array, grads: Array, moment: Array, square: Array) -> None:
    """Update by Algorithm 3; rule: a Rule of adam.py."""
    betas = (rule.beta1, 1 - rule.beta1, rule.beta2, 1 - rule.beta2)
    smallest = (tiny(weights.dtype), smallest_square(weights.dtype))
    numbers = (rule.decay, *betas, rule.step_size, rule.epsilon, *smallest)
    settings = (rule.gc, rule.wc, rule.inside, tuple(map(weights.dtype.type, numbers)))
    _adam(weights, grads, moment, square, *settings, _parts(weights))


@parallel
def _adam(
    weights: Any, grads: Any, moment: Any, square: Any, gc: Any, wc: Any, inside: Any, numbers: Any, parts: Any
) -> None:
    in_parts(_adam_of_part, (weights, grads, moment, square, gc, wc, inside, numbers), parts)


@compiled
def _adam_of_part(
    weights: Any,
    grads: Any,
    moment: Any,
    square: Any,
    gc: Any,
    wc: Any,
    inside: Any,
    numbers: Any,
    part: Any,
    parts: Any,
) -> None:
    decay, beta1, rest1, beta2, rest2, step_size, epsilon, tiny, smallest = numbers
    whole = gc or wc
    weights = _rows(part_of(weights, part, parts), whole)
    grads = _rows(part_of(grads, part, parts), whole)
    moment = _rows(part_of(moment, part, parts), whole)
    square = _rows(part_of(square, part, parts), whole)
    n, length = weights.shape
    for i in range(n):
        w, g, m, v = weights[i], grads[i], moment[i], square[i]
        mean = _mean(g) if gc else decay * 0
        for k in range(length):
            gradient = _flushed(g[k] - mean + decay * w[k], tiny)
            m[k] = _flushed(beta1 * m[k] + rest1 * gradient, tiny)
            v[k] = max(smallest, beta2 * v[k] + rest2 * gradient * gradient)
            root = np.sqrt(v[k] + epsilon) if inside else np.sqrt(v[k]) + epsilon
            w[k] = _flushed(w[k] - step_size * m[k] / root, tiny)
        if wc:
            _center(w)


@inlined
def _rows(array: Any, whole: Any) -> Any:
    """Return filters as they are or, if no means are subtracted, as a single long row."""
    return array if whole else array.reshape((1, array.size))


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
