#!/usr/bin/env python3
"""Train the rows of a table of the paper and set the results beside the paper's: python reproduce.py --help."""

import argparse
import sys
from collections.abc import Sequence

from minidl.commands import reproduce
from minidl.experiment.cli.command import Command

COMMAND = Command("reproduce.py", "python reproduce.py")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return reproduce.parser(COMMAND)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return reproduce.main(arguments, COMMAND)


if __name__ == "__main__":
    sys.exit(main())
