"""Rehearsal: the weights after an optimizer's next update, before WC."""

from copy import copy
from dataclasses import replace
from typing import Any

from minidl.optimizers import Optimizer

Array = Any


class Rehearsal:
    """The next update of an optimizer, done on copies and without WC; GC is done, as it comes before the update.

    The copies are made once, and reused in each rehearsal.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.double = optimizer, copy(optimizer)  # they share the learning rate
        self.double.steps = optimizer.steps.copy()
        self.double.states = [
            replace(state, weights=state.weights.copy(), moments=tuple(m.copy() for m in state.moments), wc=False)
            for state in optimizer.states
        ]

    def __call__(self) -> dict[str, Array]:
        """Return each parameter after the update, by name; the result is valid until the next call."""
        self.double.steps[...] = self.optimizer.steps
        for state, original in zip(self.double.states, self.optimizer.states, strict=True):
            state.weights[...] = original.weights
            for moment, value in zip(state.moments, original.moments, strict=True):
                moment[...] = value
        self.double.step()
        return {name: state.weights for name, state in zip(self.double.names, self.double.states, strict=True)}
