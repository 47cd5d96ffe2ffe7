"""Communicator: how the ranks, the processes that train one net together, exchange data.

Each rank has the whole net and its share of every batch. The communicator here is for a single rank; mpi.py has the one
for several.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Array = Any  # numpy.ndarray or cupy.ndarray
Value = TypeVar("Value")


class Communicator:
    """The communicator of a single rank.

    rank: its number, from 0; size: number of ranks; here: its number among the ranks of its host; words: a description
    of the ranks for the user, or "".
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
        """Return the values of all ranks, in their order; raise an error that another rank has raised meanwhile."""
        return [value]

    def first(self, function: Callable[[], Value]) -> Value:
        """Let rank 0 call a function, and return its result on each; raise MinidlError where it raised an error."""
        return function()

    def one_before_others(self, function: Callable[[], Value]) -> Value:
        """Call a function on rank 0 first, for example a download that all ranks need, and then on the others."""
        return function()

    def settle(self, threads: int | None) -> None:
        """Choose the cores that this rank computes on; threads: its number of threads, if the user gave one."""

    def serve(self, kernels: Any) -> None:
        """From now on, sum arrays of this device."""

    def begin(self, hint: str) -> None:
        """Begin the training, in which each rank waits for the others; hint: how to continue if it breaks off."""

    def end(self) -> None:
        """End the training: the ranks do not wait for each other any more."""


ALONE = Communicator()
