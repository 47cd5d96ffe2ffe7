"""Walk: one batch through Algorithm 1 and the update after it, in the real layers, in numbers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.experiment.trainer import Trainer
from minidl.functions import name_of
from minidl.hooks import HookPoint
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer, Shape
from minidl.net import Net
from minidl.study.probes import true_grads
from minidl.study.quantities import alike, mean_share, norm, removed
from minidl.study.rehearsal import Rehearsal
from minidl.study.trace import row
from minidl.study.trace_files import Row
from minidl.study.watch import Change, Seen, studied_layers, watch
from minidl.words import meant

Array = Any


@dataclass(frozen=True)
class Point:
    """A hook point in numbers.

    hook: its name, or ""; norm: ‖x‖; mean: the share of the means in the energy (means of filters or, for errors, of
    channels), both before the hook and after it; changed: ‖x − N(x)‖/‖x‖, what a centering removes.
    """

    hook: str
    norm: tuple[float, float]
    mean: tuple[float, float]
    changed: float


@dataclass(frozen=True)
class LayerWalk(Row):
    """One batch in one layer: the numbers of a trace, and more.

    shape: of one sample's data; data_alike, out_mean: like alike and data_mean, but of the data and of the output;
    error: what the layer passes back, None for a net's first layer, which computes none.
    """

    shape: Shape
    data_alike: float
    out_mean: float
    weights: Point
    grads: Point
    error: Point | None


@dataclass(frozen=True)
class Filter:
    """One filter and its gradient, before and after the hooks, as NumPy arrays (y, x, in) or (in,)."""

    layer: str
    number: int
    filters: int
    weights: Change
    grads: Change


@dataclass(frozen=True)
class Walk:
    """One batch through a net.

    samples: in the batch; after: the number of steps before it; loss: of the batch, before and after the step;
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

    Raises MinidlError for a net without filters, a layer name without filters, and a number without a filter.
    """
    layers = {one.name: one for one in studied_layers(net)}
    if not layers:
        raise MinidlError(
            "no layer of this net has filters, weights of two axes or more, so that there is nothing to look at; walk "
            "through a net that has a layer such as Convolution or FullyConnected"
        )
    found = layers.get(layer) if layer else next(iter(layers.values()))
    if found is None:
        raise MinidlError(
            f"no layer with filters is called {layer!r}{meant(str(layer), layers)}; those of this net are "
            f"{', '.join(layers)}"
        )
    filters = len(found.weights.value)
    if number >= filters:
        raise MinidlError(
            f"{found.name} ({found}) has {filters} filters, from 0 to {filters - 1}, and none of number {number}"
        )
    return found


def batches(trainer: Trainer) -> Iterator[tuple[Array, Array]]:
    """Iterate over the batches of a training, epoch after epoch, endlessly; each is valid until the next."""
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
    """Train for ``after`` steps, then record the next one.

    The net's WC and GC must be at its hook points. data: the name of the set; layer, number: of the filter to
    show; progress: called after each training step. Raises MinidlError as ``find_filter`` does, before it trains.
    """
    net, loss = trainer.net, trainer.loss
    shown = find_filter(net, layer, number)
    source = batches(trainer)
    with np.errstate(all="ignore"):  # that a net diverges is a result
        for _ in range(after):
            trainer.step(*next(source))
            progress()
        batch, labels = next(source)
        with watch(net) as seen:
            first = loss.score_of(net.forward(batch), labels).loss
            true = true_grads(net, loss.error)
            net.backpropagate(loss.error)  # again, so that observers and the update get these gradients
        error_norm = norm(loss.error)
        moved = Rehearsal(trainer.optimizer)()
        layers = [
            _layer_walk(row(after, one, true, moved[one.layer.weights.name], net.mode), one) for one in seen.values()
        ]
        trainer.optimizer.step()
        again = loss.score_of(net.forward(batch), labels).loss
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


def _layer_walk(traced: Row, seen: Seen) -> LayerWalk:
    layer = seen.layer
    return LayerWalk(
        **vars(traced),
        shape=seen.data.shape[1:],
        data_alike=alike(seen.data),
        out_mean=mean_share(seen.output, "channel"),
        weights=_point(layer.at_weights, seen.weights, "tensor"),
        grads=_point(layer.at_grads, seen.grads, "tensor"),
        error=None if seen.error.before is None else _point(layer.at_error, seen.error, "channel"),
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
