"""Probes: what a net would compute without hooks or with other weights; afterwards the net is as before."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from minidl.hooks import Hook, HookPoint
from minidl.layer import Layer
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import center_weights
from minidl.net import Net

Array = Any
STRIDES = (1.0, 2.0, 4.0, 8.0, 16.0)


def true_grads(net: Net, error: Array) -> dict[str, Array]:
    """Return every parameter's gradients without any hook of errors and gradients, for the last forward, as copies.

    The result is empty if no error is normalized, as the hooks of gradients then get the true gradients. error:
    ∂L/∂output. The parameters keep these gradients until the next backpropagation.
    """
    parts = list(net.root.parts())
    if all(part.at_error.hook is None for part in parts):
        return {}
    with _without_hooks([point for part in parts for point in (part.at_error, part.at_grads)]):
        net.backpropagate(error)
    return {p.name: p.grads.copy() for p in net.parameters}


@contextmanager
def _without_hooks(points: list[HookPoint]) -> Iterator[None]:
    hooks: list[Hook | None] = [point.hook for point in points]
    try:
        for point in points:
            point.hook = None
        yield
    finally:
        for point, hook in zip(points, hooks, strict=True):
            point.hook = hook


def normalized(layer: Layer, weights: Array) -> Array:
    """Return a layer's weights after their next normalization, as a copy; in projection, which changes them."""
    hook = layer.at_weights.in_update or layer.at_weights.hook
    return weights.copy() if hook is None else hook(weights.copy())


def carry(net: Net, data: Array, labels: Array, moved: Mapping[str, Array]) -> dict[float, float]:
    """Return the loss of a batch at W + s·Step for each s of STRIDES, with Step = moved − W.

    W are all parameters; the net computes with W + s·Step after the normalizations of the weights.
    """
    loss = SoftmaxCrossEntropy(net.kernels)
    parameters, losses = net.parameters, {}
    with _put_back([*(p.value for p in parameters), *net.running().values()]):
        start = [p.value.copy() for p in parameters]
        for s in STRIDES:
            for p, value in zip(parameters, start, strict=True):
                p.value[...] = value + s * (moved[p.name] - value)
            center_weights(net.layers)
            losses[s] = loss.score_of(net.forward(data), labels).loss
    return losses


@contextmanager
def _put_back(arrays: list[Array]) -> Iterator[None]:
    kept = [array.copy() for array in arrays]
    try:
        yield
    finally:
        for array, before in zip(arrays, kept, strict=True):
            array[...] = before
