"""Calls that compute, compiled loops and work shared among threads, and who wants to know of them (see tape.py)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

Call = tuple[Callable[..., None], tuple[Any, ...]]


class _Mine(local):
    """What the running thread writes its calls down on, if anything."""

    def __init__(self) -> None:
        self.calls: list[Call] | None = None


_mine = _Mine()


def note(function: Callable[..., None], *arguments: Any) -> None:
    """Write a call down, where anybody wants to know of it."""
    if _mine.calls is not None:
        _mine.calls.append((function, arguments))


@contextmanager
def noted() -> Iterator[list[Call]]:
    """Write down the calls that this thread makes in the block."""
    calls: list[Call] = []
    before, _mine.calls = _mine.calls, calls
    try:
        yield calls
    finally:
        _mine.calls = before
