"""The results of a table's runs: results.csv, the Markdown table and the picture beside it."""

from collections.abc import Iterable, Sequence
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
LATER = ("budget", "commit", "machine")  # columns missing in files of version 0.1.0
COLUMNS = (*KEY, "data", "epochs", "paper", "test_accuracy", "seconds", *LATER)
Record = dict[str, str]  # a row: the text in each of the COLUMNS


def read_results(path: Path) -> dict[tuple[str, ...], Record]:
    """Return the rows of results.csv by KEY; none if there is no such file."""
    if not path.exists():
        return {}
    rows = spreadsheet.read(path, COLUMNS, LATER)
    for row in rows:
        numbers = {name: row.number(name) for name in contents.RESULTS}
        check(numbers, contents.RESULTS, f"line {row.line} of {path}", "put the file back as it was, or delete it")
    return _by_key(row.values for row in rows)


def write_results(out: Path, records: Iterable[Record]) -> None:
    """Add rows to results.csv, or replace them there; those of other tables or budgets stay."""
    whole = read_results(out / NAME) | _by_key(records)
    rows = [[whole[key][name] for name in COLUMNS] for key in sorted(whole)]
    write_whole(out / NAME, as_csv([COLUMNS, *rows]))


def _by_key(records: Iterable[Record]) -> dict[tuple[str, ...], Record]:
    return {tuple(record[name] for name in KEY): record for record in records}


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
        write_results(out, [_record(run, result) for run, result in finished])
        write_whole(out / f"table{rows[0].table}.md", text)
        picture = out / f"table{rows[0].table}.png"
        with decoration(command.name, picture.name):
            write_whole(picture, plots.table(lines))
    return text


def _record(run: RowRun, result: dict[str, Any]) -> Record:
    row = run.row
    return {
        "table": str(row.table),
        "model": row.model,
        "method": row.method,
        "seed": str(run.seed),
        "run": run.folder.name,
        "data": row.data,
        "epochs": str(result["epochs"]),
        "paper": str(row.paper),
        "test_accuracy": f"{accuracy(result):.2f}",
        "seconds": str(result["seconds"]),
        "budget": run.budget,
        "commit": result.get("commit", ""),
        "machine": result.get("machine", ""),
    }
