"""Runs in their own processes, some at a time: each is begun, or resumed, or skipped if it has finished."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from minidl.experiment.cli.stop import HungUp, Terminated, interrupts
from minidl.experiment.options import Options, as_words
from minidl.experiment.ranks import launcher
from minidl.experiment.ranks.cores import place, sharing_cores
from minidl.experiment.saving.records import CONFIG, read_result
from minidl.kernels.cpu.threads import available_cores
from minidl.method import parse

LOOK = 0.5  # seconds between two checks of the running processes
RUNNING: set[subprocess.Popen[str]] = set()


def finished(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; return its exit status and its output."""
    env = launcher.for_a_child(os.environ)
    env["PYTHONSAFEPATH"] = "1"  # Python 3.11: do not import modules from the current folder
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True, errors="replace") as process:
        RUNNING.add(process)
        try:
            printed = process.communicate()
        except KeyboardInterrupt as interrupt:
            _end(process, interrupt)  # a launcher signals its ranks, but not their children
            raise
        finally:
            RUNNING.discard(process)
    return subprocess.CompletedProcess(command, process.returncode, *printed)


def _end(process: subprocess.Popen[str], interrupt: KeyboardInterrupt) -> None:
    """Let a process save and end; one that has seen its terminal closed must not take this for a second interrupt."""
    process.send_signal(signal.SIGHUP if isinstance(interrupt, HungUp) else signal.SIGTERM)


@dataclass(frozen=True)
class ProcessRun:
    """A training in its own process.

    title: its name in messages; folder: where its record is; options: of ``minidl train``, for a new run; a
    resumed run gets only its ``--import``.
    """

    title: str
    folder: Path
    options: Options

    @property
    def result(self) -> dict[str, Any] | None:
        """The result, None if the run has not finished."""
        return read_result(self.folder)

    def carry_out(self, surroundings: Options) -> str:
        """Train, unless it has finished; return the error, or "".

        surroundings: options that a resumed run also gets.
        """
        if self.result is not None:
            return ""
        words = as_words(self._place() | surroundings)
        done = finished([sys.executable, "-m", "minidl", "train", "--quiet", *words])
        if done.returncode == 0:
            return ""
        said = done.stderr.strip().splitlines() or [f"its run ended with status {done.returncode} and said nothing"]
        return f"{self.title}: {said[-1]}"

    def _place(self) -> Options:
        if (self.folder / CONFIG).exists():
            return {"resume": self.folder, "import": self.options.get("import")}
        return self.options | {"out": self.folder}


Run = TypeVar("Run", bound=ProcessRun)


def carry_out(
    runs: Sequence[Run],
    jobs: int,
    surroundings: Options,
    ended: Callable[[Run], None],
    look: Callable[[], None] = lambda: None,
    fits: Callable[[Run], bool] = lambda run: True,
) -> list[str]:
    """Carry out the runs, ``jobs`` at a time, which share the cores, or as many as there are other ranks.

    surroundings: options of all runs; ended: called with each run that has ended; look: called now and then; fits:
    whether to begin a run when its turn comes, or to skip it. Returns the errors of the runs. If this process is told
    to end, it ends the runs, too, and waits until they have saved.
    """
    errors: list[str] = []
    pool, task, places = _workers(jobs)
    left = iter(runs)
    going_on: dict[Future[str], Run] = {}
    try:
        while True:
            for run in islice(filter(fits, left), places - len(going_on)):
                going_on[pool.submit(task, run, surroundings)] = run
            if not going_on:
                return errors
            for future in wait(going_on, LOOK, FIRST_COMPLETED).done:
                errors += filter(None, [future.result()])
                ended(going_on.pop(future))
            look()
    except (Terminated, HungUp) as interrupt:
        for process in tuple(RUNNING):
            _end(process, interrupt)  # Ctrl-C reaches them anyway, as they share the terminal
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _workers(jobs: int) -> tuple[Executor, Callable[[ProcessRun, Options], str], int]:
    """Return an executor of parallel tasks (threads or ranks), the task for each run, and the number of workers."""
    if launcher.gives_tasks():
        from mpi4py.futures import MPIPoolExecutor

        pool = MPIPoolExecutor(initializer=_shares)
        return pool, _on_a_rank, pool.num_workers
    return ThreadPoolExecutor(jobs), partial(_with_a_share, shares=jobs), jobs


def _on_a_rank(run: ProcessRun, surroundings: Options) -> str:
    with interrupts():
        return _with_a_share(run, surroundings, _shares())


@cache
def _shares() -> int:
    """Return how many of the ranks that carry out runs share cores with this one; all call it first, together."""
    from mpi4py.futures import get_comm_workers

    workers = get_comm_workers()  # without the rank that gives out the runs, which needs no core
    return len(sharing_cores(workers.allgather(place()), workers.Get_rank()))


def _with_a_share(run: ProcessRun, surroundings: Options, shares: int) -> str:
    """Carry out a run with its share of the threads, or of the cores of its host."""
    threads = surroundings.get("threads") or available_cores()
    return run.carry_out(surroundings | {"threads": max(1, threads // shares)})


@contextmanager
def going_on_when_called_again() -> Iterator[None]:
    """Say what to do after an interrupt."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)("call it again to continue where it stopped") from None


def slug(method: str) -> str:
    """Return a method as a part of a folder's name: the same for all its spellings, different for other methods.

    >>> slug("gc, weight channel"), slug("WC")
    ('weight-channel_gc', 'wc')
    """
    names = re.sub("[-_]", r"=\g<0>", str(parse(method).canonical()).lower())  # mark the - and _ of names
    return names.replace(", ", "_").replace(" ", "-")
