"""Rehearsal: what an optimizer's next update makes of the weights, before it normalizes them."""

from copy import copy
from dataclasses import replace
from typing import Any

from minidl.optimizers import Optimizer

Array = Any


class Rehearsal:
    """The next update of an optimizer, done on copies and without WC; GC is done, as it comes before the update.

    The copies are made once, and serve in each rehearsal.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.double = optimizer, copy(optimizer)  # they share the learning rate
        self.double.steps = optimizer.steps.copy()
        self.double.tensors = [
            replace(tensor, weights=tensor.weights.copy(), moments=tuple(m.copy() for m in tensor.moments), wc=False)
            for tensor in optimizer.tensors
        ]

    def __call__(self) -> dict[str, Array]:
        """Return what the update would make of each parameter, by its name; it holds until the next call."""
        self.double.steps[...] = self.optimizer.steps
        for tensor, original in zip(self.double.tensors, self.optimizer.tensors, strict=True):
            tensor.weights[...] = original.weights
            for moment, value in zip(tensor.moments, original.moments, strict=True):
                moment[...] = value
        self.double.step()
        return {name: tensor.weights for name, tensor in zip(self.double.names, self.double.tensors, strict=True)}
