"""Initial weights from an earlier net: --init."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl.experiment.saving import saved
from minidl.experiment.saving.checkpoint import file_of
from minidl.experiment.saving.records import divergence_of
from minidl.experiment.saving.saved import Saved
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer, Shape
from minidl.method import center_weights
from minidl.net import Net


@dataclass(frozen=True)
class Initial:
    """A saved net that gives a new net its weights, biases, γ, β and running statistics."""

    path: Path
    saved: Saved

    def give(self, net: Net) -> None:
        """Copy all arrays that both nets have into a new net; if the update does WC, apply it once, as in a built net.

        Raises MinidlError, before anything is copied, if a layer differs by more than the number of classes.
        """
        found = self.saved.of(net)
        last = _last(net)
        random = self._starts_at_random(net)
        shapes = {name: shape for layer in net.layers for name, shape in _shapes(layer).items()}
        there = found.net_shapes
        if differ := [name for name in shapes | there if there.get(name) != shapes.get(name) and name not in random]:
            known = self._differences(net, any(len(shapes.get(name, ())) == 2 for name in differ))
            first = _difference(differ[0], there.get(differ[0]), shapes.get(differ[0]))
            why = f"{', and '.join(known)} ({first})" if known else first
            remedy = ", and ".join(known.values())
            alike = f"give --init a net with the same layers, where only {last.name} may have other outputs"
            raise MinidlError(f"this net cannot begin with the weights of {self.path}: {why}; {remedy or alike}")
        kept = {p.name: net.kernels.host(p.value) for p in last.parameters()} if random else {}
        net.load(found.net_arrays() | kept)
        center_weights(net.layers)

    def notes(self, net: Net) -> tuple[str, ...]:
        """Return sentences on what a net begins with."""
        note = divergence_of(self.path)
        notes = [f"Begins with the weights of {self.path}" + (f"; {note}." if note else ".")]
        if self.saved.dtype == "float64" and net.dtype != np.float64:
            notes.append(f"These are in float64 there, and rounded to {net.dtype} here.")
        if self._starts_at_random(net):
            last = _last(net)
            there = self.saved.of(net).net_shapes[last.weights.name][0]
            outputs = f"{net.output_shape[-1]} outputs here and {there} there"
            notes.append(f"{last.name} starts with random weights: it has {outputs}.")
        return tuple(notes)

    def _differences(self, net: Net, flattens: bool) -> dict[str, str]:
        """Return in which of its options another net differs, and what to do about each, as far as the file says it.

        flattens: whether there are differences in a matrix, such as that of the layer which takes the whole image.
        """
        said, here = self.saved.description, net.method.data_norm
        if said.get("model") and said["model"] != net.name:  # a net that was built in Python may have no name
            what = f"net ({said['model']}) there and net ({net.name}) here"
            return {what: f"choose --model {said['model']}, or give --init a run of net ({net.name})"}
        if len(said.get("shape", ())) != len(net.shape):
            return {}
        found, there, size = {}, self.saved.data_norm, tuple(said["shape"][:2])
        if there != here:
            what = f"{there or 'no data norm'} there and {here or 'no data norm'} here"
            found[what] = f"choose a --method {f'with {there}' if there else f'without {here}'}"
        if flattens and size != net.shape[:2]:
            (y, x), (ours, theirs) = size, net.shape[:2]
            option = f" (of a folder, by --image-size {y})" if y == x else ""
            what = f"images of {y}×{x} pixels there and {ours}×{theirs} here"
            found[what] = f"give images of {y}×{x} pixels{option}"
        return found

    def _starts_at_random(self, net: Net) -> set[str]:
        """Return the names of the last layer's arrays if it has another number of outputs, and else none."""
        there, names = self.saved.of(net).net_shapes, _shapes(_last(net))
        differ = all(name in there and there[name][:1] != shape[:1] for name, shape in names.items())
        alike = all(name in there and there[name][1:] == shape[1:] for name, shape in names.items())
        return set(names) if differ and alike else set()


def read(path: str) -> Initial:
    """Return the saved net in the folder of a run, a checkpoint or an exported file.

    Raises MinidlError if it is missing or no such file.
    """
    return Initial(Path(path), saved.read(file_of(path), described=False))


def _difference(name: str, has: Shape | None, needs: Shape | None) -> str:
    """Return how an array of a saved net differs from that of this net; None where there is none."""
    if needs is None:
        return f"{name} is there and not here"
    return f"{name} is missing there" if has is None else f"{name} has the shape {has} there instead of {needs}"


def _last(net: Net) -> Layer:
    """Return the last layer with weights; raise MinidlError if no layer has weights."""
    layers = [layer for layer in net.layers if layer.weights is not None]
    if not layers:
        raise MinidlError("no layer of this net has weights that an earlier net could give it; leave out --init")
    return layers[-1]


def _shapes(layer: Layer) -> dict[str, Shape]:
    """Return the shapes of a layer's learned arrays, by name."""
    arrays: dict[str, Any] = {p.name: p.value for p in layer.own_parameters()} | layer.running()
    return {name: tuple(array.shape) for name, array in arrays.items()}
