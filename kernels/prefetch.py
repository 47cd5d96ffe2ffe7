"""Prefetching: none here; each batch is built when it is requested, so that a debugger can follow it."""

from collections.abc import Callable, Iterable
from typing import Any

from minidl.kernels.errors import MinidlError

BUFFERS = 1  # results that exist at a time


class Prefetcher:
    """Calls ``make(buffer, request)`` when its result is requested."""

    def __init__(self, make: Callable[[int, Any], Any]) -> None:
        self._make = make
        self._requests: list[Any] = []

    def stop(self) -> None:
        """Drop the remaining requests."""
        self._requests = []

    def start(self, requests: Iterable[Any]) -> None:
        """Begin with the first of the requests; ``next`` must ask for them in this order."""
        self._requests = list(requests)

    def next(self, request: Any) -> Any:
        """Return ``make(0, request)``; raise MinidlError if another request is the next one, or none is left."""
        if request != self._expected():
            raise not_next(self._expected(), request)
        del self._requests[0]
        return self._make(0, request)

    def _expected(self) -> Any:
        return self._requests[0] if self._requests else "none"


def not_next(expected: Any, request: Any) -> MinidlError:
    """Return the message about a request that is not the expected one."""
    return MinidlError(
        f"the next batch is {expected}, and not {request}; begin an epoch by shuffle(random), and ask for its batches "
        "in the order of the sizes that it returns"
    )
