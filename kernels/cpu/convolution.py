"""Convolution as three passes: forward, backward, comp_grads.

Arrays are channels last: data (samples, y, x, in), error (samples, y, x, out), weights (out, y, x, in), biases
(out,). Three algorithms compute the same numbers, all with the methods of ``Convolution``: the plain sum over
the positions of the filter, one matrix product (im2col), and Winograd's algorithm.
"""

from minidl.kernels.convolution import Convolution, Geometry
from minidl.kernels.cpu.im2col import Im2col
from minidl.kernels.cpu.winograd import Winograd
from minidl.kernels.errors import MinidlError

__all__ = ["Convolution", "Geometry", "plan"]

ALGORITHMS: dict[str, type[Convolution]] = {"plain": Convolution, "im2col": Im2col, "winograd": Winograd}

_FEWEST_CHANNELS = 12  # measured: below, im2col is faster


def plan(geometry: Geometry, algorithm: str | None = None) -> Convolution:
    """Return the convolution of this geometry, computed by ``algorithm`` or the one that a rule picks.

    algorithm: "plain", "im2col" or "winograd". Raises MinidlError for an unknown one, and where Winograd's does not
    apply.
    """
    if algorithm is None:
        algorithm = "winograd" if _suits_winograd(geometry) else "im2col"
    if algorithm not in ALGORITHMS:
        raise MinidlError(f"unknown algorithm for a convolution: {algorithm!r}; known are {', '.join(ALGORITHMS)}")
    return ALGORITHMS[algorithm](geometry)


def _suits_winograd(geometry: Geometry) -> bool:
    """Say whether Winograd's algorithm applies and its savings are more than its transforms cost.

    They are not where filters have fewer than three taps for each step of the stride, where few channels share the cost
    of a transform, nor on images of one pixel, which see the middle of each filter only.
    """
    y, x, channels = geometry.data_shape
    stride = geometry.stride if isinstance(geometry.stride, tuple) else (geometry.stride, geometry.stride)
    enough_taps = geometry.kernel_size[0] > 2 * stride[0]
    enough_channels = min(channels, geometry.filters) >= _FEWEST_CHANNELS
    return Winograd.applies(geometry.kernel_size, stride) and enough_taps and enough_channels and y * x > 1
