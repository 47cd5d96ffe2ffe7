"""Ranks of a command: an error in one of them, or its loss, ends them all.

Before the training, a failing rank sends its error to the others instead of what they wait for; all end, and rank 0
prints the reason. During the training the others wait inside a sum, so the failing rank ends them. If no rank can print
any more, because the launcher ends all when one is killed, a separate process prints the message.
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
SAYS_FIRST = 5.0  # seconds that rank 0 has to end the others; after that, they print the error themselves


class Job(MPICommunicator):
    """The ranks of a command, one of which is this process; rank and size: from the launcher."""

    def __init__(self, rank: int, size: int, command: Command) -> None:
        self.command, self.onlooker = command, Onlooker(rank)  # a process, started before MPI is loaded
        super().__init__(size)
        atexit.register(self.world.Barrier)  # MPI_Finalize usually waits for all ranks, but need not
        self.over = False
        self.begin_hint("the run had not begun")
        self.pulse = Pulse(self, self.lost)

    def begin_hint(self, hint: str) -> None:
        """Set the message to print if the job breaks."""
        self.hint = hint
        self.onlooker.say(f"{self.command.name}: one of {self.size} ranks was ended, and the job with it; {hint}")

    def begin(self, hint: str) -> None:
        """Mark the beginning of the training; hint: how to resume it if it breaks."""
        self.waited_for = True
        self.begin_hint(hint)

    def end(self) -> None:
        """Mark the end of the training: the ranks do not wait for each other any more."""
        self.waited_for, self.over = False, True

    def leave(self) -> None:
        """Report that this rank has finished, and wait until all have."""
        self.onlooker.say("")
        self.pulse.stop()

    def broken(self, error: BaseException) -> None:
        """Let an error that ends this rank also end the others."""
        interrupted = isinstance(error, KeyboardInterrupt)
        # An interrupt may find the ranks at different places, where they could not receive each other's messages.
        if self.waited_for or (interrupted and not self.over):
            what = "interrupted" if interrupted else sentence_of(error) or "".join(traceback.format_exception(error))
            self.fail(what, status_of(error))
        elif not (self.over or self.failed):
            self.tell(sentence_of(error) or f"{type(error).__name__}: {error}")

    def lost(self) -> NoReturn:
        """End all ranks that can be reached, as one cannot."""
        if self.rank:
            time.sleep(SAYS_FIRST)
        self.fail(f"a rank gave no sign of life for {SILENCE:.0f} s: it was ended, or the link to it is cut", 2)

    def fail(self, what: str, status: int) -> NoReturn:
        """Print what has happened, and end all ranks."""
        self.onlooker.say("")
        with suppress(OSError):
            os.write(2, f"{self.command.name}: rank {self.rank}: {printable(what)}; {self.hint}\n".encode())
        threading.Timer(SAYS_FIRST, os._exit, (status,)).start()  # if the launcher cannot be reached
        self.abort(status)
        os._exit(status)

    def settle(self, threads: int | None) -> None:
        """Give this rank its own cores, unless the launcher or the user has done so.

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
    """A separate process that prints its last message when rank 0 has ended, whatever ended it."""

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
        """Set the message to print, or "" for none."""
        if self.process and self.process.stdin:
            with suppress(OSError):
                self.process.stdin.write(text + "\n")
                self.process.stdin.flush()
