"""Job: a command that runs on several ranks, from its start to its regular or early end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from minidl.communicator import Communicator
from minidl.experiment.cli.command import Command
from minidl.experiment.cli.stop import status_of
from minidl.experiment.ranks import launcher


@contextmanager
def job(command: Command) -> Iterator[tuple[Communicator, Command]]:
    """Give the ranks of a command, and the command with how to call it again on them; without a launcher, one rank.

    If the command line is wrong on one rank, the others learn it. All ranks leave together: a launcher may end all
    ranks when the first has left, and rank 0 must print its messages before.
    """
    rank, size = launcher.told()
    if size == 1 or launcher.gives_tasks():
        yield Communicator(), command
        return
    command = replace(command, call=f"{launcher.call(size)} {command.call}")
    with launcher.one_voice(rank):
        from minidl.experiment.ranks.mpi_job import SAYS_FIRST, Job  # here, as --help does not wait for NumPy

        try:
            ranks = Job(rank, size, command)
        except Exception:
            if rank:
                time.sleep(SAYS_FIRST)  # without MPI, nothing else can wait for rank 0
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
            ranks.leave()
