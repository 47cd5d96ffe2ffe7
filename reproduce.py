#!/usr/bin/env python3
"""Train the rows of a table of the paper and set the results beside the paper's: python reproduce.py --help."""

import argparse
import csv
import io
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from minidl import __version__
from minidl.experiment.console import decoration, lenient
from minidl.kernels.errors import MinidlError
from train import positive

HERE = Path(__file__).resolve().parent
PAPER = HERE / "results" / "paper.csv"
RESULTS = "results.csv"
KEY = ("table", "model", "method", "seed", "run")  # columns of it that say what was run
VALUES = ("data", "epochs", "paper", "test_accuracy", "seconds")
CIFAR = {"train_size": 10_000, "epochs": 15, "drop_every": 10, "test_every": 5}
SMALL: dict[str, dict[str, Any]] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "voc2012": {"shrink": 4, "batch_size": 5, "epochs": 25, "drop_every": 20, "test_every": 5},
}
EXAMPLES = """examples:
  python reproduce.py --table 2 --budget small                  every row, on 10,000 images for 15 epochs
  python reproduce.py --table 3 --rows c --budget small         the rows of net (c)
  python reproduce.py --table 3 --rows "c: Baseline; c: WC, GC" --seeds 3
Called again, it goes on where it stopped: a run that has finished is not run again.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = argparse.ArgumentParser(
        description="Train the rows of a table of the paper, each a run of its own, and compare.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_argument("--version", action="version", version=f"minidl {__version__}")
    cli.add_argument("--table", type=int, required=True, choices=(2, 3, 4, 5), help="of the paper")
    cli.add_argument("--rows", metavar="TEXT", help='models, methods or "MODEL: METHOD", with ; between (default: all)')
    cli.add_argument(
        "--budget",
        choices=("full", "small"),
        default="full",
        help="full: the paper's recipe; small, which two cores finish: of CIFAR 10,000 images, 15 epochs, the "
        "learning rate divided by 10 after 10; of VOC2012 all images at a quarter of their size, in batches of 5, "
        "25 epochs, the learning rate divided by 10 after 20",
    )
    cli.add_argument(
        "--epochs", type=positive, metavar="N", help="train for N, the learning rate falling at the same shares of them"
    )
    cli.add_argument("--train-size", type=positive, metavar="N", help="train on N images")
    cli.add_argument("--seeds", type=positive, default=1, metavar="N", help="runs of each row (default: 1)")
    cli.add_argument("--data-root", metavar="DIR", help="where data sets lie or are downloaded to")
    cli.add_argument("--out", type=Path, default=Path("runs/tables"), metavar="DIR", help="(default: runs/tables)")
    cli.add_argument("--jobs", type=positive, default=1, metavar="N", help="runs at a time, which share the cores")
    return cli


def budget(options: argparse.Namespace, data: str) -> dict[str, Any]:
    """Return the settings of the budget for a data set, for train.py; empty for the paper's recipe."""
    from minidl.experiment.recipes import recipe

    settings = dict(SMALL[data]) if options.budget == "small" else {}
    if options.train_size:
        settings["train_size"] = options.train_size
        if "batch_size" in settings:
            settings["batch_size"] = min(settings["batch_size"], options.train_size)
    if options.epochs:
        whole = vars(recipe(data)) | settings
        share = whole["drop_every"] / whole["epochs"]
        settings |= {"epochs": options.epochs, "drop_every": max(1, round(options.epochs * share))}
    return settings


def folder_of(out: Path, row: Any, seed: int, settings: dict[str, Any]) -> Path:
    """Return the folder of a run; the rows of two tables that are one training share it."""
    from minidl.method import parse

    method = str(parse(row.method).canonical()).lower().replace(", ", "_").replace(" ", "-")
    cost = "-".join(f"{name[0]}{value}" for name, value in sorted(settings.items()) if name != "test_every") or "full"
    return out / f"{row.data}-{row.model}-{method}-{cost}-seed{seed}"


def train(row: Any, seed: int, folder: Path, settings: dict[str, Any], options: argparse.Namespace) -> str:
    """Train a row, or go on with it, or leave it if it has finished; return what went wrong, or nothing."""
    from minidl.kernels.cpu.threads import available_cores

    if (folder / "result.json").exists():
        return ""
    command = [sys.executable, str(HERE / "train.py"), "--quiet"]
    command += ["--threads", str(max(1, available_cores() // options.jobs))]
    if options.data_root:
        command += ["--data-root", options.data_root]
    if (folder / "config.json").exists():
        command += ["--resume", str(folder)]
    else:
        command += ["--data", row.data, "--model", row.model, "--method", row.method, "--seed", str(seed)]
        command += ["--out", str(folder)]
        for name, value in settings.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    said = done.stderr.strip().splitlines() or [f"train.py ended with status {done.returncode} and said nothing"]
    return "" if done.returncode == 0 else said[-1]


def accuracy(result: dict[str, Any]) -> float:
    """Return the test accuracy of a run's result in percent, nan where its loss became nan."""
    return math.nan if result["train_loss"] is None else 100 * result["test_accuracy"]


def read_results(path: Path) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return the rows of results.csv, by what was run; none where there is no such file."""
    from minidl.experiment import spreadsheet

    if not path.exists():
        return {}
    rows = [row.values for row in spreadsheet.read(path, [*KEY, *VALUES])]
    return {tuple(row[name] for name in KEY): tuple(row[name] for name in VALUES) for row in rows}


def write(out: Path, table: int, seeds: int, settings: dict[str, Any]) -> str:
    """Write the Markdown table and the plot of all rows that have been run so, and results.csv; return the table.

    Rows of results.csv that belong to other tables or budgets stay. Nothing is written before a row has finished.
    """
    from minidl.experiment import tables
    from minidl.experiment.records import read_result, write_whole

    rows = tables.read_rows(PAPER, table)
    lines, records = [], read_results(out / RESULTS)
    for row in rows:
        values = []
        for seed in range(seeds):
            folder = folder_of(out, row, seed, settings)
            if result := read_result(folder):
                value = accuracy(result)
                values.append(value)
                key = (str(table), row.model, row.method, str(seed), folder.name)
                did = (row.data, str(result["epochs"]), str(row.paper), f"{value:.2f}", str(result["seconds"]))
                records[key] = did
        if values:
            lines.append(tables.Line(row, tuple(values)))
    text = tables.markdown(lines, rows)
    if lines:
        file = io.StringIO()
        whole = [(*key, *values) for key, values in sorted(records.items())]
        csv.writer(file, lineterminator="\n").writerows([(*KEY, *VALUES), *whole])
        write_whole(out / RESULTS, file.getvalue())
        write_whole(out / f"table{table}.md", text)
        picture = out / f"table{table}.png"
        with decoration("reproduce.py", picture.name):
            tables.draw(lines, picture)
    return text


@lenient("reproduce.py")
def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = parser().parse_args(arguments)

    from tqdm.auto import tqdm

    from minidl import data
    from minidl.experiment import tables

    try:
        rows = tables.read_rows(PAPER, options.table)
        if options.rows:
            rows = tables.choose(rows, options.rows)
        settings = budget(options, rows[0].data)
        options.out.mkdir(parents=True, exist_ok=True)
        jobs = {
            folder_of(options.out, row, seed, settings): (row, seed) for seed in range(options.seeds) for row in rows
        }
        failures: list[str] = []
        if not all((folder / "result.json").exists() for folder in jobs):
            data.load(rows[0].data, options.data_root)  # one download for all, or one sentence about what is wrong
        with ThreadPoolExecutor(options.jobs) as pool, tqdm(total=len(jobs), unit=" runs", disable=None) as bar:

            def one(job: tuple[Path, tuple[Any, int]]) -> None:
                folder, (row, seed) = job
                problem = train(row, seed, folder, settings, options)
                if problem:
                    failures.append(f"{row}, seed {seed}: {problem}")
                bar.set_postfix_str(str(row), refresh=False)
                bar.update()

            for _ in pool.map(one, jobs.items()):
                text = write(options.out, options.table, options.seeds, settings)
        print(text)
        for failure in failures:
            print(f"reproduce.py: {failure}", file=sys.stderr)
    except (MinidlError, OSError) as error:
        print(f"reproduce.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; called again, it goes on where it stopped", file=sys.stderr)
        return 130
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
