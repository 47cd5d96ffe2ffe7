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
        anew = self._begins_anew(net)
        shapes = {name: shape for layer in net.layers for name, shape in _shapes(layer).items()}
        for name, shape in shapes.items():
            if found.net_shapes.get(name) != shape and name not in anew:
                has = found.net_shapes.get(name)
                there = f"has the shape {has} there instead of {shape}" if has else "is missing there"
                raise MinidlError(
                    f"this net cannot begin with the weights of {self.path}: {name} {there}; give --init a net with "
                    f"the same layers, where only {last.name} may have other outputs"
                )
        if more := [name for name in found.net_shapes if name not in shapes]:
            raise MinidlError(
                f"this net cannot begin with the weights of {self.path}: {more[0]} is there and not here; give --init "
                "a net with the same layers"
            )
        kept = {p.name: net.kernels.host(p.value) for p in last.parameters()} if anew else {}
        net.load(found.net_arrays() | kept)
        center_weights(net.layers)

    def notes(self, net: Net) -> tuple[str, ...]:
        """Return sentences on what a net begins with."""
        note = divergence_of(self.path)
        notes = [f"Begins with the weights of {self.path}" + (f"; {note}." if note else ".")]
        if self.saved.dtype == "float64" and net.dtype != np.float64:
            notes.append(f"These are in float64 there, and rounded to {net.dtype} here.")
        if self._begins_anew(net):
            last = _last(net)
            there = self.saved.of(net).net_shapes[last.weights.name][0]
            notes.append(f"{last.name} begins anew: it has {net.output_shape[-1]} outputs here and {there} there.")
        return tuple(notes)

    def _begins_anew(self, net: Net) -> set[str]:
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
