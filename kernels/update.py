"""What SGD and Adam share: the tensors of a net, cut into pieces that stay in a core's cache for a whole update."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def update(tensors: Sequence[Tensor], loop: Callable[..., None], rule: Callable[[Tensor], Any]) -> None:
    """Update each tensor in place by ``loop(worker, rule(tensor), weights, grads, *moments)`` on all its pieces.

    A piece (n, length) is n whole filters where these have means to be subtracted, n elements otherwise. The weight
    decay is added to the gradient after GC (coupled L2).

    Weights and moments of idle units decay towards zero for ever. Where they become subnormal (below 1.2e-38), many
    processors compute ten and more times slower: the loops make zero of what is below about 1e-27.
    """
    for tensor in tensors:
        _update(tensor, loop, rule(tensor))


def _update(tensor: Tensor, loop: Callable[..., None], rule: Any) -> None:
    length = tensor.weights[0].size if tensor.gc or tensor.wc else 1
    several = max(1, PIECE // length)
    arrays = [array.reshape(-1, length) for array in (tensor.weights, tensor.grads, *tensor.moments)]

    def work(worker: int, start: int, stop: int) -> None:
        for i in range(start, stop, several):
            loop(worker, rule, *(array[i : min(i + several, stop)] for array in arrays))

    share(work, len(arrays[0]), several)
