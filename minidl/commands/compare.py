"""The command ``minidl compare``."""

import argparse
from collections.abc import Callable, Sequence

from minidl.experiment.cli.argument_types import place, seeds, words, workers
from minidl.experiment.cli.command import Command, command_line
from minidl.experiment.options import TRACE_EVERY, add_options
from minidl.experiment.ranks import launcher

EXAMPLES = """examples:
  {call} --methods "Baseline; WC; GC; WC, GC"                 net (c) on the built-in shapes
  {call} --methods "WC; WC, GC" --seeds 3                     how much of a difference is chance?
  {call} --methods "WC; WC, GC" --optimizer sgd --learning-rate 0.1 --out runs/sgd
  {call} --methods "Baseline; EB; EL" --data cifar10 --train-size 10000 --epochs 3
  {call} --methods "Baseline; WC, GC, fully" --data photos/   your own images
  {call} --methods "Baseline; median" --import my_norm.py     your own normalization
All runs in a folder have equal settings; for other settings, name another folder with --out. Every run is traced for
the report (see --trace), unless you give --no-trace. Call the same command again to continue where it stopped: it
skips finished runs, and with more methods or seeds it trains the missing ones. To learn how to write a method, call:
minidl train --help
"""


def parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = command.parser(
        "Train with several methods, from equal weights and on equal batches, and compare the results.",
        EXAMPLES,
        conflict_handler="resolve",  # an option that is added again replaces that of train
    )
    group = cli.add_argument_group("what is compared")
    group.add_argument(
        "--methods",
        type=words,
        required=True,
        metavar="TEXT",
        help='two or more methods with ";" between them; minidl compares each of the others with the first',
    )
    group.add_argument("--seeds", type=seeds, default=1, metavar="N", help="runs of each method (default: 1)")
    group.add_argument(
        "--jobs",
        type=workers,
        metavar="N",
        help="number of runs at a time; they share the cores (default: one for each method, at most one for each core)",
    )
    group.add_argument("--no-trace", dest="trace", action="store_const", const=None, help="do not trace the runs")
    add_options(cli)
    cli.set_defaults(trace=TRACE_EVERY)
    where = cli.add_argument_group("where the runs are")
    where.add_argument("--out", type=place, metavar="DIR", help="folder of all runs (default: runs/compare-MODEL-DATA)")
    for name, instead in (
        ("--method", "give all methods to --methods"),
        ("--seed", "each method has the seeds 0 to N - 1 of --seeds N"),
        ("--resume", "call it again with the same --out to continue"),
    ):
        cli.add_argument(name, type=_refused(instead), help=argparse.SUPPRESS)
    return cli


def _refused(instead: str) -> Callable[[str], str]:
    def refuse(text: str) -> str:
        raise argparse.ArgumentTypeError(f"a comparison sets it itself; {instead}")

    return refuse


@command_line
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Train with the methods that the arguments name; the exit status is 1 where a run failed."""
    launcher.leave_it_to_the_first()
    options = vars(parser(command).parse_args(arguments))
    launcher.refuse_copies(command.name)

    from minidl.experiment.sweeps.comparison import compare  # from here on, as --help does not wait for NumPy

    return compare(options, command)
