"""Fusion: neighbouring layers of a net that was set up share a pass over memory, and compute the same as before.

    in place     a ReLU, or an addition, overwrites the output of the layer before, which is not read again
    with a ReLU  the operation of the layer before writes max(output, 0), and the ReLU has nothing left to do

The layers stay where they are, with their hooks, gradients and names. Fusion tells a layer which output it may
overwrite (``writes_over``) and whether a ReLU follows (``with_relu``). User-defined layers stay as they are written,
since it is not known what they read again.
"""

from itertools import pairwise

from minidl.layer import Layer
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
    """Fuse the layers of a net, or of a container that was set up."""
    unfuse(root)
    for layer in root.parts():
        if type(layer) is Residual:
            _overwrite(layer, layer.children[0])
        elif type(layer) is Sequential:
            for before, after in pairwise(layer.children):
                if type(after) is ReLU:
                    _overwrite(after, before)
                    before.with_relu = type(before) in TAKE_A_RELU


def unfuse(root: Layer) -> None:
    """Let every layer compute alone, into its own memory, as a trace needs it."""
    for layer in root.parts():
        layer.writes_over, layer.with_relu = None, False


def _overwrite(layer: Layer, before: Layer) -> None:
    while type(before) is Sequential:
        before = before.children[-1]
    if type(before) in GIVE_THEIR_OUTPUT:
        layer.writes_over = before
