"""Calls that compute, compiled loops and work shared among threads, and who wants to know of them (see tape.py)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local
from typing import Any

Calls = list[tuple[Callable[..., None], tuple[Any, ...]]]


@dataclass
class Noted:
    """Functions with their arguments, in their order, and what must live as long as they may be called."""

    calls: Calls = field(default_factory=list)
    held: list[Any] = field(default_factory=list)


class _Mine(local):
    """What the running thread writes its calls down on, if anything."""

    def __init__(self) -> None:
        self.noted: Noted | None = None


_mine = _Mine()


def note(function: Callable[..., None], *arguments: Any) -> None:
    """Write a call down, where anybody wants to know of it."""
    if _mine.noted is not None:
        _mine.noted.calls.append((function, arguments))


def hold(*things: Any) -> None:
    """Keep alive, with the calls, things that they know by their addresses alone."""
    if _mine.noted is not None:
        _mine.noted.held.append(things)


@contextmanager
def noted() -> Iterator[Noted]:
    """Write down the calls that this thread makes in the block."""
    before, _mine.noted = _mine.noted, Noted()
    try:
        yield _mine.noted
    finally:
        _mine.noted = before
