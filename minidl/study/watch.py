"""Watching: observe all hook points of a net during one training step, without changing the step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from minidl.kernels.arguments import check_kind
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.layers import DataNorm
from minidl.net import Net

Array = Any


@dataclass
class Change:
    """The array at a hook point before and after its hook, as copies; None if nothing passed it."""

    before: Array = None
    after: Array = None


@dataclass(repr=False)
class Seen:
    """The arrays of one step in a layer with weights.

    data: the layer's input; output: its output, after the data norm that follows the layer, if any. This is the input
    of a ReLU after it, or, at the end of a residual block, what the shortcut is added to. weights, error, grads: at the
    three hook points of Algorithm 1, where ``error`` is ∂L/∂data, which the layer passes back; a net's first layer
    computes none. bias_grads: the gradient of its biases.
    """

    layer: Layer
    data: Array = None
    output: Array = None
    weights: Change = field(default_factory=Change)
    error: Change = field(default_factory=Change)
    grads: Change = field(default_factory=Change)
    bias_grads: Array = None

    def __repr__(self) -> str:
        return f"<Seen {self.layer.name}: data, output, weights, error, grads, bias_grads>"


def studied_layers(net: Net) -> list[Layer]:
    """Return the layers that a study observes: all whose weights have filters, so no data norms."""
    return [layer for layer in net.layers if layer.has_filters]


@contextmanager
def watch(net: Net) -> Iterator[dict[str, Seen]]:
    """Observe a forward pass in training and the backpropagation after it; give a Seen for each layer, by name.

    Update the parameters after the block. Layers compute one by one, without fusion, with the same results. If the
    update of the optimizer does GC, ``grads`` show its effect on a copy. If it does WC, the weights have no mean any
    more when a step begins: ``weights.before`` is None, and what WC removed can only be observed before that update
    (see trace.py). A block may be inside another one. Raises MinidlError at the end of a block that did not make this
    step.

        with watch(net) as seen:
            loss(net.forward(data), labels)
            net.backpropagate(loss.error)
        optimizer.step()
        seen["conv1"].grads.before
    """
    check_kind("net of watch", net, Net, "give the net that is to be watched")
    seen = {layer.name: Seen(layer) for layer in studied_layers(net)}
    following = dict(pairwise(net.layers))
    hung: list[tuple[list[Any], Callable[[Array], None]]] = []

    def hang(observers: list[Any], target: Any, name: str) -> None:
        def keep(array: Array) -> None:
            setattr(target, name, array)

        observers.append(keep)
        hung.append((observers, keep))

    fused = net.fused  # False inside another watch
    if fused:
        net.unfuse()
    try:
        for one in seen.values():
            for what, point in one.layer.points.items():
                change = getattr(one, what)
                if point.in_update is None:
                    hang(point.before, change, "before")
                    hang(point.after, change, "after")
            norm = following.get(one.layer)
            last = norm if isinstance(norm, DataNorm) else one.layer
            hang(last.at_output.after, one, "output")
        yield seen
        for one in seen.values():
            _complete(one)
    finally:
        for observers, keep in hung:
            observers[:] = [one for one in observers if one is not keep]  # it may have been removed inside the block
        if fused:
            net.fuse()


def _complete(seen: Seen) -> None:
    """Add what observers do not get: the data, and what the update will do."""
    layer = seen.layer
    if seen.output is None or layer.samples is None:
        raise _unseen(
            layer, "forward pass in training", "net.train(), where it was not in training, and net.forward(data)"
        )
    if layer.at_grads.in_update is None and seen.grads.before is None:
        raise _unseen(layer, "backpropagation", "net.backpropagate(error)")
    seen.data = layer.data.copy()
    if layer.biases is not None:
        seen.bias_grads = layer.biases.grads.copy()
    if layer.at_grads.in_update is not None:
        seen.grads.before = layer.weights.grads.copy()
        seen.grads.after = layer.at_grads.in_update(layer.weights.grads.copy())
    if layer.at_weights.in_update is not None:
        seen.weights.after = layer.weights.value.copy()


def _unseen(layer: Layer, what: str, remedy: str) -> MinidlError:
    return MinidlError(
        f"{layer.name} ({layer}) has seen no {what}, as watch(net) looks at a whole training step; inside the with, "
        f"call {remedy}"
    )
