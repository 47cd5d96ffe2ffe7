"""What SGD and Adam share: the tensors of a net, cut into pieces that stay in a core's cache for a whole update."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.scratch import cut
from minidl.kernels.threads import share

Array = NDArray[np.floating]
PIECE = 1 << 18  # elements; with smaller ones, two threads mostly wait for the lock of the interpreter


@dataclass
class Tensor:
    """One parameter of a net as an optimizer sees it.

    weights, grads: arrays of one shape. moments: the running means of the optimizer, of that shape as well.
    weight_decay: the factor of the weights that is added to the gradient. gc, wc: whether Algorithms 2 and 3
    subtract the mean of each filter's gradient before, and of each filter after, the update.
    """

    weights: Array
    grads: Array
    moments: tuple[Array, ...]
    weight_decay: float = 0.0
    gc: bool = False
    wc: bool = False


def flush(x: Array, mean: Array | float = 0.0) -> None:
    """Subtract the mean of each row, and round |x| below about 1e-27 to zero; what is above 1e-12 is not rounded.

    Weights and moments of idle units decay towards zero for ever. Where they become subnormal (below 1.2e-38),
    many processors compute ten and more times slower. Adding 1e-20 and taking it off again rounds to a multiple
    of 1e-27, two cheap passes through the cache, the first of which subtracts a mean at no cost.
    """
    x += 1e-20 - mean
    x -= 1e-20


def means(rows: Array) -> Array:
    """Return the mean of each row, (n, 1)."""
    return (rows @ _ones(rows.shape[1], rows.dtype))[:, None] / rows.shape[1]


@cache
def _ones(length: int, dtype: Any) -> Array:
    return np.ones(length, dtype)


def update(tensors: Sequence[Tensor], step: Callable[..., None]) -> None:
    """Run ``step(weights, gradient, spare, *moments)`` on each piece of each tensor, in place.

    The gradient that a step is given holds the weight decay already (coupled L2, after GC); it and ``spare`` are
    scratch memory of the piece's size. A piece is some whole filters where these have means to be subtracted.
    """
    for tensor in tensors:
        _update(tensor, step)


def _update(tensor: Tensor, step: Callable[..., None]) -> None:
    length = tensor.weights[0].size if tensor.gc or tensor.wc else 1
    several = max(1, PIECE // length)
    arrays = [array.reshape(-1, length) for array in (tensor.weights, tensor.grads, *tensor.moments)]

    def work(worker: int, start: int, stop: int) -> None:
        gradients, spares = cut(worker, tensor.weights.dtype, (several, length), (several, length))
        for i in range(start, stop, several):
            weights, grads, *moments = (array[i : min(i + several, stop)] for array in arrays)
            gradient, spare = gradients[: len(weights)], spares[: len(weights)]
            np.multiply(weights, tensor.weight_decay, out=gradient)
            gradient += grads
            flush(gradient, means(grads) if tensor.gc else 0.0)
            step(weights, gradient, spare, *moments)
            flush(weights, means(weights) if tensor.wc else 0.0)

    share(work, len(arrays[0]), several)
