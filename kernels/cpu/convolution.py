"""Convolution as three passes: forward, backward, comp_grads.

Arrays are channels last: data (samples, y, x, in), error (samples, y, x, out), weights (out, y, x, in), biases
(out,). kernels/convolution.py has the formulas. The algorithms compute the same up to rounding, and all have the
methods of ``Convolution``: the plain sum over the positions of the filter, one matrix product (im2col), Winograd's
algorithm and, only for inference, the direct one.
"""

from typing import Any

from numpy.typing import NDArray

from minidl.kernels.convolution import Convolution, Geometry
from minidl.kernels.cpu.constants import is_constant
from minidl.kernels.cpu.direct import Direct
from minidl.kernels.cpu.im2col import Im2col
from minidl.kernels.cpu.winograd import Winograd
from minidl.words import check_known

__all__ = ["Convolution", "Geometry", "plan"]

Array = NDArray[Any]

ALGORITHMS: dict[str, type[Convolution]] = {
    "plain": Convolution,
    "im2col": Im2col,
    "winograd": Winograd,
    "direct": Direct,
}

_FEWEST_CHANNELS = 12  # with fewer, im2col is faster than Winograd's algorithm, as measured


class ByBatch(Convolution):
    """A convolution by ``usual``, the algorithm for training and large batches, or by the direct algorithm.

    The direct algorithm computes if the weights are constant and it costs less for the given batch: Winograd's
    algorithm turns the weights into up to four times as many numbers, which takes too long to read for a small batch.
    """

    def __init__(self, geometry: Geometry, usual: Im2col | Winograd) -> None:
        super().__init__(geometry)
        self.usual, self.direct = usual, Direct(geometry)
        self.name = usual.name

    def forward(self, data: Array, weights: Array, biases: Array, out: Array, relu: bool = False) -> None:
        """Write data * weights + biases into ``out`` (samples, y, x, out); relu: the maximum of that and 0."""
        direct = is_constant(weights) and self.direct.cost(len(data)) <= self.usual.cost(len(data))
        (self.direct if direct else self.usual).forward(data, weights, biases, out, relu)

    def backward(self, error: Array, weights: Array, out: Array) -> None:
        """Write the error with respect to the data into ``out`` (samples, y, x, in)."""
        self.usual.backward(error, weights, out)

    def comp_grads(self, error: Array, data: Array, weights_grads: Array, biases_grads: Array) -> None:
        """Write the gradients of the weights (out, y, x, in) and of the biases (out,)."""
        self.usual.comp_grads(error, data, weights_grads, biases_grads)


def plan(geometry: Geometry, algorithm: str | None = None) -> Convolution:
    """Return the convolution of this geometry, computed by ``algorithm`` or by the one that a rule chooses.

    algorithm: "plain", "im2col", "winograd" or "direct", whose forward takes only constants as weights. Raises
    MinidlError for an unknown algorithm, and if Winograd's does not apply.
    """
    if algorithm is None:
        return ByBatch(geometry, Winograd(geometry) if _suits_winograd(geometry) else Im2col(geometry))
    check_known("algorithm", algorithm, ALGORITHMS, of=" of a convolution")
    return ALGORITHMS[algorithm](geometry)


def _suits_winograd(geometry: Geometry) -> bool:
    """Return whether Winograd's algorithm applies and saves more than its transforms cost.

    It does not if filters have fewer than three taps for each step of the stride, if only few channels share the cost
    of a transform, or on images of one pixel, which use only the middle of each filter.
    """
    y, x, channels = geometry.data_shape
    stride = geometry.stride if isinstance(geometry.stride, tuple) else (geometry.stride, geometry.stride)
    enough_taps = geometry.kernel_size[0] > 2 * stride[0]
    enough_channels = min(channels, geometry.filters) >= _FEWEST_CHANNELS
    return Winograd.applies(geometry.kernel_size, stride) and enough_taps and enough_channels and y * x > 1
