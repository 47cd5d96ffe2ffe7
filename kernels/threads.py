"""Shares the work of one operation among the processor's cores.

An operation splits its leading axis (the samples of a batch, mostly) into contiguous shares, one for each worker.
NumPy and BLAS release the interpreter's lock while they compute, so threads are enough. BLAS itself is held to
one thread: the workers are the only parallelism, and a share's arrays stay in the cache of the core that made
them.

The shares depend on nothing but the number of workers, so that sums over shares are repeatable to the last bit.
Compiled loops are divided into the same shares, but have threads of their own (see numba_compiler.py).
"""

import os
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from threading import Thread

import numpy as np
from threadpoolctl import threadpool_limits

Work = Callable[[int, int, int], None]
_Done = SimpleQueue[BaseException | None]
_Task = tuple[Context, Work, tuple[int, int, int], _Done]


class _Helper:
    """A thread that runs one share after another, for as long as the program runs."""

    def __init__(self, cores: set[int]) -> None:
        self._cores = cores
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        Thread(target=self._run, name="minidl", daemon=True).start()

    def start(self, work: Work, share: tuple[int, int, int]) -> _Done:
        """Begin with a share; the queue returned gets what it raised, or None, when it is done."""
        done: _Done = SimpleQueue()
        # In the caller's context, np.errstate holds for the helpers as well.
        self._tasks.put((copy_context(), work, share, done))
        return done

    def end(self) -> None:
        """Let the thread end after the share that it is at."""
        self._tasks.put(None)

    def _run(self) -> None:
        _move_to(self._cores)
        # Overflow is a result, not a warning: the caller sees it in its numbers.
        np.seterr(over="ignore", invalid="ignore")
        while (task := self._tasks.get()) is not None:
            context, work, share, done = task
            raised: BaseException | None = None
            try:
                context.run(work, *share)
            except BaseException as error:
                raised = error
            # A helper that is done must not keep the operation's arrays alive.
            del task, context, work, share
            done.put(raised)
            del done, raised


class _Team:
    """The workers; worker 0 is the caller's own thread.

    Where there is one worker for each core, every worker stays on a core of its own. Left alone, Linux wakes a
    helper on the core of the thread that woke it and may let both share this core for a long time while another
    one is idle.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        cores = sorted(_usable_cores())
        self.all_cores = set(cores)
        placed = size == len(cores) and size > 1
        self.caller_cores = {cores[0]} if placed else self.all_cores
        self.helpers = [_Helper({cores[i]} if placed else self.all_cores) for i in range(1, size)]
        self.blas_limit = threadpool_limits(limits=1, user_api="blas")


_team: _Team | None = None


def _usable_cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _move_to(cores: set[int]) -> None:
    """Let the calling thread run on these cores only, where the operating system can be told."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def available_cores() -> int:
    """Return how many cores this process may use, which can be fewer than the machine has."""
    return len(_usable_cores())


def set_workers(size: int) -> None:
    """Use ``size`` worker threads from now on (the default is one for each core)."""
    global _team
    if size < 1:
        raise ValueError(f"the number of worker threads must be at least 1, not {size}")
    if _team is not None:
        for helper in _team.helpers:
            helper.end()
    _team = _Team(size)


def workers() -> int:
    """Return the number of worker threads."""
    if _team is None:
        set_workers(available_cores())
    assert _team is not None
    return _team.size


def about() -> str:
    """Say how many cores compute."""
    return f"CPU, {workers()} of {available_cores()} cores"


def shares(count: int, least: int = 1) -> list[tuple[int, int, int]]:
    """Return (worker, start, stop) of contiguous shares of ``range(count)``, none smaller than ``least``."""
    parts = max(1, min(workers(), count // max(least, 1)))
    bounds = [count * part // parts for part in range(parts + 1)]
    return [(part, bounds[part], bounds[part + 1]) for part in range(parts)]


def share(work: Work, count: int, least: int = 1) -> None:
    """Call ``work(worker, start, stop)`` on contiguous shares of ``range(count)``, one for each worker.

    ``least`` is the smallest share worth waking a thread for. Returns when every share is done; an exception
    of any share is raised here.
    """
    own, *others = shares(count, least)
    if not others:
        work(*own)
        return
    assert _team is not None
    pending = [helper.start(work, part) for part, helper in zip(others, _team.helpers, strict=False)]
    _move_to(_team.caller_cores)
    try:
        work(*own)
    finally:
        errors = [done.get() for done in pending]
        _move_to(_team.all_cores)
    for error in errors:
        if error is not None:
            raise error
