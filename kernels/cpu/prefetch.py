"""Prefetching: build the next batch in a background thread while the current one is in use."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from weakref import WeakSet

from minidl.kernels.cpu.threads import workers
from minidl.kernels.prefetch import not_next

BUFFERS = 2  # results that exist at a time: the one in use and the one that is being built


class Prefetcher:
    """Calls ``make(buffer, request)`` in the background; a result stays valid until its buffer's next turn."""

    def __init__(self, make: Callable[[int, Any], Any]) -> None:
        workers()  # started in this thread, because the thread that starts them also limits BLAS's threads
        self._make, self._buffer = make, 0
        self.restart()
        _all.add(self)

    def restart(self) -> None:
        """Start a new thread, as in the child of a fork, which has no thread of its parent."""
        self._thread = ThreadPoolExecutor(1, "minidl-prefetch")
        self._requests: Iterator[Any] = iter(())
        self._pending: tuple[Any, Future[Any]] | None = None

    def stop(self) -> None:
        """Drop the remaining requests, and wait for the current one."""
        if self._pending is not None:
            self._pending[1].exception()
        self._requests, self._pending = iter(()), None

    def start(self, requests: Iterable[Any]) -> None:
        """Begin with the first of the requests; ``next`` must ask for them in this order."""
        self.stop()
        self._requests = iter(requests)
        self._submit_next()

    def next(self, request: Any) -> Any:
        """Return the result for the request, or raise its error, and begin with the next request."""
        expected, future = self._pending or ("none", None)
        if future is None or request != expected:
            raise not_next(expected, request)
        result = future.result()
        self._submit_next()
        return result

    def _submit_next(self) -> None:
        request = next(self._requests, None)
        self._buffer = (self._buffer + 1) % BUFFERS
        self._pending = None if request is None else (request, self._thread.submit(self._make, self._buffer, request))


_all: WeakSet[Prefetcher] = WeakSet()


def _after_fork() -> None:
    for prefetcher in _all:
        prefetcher.restart()


os.register_at_fork(after_in_child=_after_fork)
