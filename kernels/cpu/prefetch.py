"""What is needed next is made while what was made before is in use, in a thread of its own."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from weakref import WeakSet

from minidl.kernels.cpu.threads import workers

TURNS = 2  # results that exist at a time: the one in use and the one that is being made


class Prefetcher:
    """Calls ``make(turn, request)`` ahead of time; what it returns for a turn must hold until that turn comes again."""

    def __init__(self, make: Callable[[int, Any], Any]) -> None:
        workers()  # here, not in a thread of ours: who hires them has a say in BLAS's threads for ever (threadpoolctl)
        self._make, self._turn = make, 0
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """Begin anew with a thread of this process, as in the child of a fork, which has none of its parent's."""
        self._thread = ThreadPoolExecutor(1, "minidl-ahead")
        self._requests: Iterator[Any] = iter(())
        self._coming: tuple[Any, Future[Any]] | None = None

    def stop(self) -> None:
        """Forget the requests that are left, and wait until none is worked on."""
        if self._coming is not None:
            self._coming[1].exception()
        self._requests, self._coming = iter(()), None

    def start(self, requests: Iterable[Any]) -> None:
        """Begin with the first of some requests, which ``next`` must ask for in this order."""
        self.stop()
        self._requests = iter(requests)
        self._go_on()

    def next(self, request: Any) -> Any:
        """Return what was made for the request, raise what that raised, and begin with the one after it."""
        assert self._coming is not None, "nothing was started"
        expected, coming = self._coming
        assert request == expected, f"{request} comes before its turn: {expected} is next"
        made = coming.result()
        self._go_on()
        return made

    def _go_on(self) -> None:
        request = next(self._requests, None)
        self._turn = (self._turn + 1) % TURNS
        self._coming = None if request is None else (request, self._thread.submit(self._make, self._turn, request))


_all: WeakSet[Prefetcher] = WeakSet()


def _after_fork() -> None:
    for ahead in _all:
        ahead.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
