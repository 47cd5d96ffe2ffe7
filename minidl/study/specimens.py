"""Specimens: small layers of every kind, on which gradients are checked, with the shape of one sample's data."""

from collections.abc import Callable

import numpy as np

from minidl.context import Context
from minidl.layer import Layer, Shape
from minidl.layers import (
    AnySize,
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
    Flatten,
    FullyConnected,
    GlobalAveragePool,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    MaxPool,
    ReLU,
    Residual,
    Resize,
    Sequential,
    TransposedConvolution,
)

Make = Callable[[], Layer]
LAYERS: dict[str, tuple[Make, Shape]] = {
    "conv 3×3": (lambda: Convolution(3, 3), (5, 4, 2)),
    "conv 5×5": (lambda: Convolution(2, 5), (5, 6, 2)),
    "conv 3×3 stride 2": (lambda: Convolution(3, 3, stride=2), (6, 7, 2)),
    "conv 7×7 stride 2": (lambda: Convolution(2, 7, stride=2), (9, 8, 1)),
    "conv 1×1": (lambda: Convolution(3, 1), (2, 3, 4)),
    "transposed conv 3×3 stride 2": (lambda: TransposedConvolution(3, 3, stride=2), (3, 4, 2)),
    "transposed conv 2×2 stride 2": (lambda: TransposedConvolution(2, 2, stride=2), (3, 2, 3)),
    "transposed conv 3×3": (lambda: TransposedConvolution(2, 3), (3, 4, 2)),
    "fc": (lambda: FullyConnected(4), (6,)),
    "relu": (ReLU, (3, 4, 2)),
    "max pool": (lambda: MaxPool(2, 2), (4, 5, 2)),
    "max pool overlapping": (lambda: MaxPool(3, 2), (7, 5, 2)),
    "flatten": (Flatten, (2, 3, 2)),
    "average pool": (lambda: AveragePool(2, 2), (4, 5, 2)),
    "average pool overlapping": (lambda: AveragePool(3, 2), (7, 5, 2)),
    "global average pool": (GlobalAveragePool, (3, 2, 4)),
    "BN": (BatchNorm, (3, 4, 6)),
    "BN after fc": (BatchNorm, (5,)),
    "LN": (LayerNorm, (3, 4, 6)),
    "LN after fc": (LayerNorm, (5,)),
    "IN": (InstanceNorm, (3, 4, 6)),
    "GN": (GroupNorm, (3, 4, 6)),
    "resize up": (lambda: Resize((7, 5)), (4, 3, 2)),
    "resize down": (lambda: Resize((3, 1)), (4, 5, 2)),
    "resize to the same size": (lambda: Resize((2, 3)), (2, 3, 1)),
    "concat": (lambda: Concat(Convolution(3, 3)), (3, 4, 2)),
    "concat resized": (lambda: Concat(Sequential(Convolution(3, 3, stride=2), ReLU())), (5, 6, 2)),
    "concat in concat": (lambda: Concat(Sequential(MaxPool(2, 2), Concat(Convolution(1, 3)), ReLU())), (4, 5, 2)),
    "any size": (lambda: AnySize(Convolution(2, 3), least=5, step=3), (4, 7, 2)),
    "residual": (lambda: Residual(Sequential(Convolution(2, 3), ReLU(), Convolution(2, 3))), (4, 3, 2)),
    "residual down": (lambda: Residual(Convolution(3, 3, stride=2), AveragePool(2, 2)), (6, 5, 2)),
    "residual of smaller body": (lambda: Residual(Convolution(1, 3, padding=0)), (4, 5, 2)),
}

SHAPES = ((5, 4, 2), (5, 4), (6,))  # user-defined layers are tried on these: image, sequence, vector


def set_up(make: Make, shape: Shape, context: Context) -> Layer:
    """Return a layer whose biases, γ and β are random and whose gradients are nan, which the layer must overwrite."""
    layer = make()
    layer.setup(shape, context)
    for p in layer.parameters():
        if not p.decay:
            p.value[...] = context.kernels.xp.asarray(context.random.standard_normal(p.value.shape))
        p.grads[...] = np.nan
    return layer
