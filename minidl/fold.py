"""Folding: batch normalization becomes part of the layer before it, so that it costs nothing at inference."""

from minidl.fuse import fuse
from minidl.layer import Layer
from minidl.layers import BatchNorm, Container, Convolution, FullyConnected, Sequential, TransposedConvolution

LINEAR = (Convolution, TransposedConvolution, FullyConnected)  # the kinds whose output is W·x + b


def fold(root: Layer) -> list[str]:
    """Take every BN that follows a layer of a LINEAR kind out of a net that is ready for inference; return their names.

    With the line factor·x + offset that BN is at inference, one for each channel:

        BN(W·x + b) = (factor·W)·x + (factor·b + offset)

    Layers that have a new neighbour are fused again. A BN after a user-defined layer stays, and so do a user-defined BN
    and the layers of a user-defined Sequential, since it is not known what these compute.
    """
    folded = _fold(root)
    fuse(root)
    return folded


def _fold(layer: Layer) -> list[str]:
    folded = []
    if isinstance(layer, Container):
        for child in layer.children:
            folded += _fold(child)
    if type(layer) is Sequential:
        kept: list[Layer] = []
        for child in layer.children:
            if type(child) is BatchNorm and kept and type(kept[-1]) in LINEAR:
                factor, offset = child.affine()
                weights, biases = kept[-1].weights.in_use, kept[-1].biases.in_use  # in use: as normalized
                weights *= factor.reshape(-1, *[1] * (weights.ndim - 1))
                biases *= factor
                biases += offset
                folded.append(child.name)
            else:
                kept.append(child)
        layer._children = tuple(kept)
    return folded
