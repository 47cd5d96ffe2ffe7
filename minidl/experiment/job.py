"""Job: a command that runs on several ranks, from its start to its end, be that what was asked for or not.

Before the training, a rank that fails tells the others in the place of what they wait for; all end, and rank 0 says
why. In the training the others wait in the middle of a sum, and the rank that fails ends them. Where no rank can say
anything any more, as launchers end all when one was killed, a process says it that looks on.
"""

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NoReturn

from minidl.communicator import Communicator
from minidl.experiment import launcher
from minidl.experiment.command import Command, sentence_of
from minidl.experiment.cores import beside, place
from minidl.experiment.stop import status_of
from minidl.kernels.errors import MinidlError
from minidl.mpi import SILENCE, MPICommunicator, Pulse
from minidl.words import counted, printable

LOOK_ON = "import sys\nlast = ''\nfor last in sys.stdin: pass\nif last.strip(): sys.stderr.write(last)"
SAYS_FIRST = 5.0  # seconds in which rank 0 can end the others before they say themselves what has happened


@contextmanager
def job(command: Command, threads: int | None) -> Iterator[tuple[Communicator, Command]]:
    """Give the ranks of a command, and the command as it is called again on them; without a launcher, one rank alone.

    threads: of each rank, where they were asked for.
    """
    rank, size = launcher.told()
    if size == 1:
        yield Communicator(), command
        return
    if launcher.gives_tasks():
        raise MinidlError(f"ranks train together without -m {launcher.FUTURES}; leave it out")
    command = replace(command, call=f"{launcher.call(size)} {command.call}")
    onlooker = Onlooker(rank)
    with launcher.one_voice(rank):
        try:
            ranks = Job(size, command, threads, onlooker)
        except Exception:
            if rank:
                raise SystemExit(2) from None
            raise
        try:
            yield ranks, command
        except BaseException as error:
            ranks.broken(error)
            if rank:
                raise SystemExit(status_of(error)) from None
            raise
        finally:
            onlooker.say("")
            ranks.pulse.stop()


class Job(MPICommunicator):
    """The ranks of a command, of which this process is one."""

    def __init__(self, expected: int, command: Command, threads: int | None, onlooker: "Onlooker") -> None:
        super().__init__(expected)
        self.command, self.onlooker = command, onlooker
        self.training, self.over = False, False
        self.begin_hint("the run had not begun")
        self.words = (self._place(threads),)
        self.pulse = Pulse(self, self.lost)

    def begin_hint(self, hint: str) -> None:
        """Let this be what is said at the end of a job that breaks."""
        self.hint = hint
        self.onlooker.say(f"{self.command.name}: one of {self.size} ranks was ended, and the job with it; {hint}")

    def begin(self, hint: str) -> None:
        """Tell that the training begins; hint: how to go on if it breaks."""
        self.training = True
        self.begin_hint(hint)

    def end(self) -> None:
        """Tell that the ranks do not wait for each other any more."""
        self.training, self.over = False, True

    def broken(self, error: BaseException) -> None:
        """Let an error that ends this rank end the others as well."""
        interrupted = isinstance(error, KeyboardInterrupt)
        # An interrupt may come to ranks at different places, where what one of them tells, another would not hear.
        if self.training or (interrupted and not self.over):
            what = "interrupted" if interrupted else sentence_of(error) or "".join(traceback.format_exception(error))
            self.fail(what, status_of(error))
        elif not (self.over or self.failed):
            self.tell(sentence_of(error) or f"{type(error).__name__}: {error}")

    def lost(self) -> NoReturn:
        """End all that can be reached, as a rank cannot."""
        if self.rank:
            time.sleep(SAYS_FIRST)
        self.fail(f"a rank gave no sign of life for {SILENCE:.0f} s: it was ended, or the link to it is cut", 2)

    def fail(self, what: str, status: int) -> NoReturn:
        """Say what has happened, and end all ranks."""
        self.onlooker.say("")
        with suppress(OSError):
            os.write(2, f"{self.command.name}: rank {self.rank}: {printable(what)}; {self.hint}\n".encode())
        threading.Timer(SAYS_FIRST, os._exit, (status,)).start()  # where the launcher cannot be reached
        self.abort(status)
        os._exit(status)

    def _place(self, threads: int | None) -> str:
        """Give this rank cores of its own, unless launcher or user have; return what to say of all ranks.

        All threads that start later stay on these cores, and are as many.
        """
        places = self.gather(place())
        host, own = places[self.rank]
        mine = [rank for rank, other in enumerate(places) if other.host == host]
        self.here = mine.index(self.rank)
        where = f"{self.size} ranks on {counted(len({place.host for place in places}), 'host')}"
        sharing = beside(places, self.rank)
        if len(sharing) == 1 < len(mine):
            return f"{where}, each bound by the launcher to cores of its own: {len(own)} for rank 0"
        if threads or not hasattr(os, "sched_setaffinity"):
            return where
        together = sorted(set().union(*(places[rank].cores for rank in sharing)))
        each = max(1, len(together) // len(sharing))
        start = sharing.index(self.rank) * each % len(together)
        os.sched_setaffinity(0, set(together[start : start + each]))
        alone = "of its own" if len(sharing) * each <= len(together) else "that it shares with others"
        return f"{where}, each with {counted(each, 'thread')} on {'a core' if each == 1 else 'cores'} {alone}"


class Onlooker:
    """A process of its own, which says the last that it was told when rank 0 has ended, whatever has ended it."""

    def __init__(self, rank: int) -> None:
        self.process: subprocess.Popen[str] | None = None
        if rank == 0:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", LOOK_ON],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
                env=launcher.for_a_child(os.environ),
            )

    def say(self, text: str) -> None:
        """Let this be the last, or nothing."""
        if self.process and self.process.stdin:
            with suppress(OSError):
                self.process.stdin.write(text + "\n")
                self.process.stdin.flush()
