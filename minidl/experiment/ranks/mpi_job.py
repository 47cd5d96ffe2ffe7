"""Ranks of a command, which look after each other: what one of them raises, or that it is lost, ends them all.

Before the training, a rank that fails tells the others in the place of what they wait for; all end, and rank 0 says
why. In the training the others wait in the middle of a sum, and the rank that fails ends them. Where no rank can say
anything any more, as launchers end all when one was killed, a process says it that looks on.
"""

import atexit
import os
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import NoReturn

from minidl.experiment.cli.command import Command, sentence_of
from minidl.experiment.cli.stop import status_of
from minidl.experiment.ranks import launcher
from minidl.experiment.ranks.cores import place, sharing_cores
from minidl.mpi import SILENCE, MPICommunicator, Pulse
from minidl.words import counted, printable

LOOK_ON = "import sys\nlast = ''\nfor last in sys.stdin: pass\nif last.strip(): sys.stderr.write(last)"
SAYS_FIRST = 5.0  # seconds in which rank 0 can end the others before they say themselves what has happened


class Job(MPICommunicator):
    """The ranks of a command, of which this process is one; rank and size: as the launcher tells them."""

    def __init__(self, rank: int, size: int, command: Command) -> None:
        self.command, self.onlooker = command, Onlooker(rank)  # a process, which is not started once MPI is there
        super().__init__(size)
        atexit.register(self.world.Barrier)  # MPI's own end mostly waits for all, but need not
        self.over = False
        self.begin_hint("the run had not begun")
        self.pulse = Pulse(self, self.lost)

    def begin_hint(self, hint: str) -> None:
        """Let this be what is said at the end of a job that breaks."""
        self.hint = hint
        self.onlooker.say(f"{self.command.name}: one of {self.size} ranks was ended, and the job with it; {hint}")

    def begin(self, hint: str) -> None:
        """Tell that the training begins; hint: how to go on if it breaks."""
        self.waited_for = True
        self.begin_hint(hint)

    def end(self) -> None:
        """Tell that the ranks do not wait for each other any more."""
        self.waited_for, self.over = False, True

    def leave(self) -> None:
        """Tell that this rank has nothing to do any more, and wait until none has."""
        self.onlooker.say("")
        self.pulse.stop()

    def broken(self, error: BaseException) -> None:
        """Let an error that ends this rank end the others as well."""
        interrupted = isinstance(error, KeyboardInterrupt)
        # An interrupt may come to ranks at different places, where what one of them tells, another would not hear.
        if self.waited_for or (interrupted and not self.over):
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

    def settle(self, threads: int | None) -> None:
        """Give this rank cores of its own, unless launcher or user have.

        All threads that start later stay on these cores, and are as many.
        """
        self.words = (self._settled(threads),)

    def _settled(self, threads: int | None) -> str:
        places = self.gather(place())
        host, own = places[self.rank]
        mine = [rank for rank, other in enumerate(places) if other.host == host]
        self.here = mine.index(self.rank)
        where = f"{self.size} ranks on {counted(len({place.host for place in places}), 'host')}"
        sharing = sharing_cores(places, self.rank)
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
