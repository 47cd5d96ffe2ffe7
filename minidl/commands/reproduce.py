"""The command ``minidl reproduce``, which is reproduce.py in a checkout."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from minidl.experiment.cli import own_code
from minidl.experiment.cli.argument_types import one_of, part, path, place, positive, rate, seeds, table, words, workers
from minidl.experiment.cli.command import Command, command_line
from minidl.experiment.ranks import launcher

EXAMPLES = """examples:
  {call} --table 2 --budget small                  every row, on 10,000 images, for 15 epochs
  {call} --table 3 --rows c --budget small         the rows of net (c)
  {call} --table 3 --rows "c: Baseline; c: WC, GC" --seeds 3
  mpiexec -n 9 python -m mpi4py.futures reproduce.py --table 3 --budget small   eight runs at a time, on ranks
  {call} --table 3 --budget small --jobs 2 --time-limit 120   as many rows as fit into two hours
Call the same command again to continue where it stopped: it skips finished runs.
"""


def parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = command.parser("Train the rows of a table of the paper, one run for each, and compare.", EXAMPLES)
    cli.add_argument("--table", type=table, required=True, metavar="2|3|4|5", help="a table of the paper")
    cli.add_argument(
        "--rows", type=words, metavar="TEXT", help='models, methods or "MODEL: METHOD", with ";" between (default: all)'
    )
    cli.add_argument(
        "--budget",
        type=one_of("full", "small"),
        default="full",
        metavar="full|small",
        help="full: the paper's recipe; small: short enough for two cores: for CIFAR 10,000 images and 15 epochs, with "
        "the learning rate divided by 10 after 10 (net (b): 6 and 4); for VOC2012 all images at a quarter of their "
        "size, in batches of 5, for 25 epochs, with the learning rate divided by 10 after 20 (default: full)",
    )
    cli.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help="train for N epochs; the learning rate falls after the same fractions of them",
    )
    cli.add_argument("--train-size", type=positive, metavar="N", help="train on N images")
    cli.add_argument("--seeds", type=seeds, default=1, metavar="N", help="runs of each row (default: 1)")
    cli.add_argument("--data-root", type=place, metavar="DIR", help="folder of the data sets, also for downloads")
    cli.add_argument(
        "--out", type=path, default=Path("runs/tables"), metavar="DIR", help="folder of all runs (default: runs/tables)"
    )
    own_code.add_option(cli)
    cli.add_argument(
        "--part",
        type=part,
        default=(1, 1),
        metavar="I/N",
        help="do only the I-th of N parts of the runs, for a job array of a batch system (default: 1/1)",
    )
    cli.add_argument(
        "--time-limit",
        type=rate,
        metavar="MINUTES",
        help="start only runs that should end within this time; the estimate comes from earlier runs of the same net; "
        "call the command again to continue",
    )
    cli.add_argument(
        "--jobs",
        type=workers,
        default=1,
        metavar="N",
        help="number of runs at a time; they share the cores (default: 1)",
    )
    return cli


@command_line
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Train the rows that the arguments name; the exit status is 1 where one of them failed."""
    launcher.leave_it_to_the_first()
    options = parser(command).parse_args(arguments)
    launcher.refuse_copies(command.name)

    from minidl.experiment.sweeps.reproduction import reproduce  # from here on, as --help does not wait for NumPy

    return reproduce(options, command)
