"""Shares the work of one operation among the processor's cores.

An operation splits its leading axis (the samples of a batch, mostly) into contiguous shares, one for each worker.
NumPy and BLAS release the interpreter's lock while they compute, so threads are enough. BLAS itself is held to
one thread: the workers are the only parallelism, and a share's arrays stay in the cache of the core that made them.

The shares depend on nothing but the number of workers, so that sums over shares are repeatable to the last bit.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits

Work = Callable[[int, int, int], None]


class _Team:
    """The worker threads; worker 0 is the caller's own thread."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.helpers = ThreadPoolExecutor(size - 1, thread_name_prefix="minidl") if size > 1 else None
        self.blas_limit = threadpool_limits(limits=1, user_api="blas")


_team: _Team | None = None


def available_cores() -> int:
    """Return how many cores this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_workers(size: int) -> None:
    """Use ``size`` worker threads from now on (the default is one for each core)."""
    global _team
    if size < 1:
        raise ValueError(f"the number of worker threads must be at least 1, not {size}")
    _team = _Team(size)


def workers() -> int:
    """Return the number of worker threads."""
    if _team is None:
        set_workers(available_cores())
    assert _team is not None
    return _team.size


def share(work: Work, count: int, least: int = 1) -> None:
    """Call ``work(worker, start, stop)`` on contiguous shares of ``range(count)``, one for each worker.

    ``least`` is the smallest share worth waking a thread for. Returns when every share is done; an exception
    of any share is raised here.
    """
    parts = max(1, min(workers(), count // max(least, 1)))
    if parts == 1:
        work(0, 0, count)
        return
    assert _team is not None
    assert _team.helpers is not None
    bounds = [count * part // parts for part in range(parts + 1)]
    pending = [_team.helpers.submit(work, part, bounds[part], bounds[part + 1]) for part in range(1, parts)]
    try:
        work(0, bounds[0], bounds[1])
    finally:
        for future in pending:
            future.exception()
    for future in pending:
        future.result()
