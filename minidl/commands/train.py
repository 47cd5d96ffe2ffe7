"""The command ``minidl train``, which is train.py in a checkout."""

from collections.abc import Sequence

from minidl.experiment.cli.command import Command, command_line
from minidl.experiment.options import parser, read
from minidl.experiment.ranks import launcher
from minidl.experiment.ranks.job import job

__all__ = ["main", "parser"]


@command_line
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Train as the arguments say."""
    with job(command) as (ranks, called):
        options, given = read(parser(command), arguments)
        launcher.refuse_tasks()
        ranks.settle(options["threads"])

        from minidl.experiment.run import run  # from here on, as --help does not wait for NumPy
        from minidl.experiment.settings import complete

        run(*complete(options, given), called, ranks)
    return 0
