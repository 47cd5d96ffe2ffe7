"""PyTorch's names and axes: how the arrays of a net are called and laid out in a module of PyTorch's own layers.

ours                                              PyTorch's
conv1.weights (out, y, x, in)                     conv1.weight (out, in, y, x)
tconv1.weights (out, y, x, in)                    tconv1.weight (in, out, y, x)
fc1.weights (out, in)                             fc1.weight (out, in); after a Flatten, `in` runs over (c, y, x)
                                                  where ours runs over (y, x, c), as the data are flattened
conv1.biases                                      conv1.bias
bn1.gamma, bn1.beta, bn1.mean, bn1.variance       bn1.weight, bn1.bias, bn1.running_mean, bn1.running_var
bn1.updates (1)                                   bn1.num_batches_tracked ()
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from minidl.functions import described
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer, Shape
from minidl.layers import (
    AveragePool,
    BatchNorm,
    Container,
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
from minidl.net import Net

Array = Any
VECTORS = {
    "biases": "bias",
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "variance": "running_var",
    "updates": "num_batches_tracked",
}
KERNELS = {Convolution: (0, 3, 1, 2), TransposedConvolution: (3, 0, 1, 2)}
NORMS = (BatchNorm, LayerNorm, InstanceNorm, GroupNorm)
WITHOUT_ARRAYS = (ReLU, MaxPool, AveragePool, GlobalAveragePool, Resize)


@dataclass(frozen=True)
class Axes:
    """How a PyTorch array comes from ours, of ``shape``: it is seen as ``view``, then its axes are put in ``order``.

    theirs: the resulting shape.
    """

    name: str
    shape: Shape
    view: Shape
    order: tuple[int, ...]
    theirs: Shape

    @classmethod
    def plain(cls, name: str, shape: Shape) -> "Axes":
        """Return the axes of an array that is the same in both."""
        return cls(name, shape, shape, tuple(range(len(shape))), shape)

    def fitted(self, theirs: Shape) -> "Axes":
        """Return those of an array with another shape there: another number of outputs, or nothing that is known."""
        if self.theirs == theirs:
            return self
        if not theirs or theirs[1:] != self.theirs[1:] or self.order[:1] != (0,):
            return Axes.plain(self.name, theirs)
        n = theirs[0]
        return Axes(self.name, (n, *self.shape[1:]), (n, *self.view[1:]), self.order, theirs)

    def there(self, array: Array) -> Array:
        """Return our array as PyTorch has it."""
        return np.ascontiguousarray(array.reshape(self.view).transpose(self.order)).reshape(self.theirs)

    def back(self, array: Array) -> Array:
        """Return PyTorch's array as we have it."""
        permuted = array.reshape([self.view[axis] for axis in self.order])
        return np.ascontiguousarray(permuted.transpose(np.argsort(self.order).tolist())).reshape(self.shape)


def axes_of(net: Net) -> dict[str, Axes]:
    """Return PyTorch's names of all arrays of a net, and what each of them is made of.

    A user-defined layer needs a method ``to_pytorch()``, which returns, for each of its arrays by our name, PyTorch's
    name and the order of the axes, or {} for a layer without arrays. Raises MinidlError if it is missing.
    """
    found: dict[str, Axes] = {}
    _collect(net.root, None, found)
    return found


def _collect(layer: Layer, flat: Shape | None, found: dict[str, Axes]) -> Shape | None:
    """Add the arrays of a layer; flat: the shape (y, x, c) that its data had before they were flattened, if they were.

    Return the same of its output.
    """
    kind = type(layer)
    if kind is Sequential:
        for child in layer.children:  # type: ignore[attr-defined]
            flat = _collect(child, flat, found)
        return flat
    if isinstance(layer, Container):
        ends = {_collect(child, flat, found) for child in layer.children}
        if kind is Residual and len(layer.children) == 1:
            ends.add(flat)  # the shortcut
        if len(ends) > 1 or (ends != {None} and kind is not Residual):
            raise MinidlError(
                f"{layer.name} ({layer}) takes images that were flattened together with others, or with what is not "
                "one, and PyTorch has their numbers in another order; flatten after it, or export to safetensors or "
                "onnx"
            )
        return ends.pop()
    if kind is Flatten:
        return layer.input_shape if len(layer.input_shape) == 3 and prod(layer.input_shape[:2]) > 1 else flat
    if kind in KERNELS:
        found |= _entries(layer, KERNELS[kind])
    elif kind is FullyConnected:
        found |= _behind_flatten(layer, flat) if flat else _entries(layer, (0, 1))
        return None
    elif kind in NORMS:
        found |= _entries(layer, ())
        if flat is not None:
            raise MinidlError(
                f"{layer.name} ({layer}) normalizes images that were flattened, whose numbers PyTorch has in another "
                "order; put it before the Flatten, or export to safetensors or onnx"
            )
    elif kind not in WITHOUT_ARRAYS:
        found |= _told(layer)
    return flat


def _entries(layer: Layer, order: tuple[int, ...]) -> dict[str, Axes]:
    entries = {}
    for name, array in _arrays(layer):
        ours, _, last = name.rpartition(".")
        shape = array.shape
        if last == "weights":
            theirs = tuple(shape[axis] for axis in order)
            entries[f"{ours}.weight"] = Axes(name, shape, shape, order, theirs)
        elif last == "updates":
            entries[f"{ours}.num_batches_tracked"] = Axes(name, shape, (), (), ())
        else:
            entries[f"{ours}.{VECTORS[last]}"] = Axes.plain(name, shape)
    return entries


def _behind_flatten(layer: Layer, flat: Shape) -> dict[str, Axes]:
    name, shape = layer.weights.name, layer.weights.value.shape
    y, x, c = flat
    assert shape[1] == prod(flat)
    weights = Axes(name, shape, (shape[0], y, x, c), (0, 3, 1, 2), shape)
    return _entries(layer, (0, 1)) | {f"{layer.name}.weight": weights}


def _told(layer: Layer) -> dict[str, Axes]:
    to_pytorch = getattr(layer, "to_pytorch", None)
    if to_pytorch is None:
        raise MinidlError(
            f"{layer.name} ({layer}) is a layer of your own without a method to_pytorch, which describes it to "
            "PyTorch; write this method, see docs/use.md, or export to safetensors"
        )
    shapes = {name: array.shape for name, array in _arrays(layer)}
    try:
        return {
            theirs: Axes(name, shapes[name], shapes[name], tuple(order), tuple(shapes[name][axis] for axis in order))
            for name, (theirs, order) in to_pytorch().items()
        }
    except Exception as error:  # user code may raise or return anything
        raise MinidlError(f"{layer.name} ({layer}): {described('to_pytorch', error)}") from error


def _arrays(layer: Layer) -> Iterator[tuple[str, Array]]:
    yield from ((p.name, p.value) for p in layer.parameters())
    yield from layer.running().items()
