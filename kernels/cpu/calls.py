"""Record the calls that compute, compiled loops and work shared among threads, for tape.py to replay."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local
from typing import Any

Calls = list[tuple[Callable[..., None], tuple[Any, ...]]]


@dataclass
class Captured:
    """Functions with their arguments, in order, and the objects that must stay alive as long as these may be called.

    whole: True if these calls do all the computing, so that nothing between them depends on the data.
    """

    calls: Calls = field(default_factory=list)
    alive: list[Any] = field(default_factory=list)
    whole: bool = True


class _Mine(local):
    """Where the current thread records its calls, or None."""

    def __init__(self) -> None:
        self.captured: Captured | None = None


_mine = _Mine()


def add_call(function: Callable[..., None], *arguments: Any) -> None:
    """Record a call, if this thread is recording."""
    if _mine.captured is not None:
        _mine.captured.calls.append((function, arguments))


def compute_between() -> None:
    """Report that NumPy computes with the data here, which cannot be recorded as a call."""
    if _mine.captured is not None:
        _mine.captured.whole = False


def keep_alive(*things: Any) -> None:
    """Keep objects alive as long as the recorded calls, which contain only addresses."""
    if _mine.captured is not None:
        _mine.captured.alive.append(things)


@contextmanager
def capture() -> Iterator[Captured]:
    """Record the calls that this thread makes inside the ``with`` block."""
    before, _mine.captured = _mine.captured, Captured()
    try:
        yield _mine.captured
    finally:
        _mine.captured = before
