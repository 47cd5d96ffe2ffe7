"""The command ``minidl``, the same as ``python -m minidl``: minidl --help."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from minidl import __version__
from minidl.commands import COMMANDS
from minidl.experiment.cli.command import Command, Parser
from minidl.experiment.cli.console import lenient
from minidl.words import meant


def parser() -> argparse.ArgumentParser:
    """Return the parser of the first word, the command."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    cli = Parser(
        _called(),
        prog="minidl",
        usage="minidl COMMAND ...",
        description="Study where normalizations enter back-propagation.",
        epilog=f"commands:\n{listed}\n\nFor the options of a command: minidl COMMAND --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_argument("--version", action="version", version=f"minidl {__version__}")
    cli.add_argument("command", nargs="?", metavar="COMMAND", help="one of the commands below")
    return cli


def _called() -> str:
    return "python -m minidl" if Path(sys.argv[0]).name == "__main__.py" else "minidl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of the first word with the other words; return its exit status. Without words, list commands."""
    words = sys.argv[1:] if arguments is None else arguments
    cli = parser()
    with lenient(cli.prog):
        name = cli.parse_args(words[:1]).command
        if name is None:
            cli.print_help()
            return 0
        if name not in COMMANDS:
            cli.error(f"no command is called {name!r}{meant(name, COMMANDS)}; the commands are {', '.join(COMMANDS)}")
    command = Command(f"minidl {name}", f"{_called()} {name}")
    status: int = import_module(f"minidl.commands.{name}").main(words[1:], command)
    return status


if __name__ == "__main__":
    sys.exit(main())
