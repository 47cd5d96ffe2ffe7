"""Convolution as three passes: forward, backward, comp_grads; by cuDNN, or by im2col and cuBLAS.

Arrays are those of kernels/convolution.py.
"""

from typing import Any

from minidl.kernels.convolution import Geometry
from minidl.kernels.gpu import bf16, products
from minidl.kernels.gpu.im2col import Im2col
from minidl.words import check_known

__all__ = ["Geometry", "plan"]

Array = Any


class Cudnn(Im2col):
    """Convolution by cuDNN, or by im2col if cuDNN has no engine for a shape."""

    name = "cuDNN"

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(geometry)
        self.narrowed = bf16.Narrowed()

    def product(
        self, operation: str, first: Array, second: Array, out: Array, biases: Array = None, relu: bool = False
    ) -> None:
        """Write fprop(data, weights), dgrad(error, weights) or wgrad(data, error) into ``out``, plus biases, if any."""
        from minidl.kernels.gpu import cudnn  # imported here, as only some machines have it

        behind = cudnn.BEHIND[0 if biases is None else 1 + relu]
        shapes, precision = (first.shape, second.shape, out.shape), products.precision()
        planned = cudnn.product(operation, *shapes, self.stride, self.padding, precision, behind)
        if planned is None or not planned.has_plan():
            super().product(operation, first, second, out, biases, relu)
            return
        if planned.narrow:
            if biases is not None:
                self.narrowed.forget()
            names = OPERANDS[operation]
            first, second = map(self.narrowed.take, names, (operation, operation), (first, second))
        planned(first, second, out, biases)


OPERANDS = {"fprop": ("data", "weights"), "dgrad": ("error", "weights"), "wgrad": ("data", "error")}
ALGORITHMS: dict[str, type[Im2col]] = {"cudnn": Cudnn, "im2col": Im2col}


def plan(geometry: Geometry, algorithm: str | None = None) -> Im2col:
    """Return the convolution of this geometry, computed by ``algorithm`` or the one that the process has chosen.

    algorithm: "cudnn" or "im2col". Raises MinidlError for an unknown algorithm.
    """
    if algorithm is None:
        algorithm = "cudnn" if products.by_cudnn(geometry.dtype) else "im2col"
    check_known("algorithm", algorithm, ALGORITHMS, of=" of a convolution")
    return ALGORITHMS[algorithm](geometry)
