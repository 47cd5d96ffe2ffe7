"""Convolution as three passes: forward, backward, comp_grads.

Arrays are channels last: data (samples, y, x, in), error (samples, y, x, out), weights (out, y, x, in), biases
(out,). There are three ways to compute the same numbers, all with the methods of ``Convolution``: the plain sum over
the positions of the mask, one matrix product (im2col), and Winograd's algorithm.
"""

import numpy as np
from numpy.typing import DTypeLike

from minidl.kernels.errors import MinidlError
from minidl.kernels.im2col import Im2col
from minidl.kernels.plain_convolution import Convolution, Pair
from minidl.kernels.winograd import Winograd

__all__ = ["Convolution", "plan"]

WAYS: dict[str, type[Convolution]] = {"plain": Convolution, "im2col": Im2col, "winograd": Winograd}

_FEWEST_CHANNELS = 12  # measured: below, im2col is faster


def plan(
    data_shape: tuple[int, int, int],
    filters: int,
    mask: Pair,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dtype: DTypeLike = np.float32,
    path: str | None = None,
) -> Convolution:
    """Return the convolution of this geometry, computed the way that ``path`` says or a rule picks.

    path: "plain", "im2col" or "winograd"; the other arguments are those of ``Convolution``. Raises MinidlError for
    an unknown path, and where Winograd's algorithm does not apply.
    """
    if path is None:
        path = "winograd" if _suits_winograd(data_shape, filters, mask, stride) else "im2col"
    if path not in WAYS:
        raise MinidlError(f"unknown way to compute a convolution: {path!r}; known are {', '.join(WAYS)}")
    return WAYS[path](data_shape, filters, mask, stride, padding, dtype)


def _suits_winograd(data_shape: tuple[int, int, int], filters: int, mask: Pair, stride: int | Pair) -> bool:
    """Say whether Winograd's algorithm applies and its savings are more than its transforms cost.

    They are not where few channels share the cost of a transform, nor on images of one pixel, which see the middle
    of each mask only.
    """
    y, x, channels = data_shape
    applies = mask in Winograd.MASKS and stride in (1, (1, 1))
    return applies and min(channels, filters) >= _FEWEST_CHANNELS and y * x > 1
