"""The results of a table's runs: results.csv, the Markdown table and the picture beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidl.experiment import plots
from minidl.experiment.cli.command import Command
from minidl.experiment.cli.console import decoration
from minidl.experiment.saving import contents, spreadsheet
from minidl.experiment.saving.files import as_csv, taking_turns, write_whole
from minidl.experiment.saving.result import accuracy, divergence
from minidl.experiment.saving.schema import check
from minidl.experiment.sweeps.row_run import RowRun
from minidl.experiment.sweeps.tables import Line, markdown

NAME = "results.csv"
KEY = ("table", "model", "method", "seed", "run")  # columns of results.csv that identify a run
VALUES = ("data", "epochs", "paper", "test_accuracy", "seconds", "budget", "commit", "machine")
LATER = ("budget", "commit", "machine")  # columns missing in files of version 0.1.0
Records = dict[tuple[str, ...], tuple[str, ...]]  # rows of results.csv: VALUES by KEY


def read_results(path: Path) -> Records:
    """Return the rows of results.csv by KEY; none if there is no such file."""
    if not path.exists():
        return {}
    rows = spreadsheet.read(path, [*KEY, *VALUES], LATER)
    for row in rows:
        numbers = {name: row.number(name) for name in contents.RESULTS}
        check(numbers, contents.RESULTS, f"line {row.line} of {path}", "put the file back as it was, or delete it")
    return {tuple(row.values[name] for name in KEY): tuple(row.values[name] for name in VALUES) for row in rows}


def write_results(out: Path, records: Records) -> None:
    """Add rows to results.csv, or replace them there; those of other tables or budgets stay."""
    whole = read_results(out / NAME) | records
    rows = [(*key, *values) for key, values in sorted(whole.items())]
    write_whole(out / NAME, as_csv([(*KEY, *VALUES), *rows]))


def write(out: Path, runs: Sequence[RowRun], command: Command) -> str:
    """Write the Markdown table and the plot of the runs that have finished, and results.csv; return the table.

    runs: of all rows of the table. Nothing is written before one of them has finished. Several programs may call this
    at once: each waits for its turn, and then includes all finished runs.
    """
    with taking_turns(out):
        return _write(out, runs, command)


def _write(out: Path, runs: Sequence[RowRun], command: Command) -> str:
    finished = [(run, result) for run in runs if (result := run.result)]
    rows = list(dict.fromkeys(run.row for run in runs))
    values = {row: [(accuracy(result), run.budget) for run, result in finished if run.row is row] for row in rows}
    lines = [Line(row, tuple(found for found, _ in some), some[0][1]) for row, some in values.items() if some]
    text = markdown(lines, rows)
    text += "".join(f"\n{said}\n" for run, result in finished if (said := divergence(run.title, result)))
    if lines:
        write_results(out, dict(_record(run, result) for run, result in finished))
        write_whole(out / f"table{rows[0].table}.md", text)
        picture = out / f"table{rows[0].table}.png"
        with decoration(command.name, picture.name):
            write_whole(picture, plots.table(lines))
    return text


def _record(run: RowRun, result: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    row = run.row
    key = (str(row.table), row.model, row.method, str(run.seed), run.folder.name)
    did = (row.data, str(result["epochs"]), str(row.paper), f"{accuracy(result):.2f}", str(result["seconds"]))
    made_by = (result.get("commit", ""), result.get("machine", ""))
    return key, (*did, run.budget, *made_by)
