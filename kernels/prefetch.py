"""Prefetching: none here; each batch is built when it is requested, so that a debugger can follow it."""

from collections.abc import Callable, Iterable
from typing import Any

BUFFERS = 1  # results that exist at a time


class Prefetcher:
    """Calls ``make(buffer, request)`` when its result is requested."""

    def __init__(self, make: Callable[[int, Any], Any]) -> None:
        self._make = make

    def stop(self) -> None:
        """Do nothing: no request is pending."""

    def start(self, requests: Iterable[Any]) -> None:
        """Do nothing: ``next`` names each request again."""

    def next(self, request: Any) -> Any:
        """Return ``make(0, request)``."""
        return self._make(0, request)
