"""The command ``minidl train``, which is train.py in a checkout."""

from collections.abc import Sequence

from minidl.experiment import launcher
from minidl.experiment.command import Command, command_line
from minidl.experiment.options import parser, read

__all__ = ["main", "parser"]


@command_line
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Train as the arguments say."""
    with launcher.one_voice(launcher.told()[0]):
        options, given = read(parser(command), arguments)

    from minidl.experiment.job import job  # from here on, as --help does not wait for NumPy

    with job(command, options["threads"]) as (ranks, called):
        from minidl.experiment.run import run  # once it is known which cores are this rank's
        from minidl.experiment.settings import complete

        run(*complete(options, given), called, ranks)
    return 0
