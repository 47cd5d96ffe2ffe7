"""Nothing is made ahead of time: each batch is made when it is asked for, where a debugger sees it."""

from collections.abc import Callable, Iterable
from typing import Any

TURNS = 1  # results that exist at a time


class Prefetcher:
    """Calls ``make(turn, request)`` when the result is asked for."""

    def __init__(self, make: Callable[[int, Any], Any]) -> None:
        self._make = make

    def stop(self) -> None:
        """Do nothing: nothing is worked on."""

    def start(self, requests: Iterable[Any]) -> None:
        """Do nothing: ``next`` says again what is wanted."""

    def next(self, request: Any) -> Any:
        """Make what is wanted."""
        return self._make(0, request)
