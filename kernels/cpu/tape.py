"""Tape: the calls by which a function computes, to make them again without the Python between them."""

from collections.abc import Callable
from typing import Any

from minidl.kernels.cpu import scratch
from minidl.kernels.cpu.calls import capture
from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.threads import workers


class Tape:
    """The calls of ``function()``, for the same thread and the same memory: compiled loops, and work that is shared.

    What NumPy does between them is not on it. whole: whether that depends on nothing but the weights.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        with capture() as self._captured:
            function()
        self.whole = self._captured.whole
        self._calls = current().joined(self._captured.calls)
        self._version = _version()

    def holds(self) -> bool:
        """Return whether the calls are still the function's: scratch memory may have moved since."""
        return self._version == _version()

    def play(self) -> None:
        """Make the calls."""
        for function, arguments in self._calls:
            function(*arguments)


def _version() -> tuple[Any, ...]:
    return workers(), *((owner, *scratch.version(owner)) for owner in scratch.buffers())
