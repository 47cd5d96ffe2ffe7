"""The command ``minidl train``, which is train.py in a checkout."""

from collections.abc import Sequence

from minidl.experiment.command import Command, command_line
from minidl.experiment.options import parser, read

__all__ = ["main", "parser"]


@command_line
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Train as the arguments say."""
    options, given = read(parser(command), arguments)

    from minidl.experiment.run import run  # from here on, as --help does not wait for NumPy
    from minidl.experiment.settings import complete

    run(*complete(options, given), command)
    return 0
