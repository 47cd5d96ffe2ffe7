"""Rewrites the tables of docs/results.md, between their marks, from the results of the runs: python docs/tables.py

Those at the small budget are of results/small/results.csv, which ``reproduce.py --out results/small`` has left, and the
table of the whole recipe is of the folders of single runs, results/cifar10-NET-METHOD-300epochs-seedN.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from minidl.experiment import plots
from minidl.experiment.saving.files import write_whole
from minidl.experiment.sweeps.results import NAME, read_results
from minidl.experiment.sweeps.rows import Row, read_rows
from minidl.experiment.sweeps.tables import Line, markdown
from minidl.method import parse

CHECKOUT = Path(__file__).resolve().parents[1]
RUNS = CHECKOUT / "results"
RESULTS = RUNS / "small"
PAGE = CHECKOUT / "docs" / "results.md"
PICTURE = RUNS / "table3-300epochs.png"


class Marks(NamedTuple):
    """Between which lines of a page something is written."""

    begin: str
    end: str


MARKS = Marks("<!-- tables: written by docs/tables.py -->\n", "<!-- end of the tables -->\n")
WHOLE = Marks("<!-- whole recipe: written by docs/tables.py -->\n", "<!-- end of the whole recipe -->\n")


def tables(folder: Path = RESULTS) -> str:
    """Return all tables of which runs have finished, each with its budget, its picture and the rows that it lacks."""
    records = list(read_results(folder / NAME).values())
    whole = sum(len(read_rows(table)) for table in (2, 3, 4, 5))
    done = len({(one["table"], one["model"], one["method"]) for one in records})  # by whatever budgets
    out = []
    for table, part in groupby(sorted(records, key=itemgetter("table", "seed")), key=itemgetter("table")):
        rows = read_rows(int(table))
        lines = _lines(rows, list(part))
        trained = {line.row for line in lines}
        missing = "; ".join(str(row) for row in rows if row not in trained)
        out += [
            f"### Table {table}, {len(trained)} of {len(rows)} rows\n",
            markdown(lines, rows),
            *([f"Not trained yet: {missing}.\n"] if missing else []),
            f"![Table {table}: its rows from best to worst, the paper's beside ours, one over the other]"
            f"(../results/small/table{table}.png)\n",
        ]
    return "\n".join([f"{done} of the {whole} rows of Tables 2 to 5 have been trained.\n", *out])


def whole_recipe(folder: Path = RUNS) -> list[Line]:
    """Return the rows of Table 3 that were trained for all 300 epochs on all images."""
    rows = read_rows(3)
    names = {(row.model, parse(row.method).canonical()): row.method for row in rows}  # runs say BN for "Baseline, BN"
    records = []
    for path in sorted(folder.glob("cifar10-*-300epochs-seed*/result.json")):
        run = json.loads(path.read_text("utf-8"))
        run |= {"method": names[run["model"], parse(run["method"]).canonical()], "budget": "all images, 300 epochs"}
        records.append({**run, "test_accuracy": 100 * run["test_accuracy"]})
    return _lines(rows, records)


def _lines(rows: Sequence[Row], records: Sequence[dict[str, Any]]) -> list[Line]:
    """Return the rows that have records, with the accuracies of their seeds, by each budget."""
    measured: dict[tuple[str, str, str], list[float]] = {}
    for one in records:
        measured.setdefault((one["model"], one["method"], one["budget"]), []).append(float(one["test_accuracy"]))
    return [
        Line(row, tuple(values), budget)
        for row in rows
        for (model, method, budget), values in measured.items()
        if (model, method) == (row.model, row.method)
    ]


def page(text: str, content: str, marks: Marks = MARKS) -> str:
    """Return a page with other content between its marks."""
    before, rest = text.split(marks.begin)
    return before + marks.begin + "\n" + content + "\n" + marks.end + rest.split(marks.end)[1]


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    text, whole = page(PAGE.read_text(encoding="utf-8"), tables()), whole_recipe()
    write_whole(PAGE, page(text, markdown(whole, read_rows(3)), WHOLE))
    write_whole(PICTURE, plots.table(whole))
