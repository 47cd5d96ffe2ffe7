"""The command ``minidl compare``."""

from collections.abc import Sequence

from minidl.experiment.cli.command import Command, command_line
from minidl.experiment.ranks import launcher
from minidl.experiment.sweeps.compare_options import parser

__all__ = ["main", "parser"]


@command_line
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Train with the methods that the arguments name; the exit status is 1 where a run failed."""
    launcher.leave_it_to_the_first()
    options = vars(parser(command).parse_args(arguments))
    launcher.refuse_copies(command.name)

    from minidl.experiment.sweeps.comparison import compare  # from here on, as --help does not wait for NumPy

    return compare(options, command)
