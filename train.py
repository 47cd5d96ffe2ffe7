#!/usr/bin/env python3
"""Train a net of the paper on a data set: python train.py --help."""

import argparse
import sys
from collections.abc import Sequence

from minidl.commands import train
from minidl.experiment.cli.command import Command

COMMAND = Command("train.py", "python train.py")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return train.parser(COMMAND)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return train.main(arguments, COMMAND)


if __name__ == "__main__":
    sys.exit(main())
