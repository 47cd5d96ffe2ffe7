"""The rows of the paper's result tables, and the choice of some by a text."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minidl.kernels.errors import MinidlError
from minidl.method import parse
from minidl.words import meant

# All tables: table,dataset,model,method,metric,value_percent. The same file as results/paper.csv in a checkout.
PAPER = Path(__file__).with_name("paper.csv")


@dataclass(frozen=True)
class Row:
    """A row of a table of the paper; ``paper`` is its accuracy in percent, nan where the paper's run failed."""

    table: int
    data: str
    model: str
    method: str
    paper: float

    def __str__(self) -> str:
        return f"{self.model}: {self.method}"


def read_rows(table: int) -> list[Row]:
    """Return the rows of a table of the paper."""
    with open(PAPER, newline="", encoding="utf-8") as file:
        return [
            Row(int(line["table"]), line["dataset"], line["model"], line["method"], float(line["value_percent"]))
            for line in csv.DictReader(file)
            if int(line["table"]) == table
        ]


def choose(rows: Sequence[Row], text: str) -> list[Row]:
    """Return the rows that a text names: models, methods or "MODEL: METHOD", with semicolons between them.

    Table 2's "weight tensor (WC)" may be called WC. Raises MinidlError for a name that no row has.
    """
    chosen: list[Row] = []
    for name in list(filter(str.strip, text.split(";"))) or [""]:
        word = " ".join(name.lower().split())
        found = [row for row in rows if word in _names(row)]
        if not found:
            known = [one for row in rows for one in (row.model, row.method, str(row))]
            raise MinidlError(
                f"no row of table {rows[0].table} is called {name.strip()!r}{meant(name, known)}; its rows are: "
                + "; ".join(map(str, rows))
            )
        chosen += [row for row in found if row not in chosen]
    return chosen


def _names(row: Row) -> set[str]:
    methods = (row.method, str(parse(row.method).canonical()))
    return {row.model, *(name.lower() for method in methods for name in (method, f"{row.model}: {method}"))}
