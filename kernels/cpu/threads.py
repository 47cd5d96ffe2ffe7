"""Threads: the work of one operation is shared among the processor's cores.

An operation splits its leading axis (mostly the samples of a batch) into contiguous shares, one for each worker.
NumPy and BLAS release the interpreter's lock (GIL) while they compute, so threads are enough. BLAS itself is limited to
one thread: only the workers run in parallel, and a share's arrays stay in the cache of the core that computed them.

The shares depend only on the number of workers, so sums over shares are repeatable to the last bit.
Compiled loops are divided into the same shares, but run on Numba's threads (see numba_compiler.py).

Several threads of a program may call operations at a time: each has its own scratch memory, and a helper finishes one
thread's share before it takes the next one. Threads do not survive a fork, and those of OpenMP cannot be restarted: a
process that was forked after its parent had computed has a single worker.
"""

import os
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from threading import Lock, Thread

from threadpoolctl import threadpool_limits

from minidl.kernels.arguments import whole
from minidl.kernels.cpu import scratch
from minidl.kernels.cpu.calls import add_call
from minidl.kernels.errors import MinidlError

Work = Callable[[int, int, int], None]
_Done = SimpleQueue[BaseException | None]
_Task = tuple[Context, scratch.Buffers, Work, tuple[int, int, int], _Done]


class _Helper:
    """A thread that runs one share after another, for as long as the program runs."""

    def __init__(self, cores: set[int]) -> None:
        self._cores = cores
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        Thread(target=self._run, name="minidl", daemon=True).start()

    def start(self, work: Work, share: tuple[int, int, int]) -> _Done:
        """Begin with a share; when it is done, the returned queue gets its exception or None."""
        done: _Done = SimpleQueue()
        # In the caller's context, so that the caller's np.errstate holds for the helpers as well.
        self._tasks.put((copy_context(), scratch.buffers(), work, share, done))
        return done

    def end(self) -> None:
        """Let the thread end after its current share."""
        self._tasks.put(None)

    def _run(self) -> None:
        _move_to(self._cores)
        while (task := self._tasks.get()) is not None:
            context, buffers, work, share, done = task
            raised: BaseException | None = None
            scratch.work_in(buffers)
            try:
                context.run(work, *share)
            except BaseException as error:
                raised = error
            # An idle helper must not keep the operation's arrays alive.
            scratch.work_in({})
            del task, context, buffers, work, share
            done.put(raised)
            del done, raised


class _Team:
    """The workers; worker 0 is the caller's own thread.

    With one worker for each core, every worker stays on its own core. Otherwise Linux would wake a helper on the core
    of the thread that woke it, and might let both share this core for a long time while another core is idle.
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
_team_lock = Lock()  # while the team changes, and while the shares of an operation are handed out
_forked = False  # whether this process was forked after its parent had computed


def _usable_cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _move_to(cores: set[int]) -> None:
    """Let the calling thread run only on these cores, if the operating system supports this."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def available_cores() -> int:
    """Return how many cores this process may use, which can be fewer than the machine has."""
    return len(_usable_cores())


def set_workers(size: int) -> None:
    """Use ``size`` worker threads from now on (the default is one for each core).

    Raises MinidlError unless that is a whole number of at least 1, and for more than one in a process that was forked
    after its parent had computed.
    """
    size = whole("the number of worker threads", size)
    if _forked and size > 1:
        raise MinidlError(
            f"this process was forked from one that had computed, and works on one core instead of {size}, because "
            "threads do not survive a fork; start it by multiprocessing's method spawn for more"
        )
    with _team_lock:
        _start_team(size)


def _start_team(size: int) -> _Team:
    global _team
    if _team is not None:
        for helper in _team.helpers:
            helper.end()
    _team = _Team(size)
    return _team


def _present() -> _Team:
    """Return the team, and start it if there is none; ``_team_lock`` must be locked."""
    return _team or _start_team(1 if _forked else available_cores())


def workers() -> int:
    """Return the number of worker threads."""
    team = _team
    if team is None:
        with _team_lock:
            team = _present()
    return team.size


def _after_fork() -> None:
    """Forget the threads, which the child of a fork does not have."""
    global _team, _team_lock, _forked
    _team_lock = Lock()
    _team, _forked = None, _forked or _team is not None


os.register_at_fork(after_in_child=_after_fork)


def describe() -> str:
    """Return a short description: how many of the available cores compute."""
    return f"CPU, {workers()} of {available_cores()} cores"


def shares(count: int, minimum: int = 1) -> list[tuple[int, int, int]]:
    """Return (worker, start, stop) of contiguous shares of ``range(count)``, none smaller than ``minimum``."""
    return _shares(workers(), count, minimum)


def _shares(workers: int, count: int, minimum: int) -> list[tuple[int, int, int]]:
    parts = max(1, min(workers, count // max(minimum, 1)))
    bounds = [count * part // parts for part in range(parts + 1)]
    return [(part, bounds[part], bounds[part + 1]) for part in range(parts)]


def share(work: Work, count: int, minimum: int = 1) -> None:
    """Call ``work(worker, start, stop)`` on contiguous shares of ``range(count)``, one for each worker.

    ``minimum`` is the smallest share worth waking a thread for. Returns when every share is done; an exception
    of any share is raised here.
    """
    add_call(share, work, count, minimum)
    with _team_lock:
        team = _present()
        own, *others = _shares(team.size, count, minimum)
        pending = [helper.start(work, part) for part, helper in zip(others, team.helpers, strict=False)]
    if not pending:
        work(*own)
        return
    _move_to(team.caller_cores)
    try:
        work(*own)
    finally:
        errors = [done.get() for done in pending]
        _move_to(team.all_cores)
    for error in errors:
        if error is not None:
            raise error
