"""What SGD and Adam share: the tensors of a net."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def tiny(dtype: Any) -> float:
    """Return what weights, gradients and moments must not be below, lest their products with others become subnormal.

    1.2e-27 for float32; 2e-297 for float64.
    """
    return 1e11 * float(np.finfo(dtype).tiny)


def least_square(dtype: Any) -> float:
    """Return what the mean of a gradient's squares must not be below, lest it become subnormal, or zero.

    1.2e-37 for float32: gradients count as zero where they are far below 1e-17, whose squares are the last above it.
    """
    return 10 * float(np.finfo(dtype).tiny)


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
    """Update each tensor in place by ``loop(rule(tensor), weights, grads, *moments)``, arrays of filters (n, length).

    They are whole filters where these have means to be subtracted, single elements otherwise. The weight decay is added
    to the gradient after GC (coupled L2).

    Weights and moments of idle units decay towards zero for ever. Where they become subnormal (below 1.2e-38), many
    processors compute ten and more times slower: the loops make zero of what is below ``tiny``, about 1e-27.
    """
    for tensor in tensors:
        length = tensor.weights[0].size if tensor.gc or tensor.wc else 1
        arrays = tensor.weights, tensor.grads, *tensor.moments
        loop(rule(tensor), *(array.reshape(-1, length) for array in arrays))
