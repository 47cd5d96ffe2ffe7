"""Tape: the compiled calls that a function makes, to make them again without the Python between them."""

from collections.abc import Callable
from threading import local
from typing import Any

from minidl.kernels.cpu import scratch
from minidl.kernels.cpu.threads import workers

Call = tuple[Callable[..., None], tuple[Any, ...]]


class _Mine(local):
    """What the running thread writes its calls down on, if anything."""

    def __init__(self) -> None:
        self.calls: list[Call] | None = None


_mine = _Mine()


def note(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Write a compiled call down, where anybody asked for it."""
    if _mine.calls is not None:
        _mine.calls.append((function, arguments))


class Tape:
    """The compiled calls of ``function()``, in the same thread and on the same memory; NumPy's are not among them."""

    def __init__(self, function: Callable[[], Any]) -> None:
        calls: list[Call] = []
        before, _mine.calls = _mine.calls, calls
        try:
            function()
        finally:
            _mine.calls = before
        self._calls, self._version = calls, _version()

    def holds(self) -> bool:
        """Return whether the calls are still the function's: scratch memory may have moved since."""
        return self._version == _version()

    def play(self) -> None:
        """Make the calls."""
        for function, arguments in self._calls:
            function(*arguments)


def _version() -> tuple[Any, ...]:
    return workers(), *((owner, *scratch.version(owner)) for owner in scratch.buffers())
