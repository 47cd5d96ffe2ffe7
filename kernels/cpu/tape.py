"""Tape: the recorded calls of a function, which can be replayed without the Python code between them."""

from collections.abc import Callable
from typing import Any

from minidl.kernels.cpu import scratch
from minidl.kernels.cpu.calls import capture
from minidl.kernels.cpu.loops import current
from minidl.kernels.cpu.threads import workers


class Tape:
    """The calls that ``function()`` made, compiled loops and shared work, to replay by this thread in the same memory.

    What NumPy computes between them is not replayed. whole: True if this does not depend on the data, so that a replay
    gives the right result.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        with capture() as self._captured:
            function()
        self.whole = self._captured.whole
        self._calls = current().joined(self._captured.calls)
        self._version = _version()

    def holds(self) -> bool:
        """Return whether the calls are still valid: scratch memory may have moved since."""
        return self._version == _version()

    def play(self) -> None:
        """Repeat the calls."""
        for function, arguments in self._calls:
            function(*arguments)


def _version() -> tuple[Any, ...]:
    return workers(), *((owner, *scratch.version(owner)) for owner in scratch.buffers())
