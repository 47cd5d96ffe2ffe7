"""The command ``minidl reproduce``, which is reproduce.py in a checkout."""

from collections.abc import Sequence

from minidl.experiment.cli.command import Command, command_line
from minidl.experiment.ranks import launcher
from minidl.experiment.sweeps.reproduce_options import parser

__all__ = ["main", "parser"]


@command_line
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Train the rows that the arguments name; the exit status is 1 where one of them failed."""
    launcher.leave_it_to_the_first()
    options = parser(command).parse_args(arguments)
    launcher.refuse_copies(command.name)

    from minidl.experiment.sweeps.reproduction import reproduce  # from here on, as --help does not wait for NumPy

    return reproduce(options, command)
