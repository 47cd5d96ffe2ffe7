"""Job: a command that runs on several ranks, from its start to its end, be that what was asked for or not."""

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
    """Give the ranks of a command, and the command as it is called again on them; without a launcher, one rank alone.

    What is read of the command line inside is told to the others where it is wrong on one of them. All ranks leave
    together: a launcher may end them all when the first has left, and rank 0 has something to say before.
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
                time.sleep(SAYS_FIRST)  # there is no MPI by which to wait for rank 0
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
