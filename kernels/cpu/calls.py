"""Calls that compute, compiled loops and work shared among threads, and who wants to know of them (see tape.py)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local
from typing import Any

Calls = list[tuple[Callable[..., None], tuple[Any, ...]]]


@dataclass
class Captured:
    """Functions with their arguments, in their order, and what must live as long as they may be called.

    whole: whether they are all that computes, and nothing between them depends on the data.
    """

    calls: Calls = field(default_factory=list)
    alive: list[Any] = field(default_factory=list)
    whole: bool = True


class _Mine(local):
    """What the running thread writes its calls down on, if anything."""

    def __init__(self) -> None:
        self.captured: Captured | None = None


_mine = _Mine()


def add_call(function: Callable[..., None], *arguments: Any) -> None:
    """Write a call down, where anybody wants to know of it."""
    if _mine.captured is not None:
        _mine.captured.calls.append((function, arguments))


def compute_between() -> None:
    """Tell that NumPy computes something of the data here, which is no call."""
    if _mine.captured is not None:
        _mine.captured.whole = False


def keep_alive(*things: Any) -> None:
    """Keep alive, with the calls, things that they know by their addresses alone."""
    if _mine.captured is not None:
        _mine.captured.alive.append(things)


@contextmanager
def capture() -> Iterator[Captured]:
    """Write down the calls that this thread makes in the block."""
    before, _mine.captured = _mine.captured, Captured()
    try:
        yield _mine.captured
    finally:
        _mine.captured = before
