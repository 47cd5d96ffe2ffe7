"""Folding: batch normalization becomes part of the layer before it, so that it costs nothing at inference."""

from minidl.fuse import fuse
from minidl.layer import Layer
from minidl.layers import BatchNorm, Container, Convolution, FullyConnected, Sequential, TransposedConvolution

LINEAR = (Convolution, TransposedConvolution, FullyConnected)  # the kinds whose output is W·x + b


def fold(root: Layer) -> None:
    """Take every BN that follows a layer of a LINEAR kind out of a net that is ready for inference.

    With the line factor·x + offset that BN is at inference, one for each channel:

        BN(W·x + b) = (factor·W)·x + (factor·b + offset)

    What has a new neighbour then is fused anew. A BN behind a kind of one's own stays: nothing is known of what that
    makes of its weights.
    """
    _fold(root)
    fuse(root)


def _fold(layer: Layer) -> None:
    if isinstance(layer, Container):
        for child in layer.children:
            _fold(child)
    if isinstance(layer, Sequential):
        kept: list[Layer] = []
        for child in layer.children:
            if isinstance(child, BatchNorm) and kept and type(kept[-1]) in LINEAR:
                factor, offset = child.affine()
                weights, biases = kept[-1].weights_in_use, kept[-1].biases.in_use  # in use: as normalized
                weights *= factor.reshape(-1, *[1] * (weights.ndim - 1))
                biases *= factor
                biases += offset
            else:
                kept.append(child)
        layer.children = tuple(kept)
