"""What SGD and Adam share: the tensors of a net, cut into pieces that stay in a core's cache for a whole update."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.areas import area_view
from minidl.kernels.scratch import cut
from minidl.kernels.statistic import center
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


def flush(x: Array) -> None:
    """Round |x| below about 1e-27 to zero, and leave what is larger than 1e-12 as it is.

    Weights and moments of idle units decay towards zero for ever. Where they become subnormal (below 1.2e-38),
    many processors compute ten and more times slower. Adding 1e-20 and taking it off again rounds to a multiple
    of 1e-27, two cheap passes through the cache.
    """
    x += 1e-20
    x -= 1e-20


def update(tensors: Sequence[Tensor], step: Callable[..., None]) -> None:
    """Run ``step(weights, gradient, spare, *moments)`` on each piece of each tensor, in place.

    The gradient that a step is given holds the weight decay already (coupled L2, after GC); it and ``spare`` are
    scratch memory of the piece's size.
    """
    for tensor in tensors:
        view = area_view(tensor.weights.shape, "tensor") if tensor.gc or tensor.wc else ()
        if tensor.gc:
            grads = tensor.grads.reshape(view)
            center(grads, grads)
        arrays = [array.reshape(-1) for array in (tensor.weights, tensor.grads, *tensor.moments)]

        def work(worker: int, start: int, stop: int, arrays: list[Array] = arrays, tensor: Tensor = tensor) -> None:
            dtype = tensor.weights.dtype
            gradient, spare = cut(worker, dtype, (PIECE,), (PIECE,))
            for i in range(start, stop, PIECE):
                j = min(i + PIECE, stop)
                weights, grads, *moments = (array[i:j] for array in arrays)
                np.multiply(weights, tensor.weight_decay, out=gradient[: j - i])
                gradient[: j - i] += grads
                flush(gradient[: j - i])
                step(weights, gradient[: j - i], spare[: j - i], *moments)
                flush(weights)

        share(work, arrays[0].size, PIECE)
        if tensor.wc:
            weights = tensor.weights.reshape(view)
            center(weights, weights)
