"""Updates by SGD and Adam of filters (n, length), in NumPy; see update.py, sgd.py and adam.py.

A piece, some whole filters, stays in a core's cache from one pass of NumPy to the next.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.cpu.ones import ones
from minidl.kernels.cpu.scratch import carve
from minidl.kernels.cpu.threads import share
from minidl.kernels.subnormal import smallest_square, tiny

Array = NDArray[np.floating]
PIECE = 1 << 18  # elements; with smaller ones, two threads mostly wait for the interpreter's lock (GIL)


def _each(work: Callable[..., None], *arrays: Array) -> None:
    """Call ``work(worker, *pieces)`` for all pieces, shared among all workers."""
    several = max(1, PIECE // arrays[0].shape[1])

    def of_worker(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop, several):
            work(worker, *(array[i : min(i + several, stop)] for array in arrays))

    share(of_worker, len(arrays[0]), several)


def sgd(rule: Any, weights: Array, grads: Array, moment: Array) -> None:
    """Update by Algorithm 2; rule: a Rule of sgd.py."""

    def work(worker: int, weights: Array, grads: Array, moment: Array) -> None:
        gradient, spare = carve(worker, weights.dtype, weights.shape, weights.shape)
        _gradient(rule, weights, grads, gradient)
        moment *= rule.momentum
        gradient *= rule.of_gradient
        moment += gradient
        _flush(moment)
        np.multiply(moment, rule.of_moment, out=spare)
        weights += spare
        if rule.wc:
            weights -= _means(weights)
        _flush(weights)

    _each(work, weights, grads, moment)


def adam(rule: Any, weights: Array, grads: Array, moment: Array, square: Array) -> None:
    """Update by Algorithm 3; rule: a Rule of adam.py."""

    def work(worker: int, weights: Array, grads: Array, moment: Array, square: Array) -> None:
        gradient, spare = carve(worker, weights.dtype, weights.shape, weights.shape)
        _gradient(rule, weights, grads, gradient)
        moment *= rule.beta1
        np.multiply(gradient, 1 - rule.beta1, out=spare)
        moment += spare
        _flush(moment)
        square *= rule.beta2
        gradient *= gradient
        gradient *= 1 - rule.beta2
        square += gradient
        # An array, because NumPy's maximum of two arrays is four times as fast as that of an array and a number.
        spare.fill(smallest_square(square.dtype))
        np.maximum(square, spare, out=square)
        if rule.inside:
            np.add(square, rule.epsilon, out=spare)
            np.sqrt(spare, out=spare)
        else:
            np.sqrt(square, out=spare)
            spare += rule.epsilon
        np.divide(moment, spare, out=spare)
        spare *= rule.step_size
        weights -= spare
        if rule.wc:
            weights -= _means(weights)
        _flush(weights)

    _each(work, weights, grads, moment, square)


def _gradient(rule: Any, weights: Array, grads: Array, gradient: Array) -> None:
    """Write the gradients, centered if the rule has GC, plus decay·weights into ``gradient``."""
    np.multiply(weights, rule.decay, out=gradient)
    gradient += grads
    if rule.gc:
        gradient -= _means(grads)
    _flush(gradient)


def _flush(x: Array) -> None:
    """Round numbers whose size is below about ``tiny`` to zero; in float32, numbers above 1e-12 do not change.

    To add 1e-20 and subtract it again rounds a float32 to a multiple of about 1e-27. This takes two passes over data in
    the cache.
    """
    shift = x.dtype.type(tiny(x.dtype) / np.finfo(x.dtype).eps)
    x += shift
    x -= shift


def _means(rows: Array) -> Array:
    return (rows @ ones(rows.shape[1], rows.dtype))[:, None] / rows.shape[1]
