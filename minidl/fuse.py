"""Fusion: neighbouring layers of a net that was set up share a pass over memory, and compute the same as before.

    in place     a ReLU, or an addition, overwrites the output of the layer before, which is not read again
    with a ReLU  the operation of the layer before writes max(output, 0), and the ReLU has nothing left to do

The layers stay where they are, with their hooks, gradients and names. Fusion tells a layer which output it may
overwrite (``writes_over``) and with which operations it computes (``kernels``). User-defined layers stay as they are
written, since it is not known what they read again.
"""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from minidl.layer import Array, Layer
from minidl.layers import (
    BatchNorm,
    Concat,
    Convolution,
    FullyConnected,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    ReLU,
    Residual,
    Sequential,
    TransposedConvolution,
)

# Kinds whose operations can end with a ReLU, and kinds that do not read their own output again.
TAKE_A_RELU = (Convolution, TransposedConvolution, FullyConnected, BatchNorm, LayerNorm, InstanceNorm, GroupNorm)
GIVE_THEIR_OUTPUT = (*TAKE_A_RELU, Concat, Residual)


def fuse(root: Layer) -> None:
    """Fuse the layers of a net, or of a container that was set up; the last batch is forgotten."""
    unfuse(root)
    kernels = root.context.kernels
    names = ("convolution", "transposed_convolution", "fully_connected", "data_norm")
    with_relu = replace(kernels, **{name: WithReLU(getattr(kernels, name)) for name in names})
    done = replace(kernels, relu=SimpleNamespace(forward=_leave, backward=kernels.relu.backward))
    for layer in root.parts():
        if type(layer) is Residual:
            _overwrite(layer, layer.children[0])
        elif type(layer) is Sequential:
            for before, after in pairwise(layer.children):
                if type(after) is ReLU:
                    _overwrite(after, before)
                    if type(before) in TAKE_A_RELU:
                        before.use(with_relu)
                        after.use(done)


def unfuse(root: Layer) -> None:
    """Let every layer compute alone, into its own memory, as a trace needs it."""
    for layer in root.parts():
        layer.writes_over = None
        if layer.kernels is not layer.context.kernels:
            layer.use(layer.context.kernels)


class WithReLU:
    """An operation whose forward passes write max(…, 0); all else is unchanged."""

    def __init__(self, operation: Any) -> None:
        self.operation = operation

    def plan(self, geometry: Any) -> "WithReLU":
        """Return the algorithm for a geometry, with a ReLU as well."""
        return WithReLU(self.operation.plan(geometry))

    def forward(self, *args: Any) -> Any:
        """Run the operation's forward, with a ReLU."""
        return self.operation.forward(*args, relu=True)

    def inference(self, *args: Any) -> None:
        """Run the operation's inference, with a ReLU."""
        self.operation.inference(*args, relu=True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self.operation, name)


def _leave(data: Array, out: Array) -> None:
    """Do nothing: ``out`` is ``data`` and has no negative elements any more."""


def _overwrite(layer: Layer, before: Layer) -> None:
    while type(before) is Sequential:
        before = before.children[-1]
    if type(before) in GIVE_THEIR_OUTPUT:
        layer.writes_over = before
