"""Record the calls that compute: compiled loops and work shared among threads (see tape.py)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local
from typing import Any

Calls = list[tuple[Callable[..., None], tuple[Any, ...]]]


@dataclass
class Captured:
    """Functions with their arguments, in order, and the objects that must live as long as they may be called.

    whole: True if these calls are all that computes, and nothing between them depends on the data.
    """

    calls: Calls = field(default_factory=list)
    alive: list[Any] = field(default_factory=list)
    whole: bool = True


class _Mine(local):
    """Where the running thread records its calls, or None."""

    def __init__(self) -> None:
        self.captured: Captured | None = None


_mine = _Mine()


def add_call(function: Callable[..., None], *arguments: Any) -> None:
    """Record a call, if this thread records."""
    if _mine.captured is not None:
        _mine.captured.calls.append((function, arguments))


def compute_between() -> None:
    """Report that NumPy computes with the data here, which cannot be recorded as a call."""
    if _mine.captured is not None:
        _mine.captured.whole = False


def keep_alive(*things: Any) -> None:
    """Keep objects alive with the recorded calls, which have only their addresses."""
    if _mine.captured is not None:
        _mine.captured.alive.append(things)


@contextmanager
def capture() -> Iterator[Captured]:
    """Record the calls of this thread in the block."""
    before, _mine.captured = _mine.captured, Captured()
    try:
        yield _mine.captured
    finally:
        _mine.captured = before
