"""Walk: one batch through Algorithm 1 and the update after it, by the real layers, in numbers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.experiment.trainer import Trainer
from minidl.hooks import HookPoint, name_of
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer, Shape
from minidl.net import Net
from minidl.study.quantities import active, alike, angle, dead, deviation, mean_share, norm, removed
from minidl.study.watch import Change, Seen, studied_layers, watch

Array = Any


@dataclass(frozen=True)
class Point:
    """A hook point in numbers.

    hook: what hangs there, or ""; norm: ‖x‖; mean: the share of the means in the energy, of filters or, for errors, of
    channels, each before the hook and after it; changed: ‖x − N(x)‖/‖x‖, what a centering removes.
    """

    hook: str
    norm: tuple[float, float]
    mean: tuple[float, float]
    changed: float


@dataclass(frozen=True)
class LayerWalk:
    """What a batch did in a layer; the quantities are those of quantities.py.

    shape: of one sample's data; angle: between the gradient that is used and that without any hook at errors and
    gradients, in degrees; error: what the layer passes back, None for a net's first layer, which computes none;
    step_ratio: the norm of the update over that of the weights; step_mean: the share of filter means in its energy.
    """

    name: str
    shape: Shape
    data_alike: float
    data_mean: float
    weights: Point
    out_std: float
    out_mean: float
    out_alike: float
    active: float
    dead: float
    grads: Point
    angle: float
    error: Point | None
    step_ratio: float
    step_mean: float


@dataclass(frozen=True)
class Filter:
    """One filter and its gradient, before and after the hooks, as NumPy's arrays (y, x, in) or (in,)."""

    layer: str
    number: int
    filters: int
    weights: Change
    grads: Change


@dataclass(frozen=True)
class Walk:
    """One batch through a net.

    samples: in the batch; after: how many steps came before; loss: of the batch, before and after the step;
    error_norm: of ∂L/∂output; layers: in the order of the forward pass.
    """

    net: Net
    data: str
    samples: int
    after: int
    optimizer: str
    classes: int
    loss: tuple[float, float]
    error_norm: float
    layers: list[LayerWalk]
    filter: Filter


def find_filter(net: Net, layer: str | None, number: int) -> Layer:
    """Return the layer of a filter, by default the first one.

    Raises MinidlError for a name that no layer with filters has, and for a number that no filter of it has.
    """
    layers = {one.name: one for one in studied_layers(net)}
    found = layers.get(layer) if layer else next(iter(layers.values()))
    if found is None:
        raise MinidlError(f"no layer with filters is called {layer!r}; those of this net are {', '.join(layers)}")
    filters = len(found.weights.value)
    if number >= filters:
        raise MinidlError(
            f"{found.name} ({found}) has {filters} filters, from 0 to {filters - 1}, and none of number {number}"
        )
    return found


def batches(trainer: Trainer) -> Iterator[tuple[Array, Array]]:
    """Iterate over the batches of a training, epoch after epoch, without an end; each holds until the next."""
    epoch = 1
    while True:
        for size in trainer.begin(epoch):
            yield trainer.train.next(size)
        epoch += 1


def walk(
    trainer: Trainer,
    data: str,
    after: int = 0,
    layer: str | None = None,
    number: int = 0,
    progress: Callable[[], Any] = lambda: None,
) -> Walk:
    """Train for ``after`` steps, then go through the next one and say what was seen.

    The net's WC and GC are to be at its hook points. data: the name of the set; layer, number: of the filter that is
    shown; progress: called after each training step. Raises MinidlError as ``find_filter`` does, before it trains.
    """
    net, loss = trainer.net, trainer.loss
    shown = find_filter(net, layer, number)
    source = batches(trainer)
    with np.errstate(all="ignore"):  # that a net has left all bounds is a result
        for _ in range(after):
            trainer.step(*next(source))
            progress()
        batch, labels = next(source)
        with watch(net) as seen:
            first = loss.alone(net.forward(batch), labels).loss
            bare = gradients_without_hooks(net, loss.error)
            net.backpropagate(loss.error)  # the last word, for the observers as for the update
        error_norm = norm(loss.error)
        before = {name: one.layer.weights.value.copy() for name, one in seen.items()}
        trainer.optimizer.step()
        layers = [_layer_walk(one, bare[one.layer.weights.name], before[name]) for name, one in seen.items()]
        again = loss.alone(net.forward(batch), labels).loss
    return Walk(
        net,
        data,
        len(batch),
        after,
        trainer.optimizer.kind,
        loss.classes,
        (first, again),
        error_norm,
        layers,
        _filter(seen[shown.name], number),
    )


def gradients_without_hooks(net: Net, error: Array) -> dict[str, Array]:
    """Return copies of the gradients of the last batch as they are with no hook at errors and gradients, by name.

    The weights are those of the last forward. What the net has for its gradients afterwards is these, too.
    """
    with _without_hooks([point for layer in net.root.parts() for point in (layer.at_error, layer.at_grads)]):
        net.backpropagate(error)
    return {p.name: p.grads.copy() for p in net.parameters}


@contextmanager
def _without_hooks(points: list[HookPoint]) -> Iterator[None]:
    hung = [(point, point.hook) for point in points if point.hook is not None]
    try:
        for point, _ in hung:
            point.hook = None
        yield
    finally:
        for point, hook in hung:
            point.hook = hook


def _layer_walk(seen: Seen, bare: Array, weights: Array) -> LayerWalk:
    layer, step = seen.layer, seen.layer.weights.value - weights
    return LayerWalk(
        name=layer.name,
        shape=seen.data.shape[1:],
        data_alike=alike(seen.data),
        data_mean=mean_share(seen.data, "channel"),
        weights=_point(layer.at_weights, seen.weights, "tensor"),
        out_std=deviation(seen.output),
        out_mean=mean_share(seen.output, "channel"),
        out_alike=alike(seen.output),
        active=active(seen.output),
        dead=dead(seen.output),
        grads=_point(layer.at_grads, seen.grads, "tensor"),
        angle=angle(seen.grads.after, bare),
        error=None if seen.error.before is None else _point(layer.at_error, seen.error, "channel"),
        step_ratio=norm(step) / norm(weights),
        step_mean=mean_share(step, "tensor"),
    )


def _point(point: HookPoint, change: Change, area: str) -> Point:
    before, after = change.before, change.after
    return Point(
        name_of(point.hook) if point.hook else "",
        (norm(before), norm(after)),
        (mean_share(before, area), mean_share(after, area)),
        removed(before, after),
    )


def _filter(seen: Seen, number: int) -> Filter:
    def one(change: Change) -> Change:
        host = seen.layer.kernels.host
        return Change(host(change.before[number]), host(change.after[number]))

    return Filter(seen.layer.name, number, len(seen.layer.weights.value), one(seen.weights), one(seen.grads))
