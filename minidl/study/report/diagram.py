"""The net with its hook points: its layers in order, and which hook hangs where, from the net as a run had built it."""

from collections.abc import Sequence

from minidl import models
from minidl.experiment.saving import checkpoint
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.net import Net
from minidl.study.report.blocks import Diagram, Hooked, Section, Stop
from minidl.study.report.runs import Group, Run
from minidl.words import counted


def rebuilt(run: Run) -> Net:
    """Return the net of a run as it was before the first step: its hooks, and from its seed its first weights.

    A run with ``--init`` began with other weights, of which its record has the place alone. Raises MinidlError where
    the run has no checkpoint, which says how many classes there are, and for what is unknown.
    """
    description, settings = checkpoint.description(run.checkpoint), run.settings
    chosen = {name: settings[name] for name in ("mode", "place", "seed") if name in settings}
    shape = tuple(description["shape"])
    return models.build(
        description["model"], method=run.method, classes=description["classes"], shape=shape, device="cpu", **chosen
    )


def diagram(groups: Sequence[Group]) -> Section:
    """Return the section: each net once, with the hooks of all the runs that have it."""
    section = Section(
        "The net and its hook points",
        "Data go down the list, from layer to layer; errors come back up. A layer that learns has three hook points: "
        "of its weights, before each forward pass; of its gradient, before the optimizer takes it; and of the error "
        "that it passes back. A circle is a hook point without a hook; the first layer passes no error back.",
    )
    nets: dict[tuple[str, ...], dict[str, Net]] = {}
    for group in groups:
        try:
            net = rebuilt(group.first)
        except MinidlError as error:
            section.notes.append(f"{group.label}: the net cannot be drawn, because {error}.")
        else:
            nets.setdefault(tuple(f"{layer} {layer.output_shape}" for layer in net.layers), {})[group.label] = net
    section.blocks = [_diagram(found) for found in nets.values()]
    return section


def _diagram(nets: dict[str, Net]) -> Diagram:
    net = next(iter(nets.values()))
    entrances = set(net.root.entrances())
    stops = [
        _stop(layer, {label: other.layers[i] for label, other in nets.items()}, first=layer in entrances)
        for i, layer in enumerate(net.layers)
    ]
    hooks = [f"{label}: {_in_words(other)}" for label, other in nets.items()]
    extents = "×".join(map(str, net.shape))
    return Diagram(
        f"Net ({net.name})",
        f"{counted(len(stops), 'layer')}, {net.parameter_count:,} parameters, images of {extents}. {'; '.join(hooks)}.",
        stops,
    )


def _stop(layer: Layer, layers: dict[str, Layer], first: bool) -> Stop:
    learns = layer.weights is not None
    count = sum(p.value.size for p in layer.parameters())

    def hooked(name: str) -> list[Hooked]:
        found: dict[str, list[str]] = {}
        for label, other in layers.items():
            if said := str(other.points[name]):
                found.setdefault(said, []).append(label)
        return [Hooked(said, runs) for said, runs in found.items()]

    return Stop(
        name=layer.name,
        what=str(layer),
        output="×".join(map(str, layer.output_shape)),
        parameters=f"{count:,} parameters" if count else "",
        weights=hooked("weights") if learns else None,
        grads=hooked("grads") if learns else None,
        error=None if first else hooked("error"),
    )


def _in_words(net: Net) -> str:
    """Return "WC at the weights of 6 layers, GC at the gradient of 6 layers", or "no hook"."""
    counts: dict[str, int] = {}
    for layer in net.layers:
        for what, where in (("weights", "weights"), ("grads", "gradient"), ("error", "error")):
            if said := str(layer.points[what]):
                words = f"{said} at the {where}"
                counts[words] = counts.get(words, 0) + 1
    return ", ".join(f"{words} of {counted(count, 'layer')}" for words, count in counts.items()) or "no hook"
