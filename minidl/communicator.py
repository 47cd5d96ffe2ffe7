"""Communicator: how the processes talk to each other that train one net together, the ranks.

Each rank has the whole net and its share of every batch. Here is the one of a rank that is alone, which has nobody to
talk to; mpi.py has that of several.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Array = Any  # numpy.ndarray or cupy.ndarray
Value = TypeVar("Value")


class Communicator:
    """A rank that is alone.

    rank: its number, from 0; size: how many there are; here: its number among those of its host; words: what to tell of
    them, if anything.
    """

    rank, size, here = 0, 1, 0
    words: tuple[str, ...] = ()

    @property
    def share(self) -> tuple[int, int]:
        """Which part of each batch is this rank's, as in ``data.batches.share_of``."""
        return self.rank, self.size

    def sum(self, array: Array) -> None:
        """Sum an array of the net's device over the ranks, in place; each gets the same, to the last bit."""

    def total(self, number: int) -> int:
        """Return the sum of a number over the ranks."""
        return number

    def most(self, number: int) -> int:
        """Return the largest of the ranks' numbers."""
        return number

    def gather(self, value: Value) -> list[Value]:
        """Return what each rank has given, in their order; raise what another rank has raised in the meantime."""
        return [value]

    def first(self, function: Callable[[], Value]) -> Value:
        """Let rank 0 call a function, and return its result on each; raise MinidlError where it raised an error."""
        return function()

    def one_before_others(self, function: Callable[[], Value]) -> Value:
        """Call a function on rank 0 first, as where it downloads what all need, and then on the others."""
        return function()

    def settle(self, threads: int | None) -> None:
        """Take the cores that this rank computes on; threads: how many it has, where they were asked for."""

    def serve(self, kernels: Any) -> None:
        """Sum arrays of this device from now on."""

    def begin(self, hint: str) -> None:
        """Tell that the training begins, in which each rank waits for the others; hint: how to go on if it breaks."""

    def end(self) -> None:
        """Tell that the ranks do not wait for each other any more."""
