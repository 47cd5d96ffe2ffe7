"""The reproduction of a table: the runs of its rows, some at a time, and their results beside the paper's."""

import argparse
import sys
from collections.abc import Sequence
from itertools import product

from minidl import data
from minidl.experiment import sources
from minidl.experiment.cli.command import Command
from minidl.experiment.cli.own_code import import_files
from minidl.experiment.saving.files import make_folder
from minidl.experiment.saving.run_folder import check_no_run
from minidl.experiment.sweeps.budget import budget
from minidl.experiment.sweeps.process_run import carry_out, going_on_when_called_again
from minidl.experiment.sweeps.reproduce_display import Display
from minidl.experiment.sweeps.results import write
from minidl.experiment.sweeps.row_run import RowRun, run_of, trained_seeds
from minidl.experiment.sweeps.rows import choose, read_rows
from minidl.experiment.sweeps.time_limit import TimeLimit
from minidl.words import counted


def reproduce(options: argparse.Namespace, command: Command) -> int:
    """Run the rows that the options name and print their table; return the exit status, 1 if a run has failed."""
    files = import_files(vars(options)["import"])
    check_no_run(options.out)
    rows = read_rows(options.table)
    chosen = choose(rows, options.rows) if options.rows else rows
    seeds = sorted({*range(options.seeds), *trained_seeds(options.out)})
    table = [run_of(options.out, row, seed, budget(options, row), files) for seed, row in product(seeds, rows)]
    asked = (run for run in table if run.row in chosen and run.seed < options.seeds)
    runs = list({run.folder: run for run in asked}.values())
    number, parts = options.part
    runs = runs[number - 1 :: parts]
    make_folder(options.out)
    with going_on_when_called_again():
        if any(run.result is None for run in runs):
            train_set, _ = data.load(rows[0].data, options.data_root)  # one download for all runs, or one error
            sources.check_size(train_set, "train", options.train_size)
        failures = train(runs, table, options, command)
    print(write(options.out, table, command))
    for failure in failures:
        print(f"{command.name}: {failure}", file=sys.stderr)
    return 1 if failures else 0


def train(runs: Sequence[RowRun], table: Sequence[RowRun], options: argparse.Namespace, command: Command) -> list[str]:
    """Carry out the runs, and write the table's results after each of them; return the errors."""
    limit = TimeLimit(options.time_limit, table)
    with Display(runs) as display:

        def ended(run: RowRun) -> None:
            display.ended(run)
            write(options.out, table, command)

        failures = carry_out(runs, options.jobs, {"data_root": options.data_root}, ended, display.look, limit.fits)
    if limit.left_out:
        print(
            f"{command.name}: {counted(len(limit.left_out), 'run')} would not have ended within the time limit and "
            f"{'was' if len(limit.left_out) == 1 else 'were'} not begun; call it again to continue",
            file=sys.stderr,
        )
    return failures
