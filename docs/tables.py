"""Writes the tables of docs/results.md anew, between their marks, from the results of the runs: python docs/tables.py

The results are those that ``reproduce.py --out results/small`` has left in results/small/results.csv.
"""

import argparse
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from minidl.experiment.files import write_whole
from minidl.experiment.results import KEY, NAME, VALUES, read_results
from minidl.experiment.rows import Row, read_rows
from minidl.experiment.tables import Line, markdown

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = CHECKOUT / "results" / "small"
PAGE = CHECKOUT / "docs" / "results.md"


class Marks(NamedTuple):
    """Between which lines of a page something is written."""

    begin: str
    end: str


MARKS = Marks("<!-- tables: written by docs/tables.py -->\n", "<!-- end of the tables -->\n")


def tables(folder: Path = RESULTS) -> str:
    """Return all tables of which runs have finished, each with its budget, its picture and the rows that it lacks."""
    results = read_results(folder / NAME).items()
    records = [dict(zip((*KEY, *VALUES), key + values, strict=True)) for key, values in results]
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


def _lines(rows: Sequence[Row], records: Sequence[dict[str, str]]) -> list[Line]:
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
    write_whole(PAGE, page(PAGE.read_text(encoding="utf-8"), tables()))
