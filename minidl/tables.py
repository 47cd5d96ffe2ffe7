"""The paper's result tables beside our own results: rows, means over seeds, ranks, and their correlation."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl.kernels.errors import MinidlError


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


def read_rows(path: Path, table: int) -> list[Row]:
    """Return the rows of a table from the file of all tables (table,dataset,model,method,metric,value_percent)."""
    with open(path, newline="") as file:
        return [
            Row(int(line["table"]), line["dataset"], line["model"], line["method"], float(line["value_percent"]))
            for line in csv.DictReader(file)
            if int(line["table"]) == table
        ]


def choose(rows: Sequence[Row], text: str) -> list[Row]:
    """Return the rows that a text names: models, methods or "MODEL: METHOD", with semicolons between them.

    Raises MinidlError for a name that no row has.
    """
    chosen: list[Row] = []
    for name in text.split(";"):
        word = " ".join(name.lower().split())
        found = [row for row in rows if word in (row.model, row.method.lower(), str(row).lower())]
        if not found:
            raise MinidlError(
                f"no row of table {rows[0].table} is called {name.strip()!r}; its rows are: "
                + "; ".join(map(str, rows))
            )
        chosen += [row for row in found if row not in chosen]
    return chosen


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, 1 for the largest; equals share the mean of their ranks, nan comes last."""
    numbers = np.nan_to_num(np.asarray(values, float), nan=-np.inf)
    return [float(np.sum(numbers > x) + (np.sum(numbers == x) + 1) / 2) for x in numbers]


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation: Pearson's correlation of the ranks; nan for fewer than two values."""
    a, b = np.asarray(ranks(one)), np.asarray(ranks(other))
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))


@dataclass(frozen=True)
class Line:
    """A row with what was measured, in percent: the mean over the seeds and their standard deviation (1/(n − 1))."""

    row: Row
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds, nan if any of them is."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """The standard deviation over the seeds, nan for one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else float("nan")


def markdown(lines: Sequence[Line]) -> str:
    """Return a table: paper, measured, difference, rank in the paper and here; Spearman's correlation for each net."""
    out = []
    for model in dict.fromkeys(line.row.model for line in lines):
        part = [line for line in lines if line.row.model == model]
        paper, here = [line.row.paper for line in part], [line.mean for line in part]
        out += [
            f"Net ({model}) on {part[0].row.data}, {max(len(line.values) for line in part)} seed(s):",
            "",
            "| method | paper, % | measured, % | difference | rank in the paper | rank here |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for line, there, own in zip(part, ranks(paper), ranks(here), strict=True):
            spread = f" ± {line.deviation:.2f}" if len(line.values) > 1 else ""
            out.append(
                f"| {line.row.method} | {line.row.paper:.2f} | {line.mean:.2f}{spread} | "
                f"{line.mean - line.row.paper:+.2f} | {there:g} | {own:g} |"
            )
        out += ["", f"Spearman's rank correlation between the two columns: {spearman(paper, here):.2f}", ""]
    return "\n".join(out)


def draw(lines: Sequence[Line], path: Path) -> None:
    """Plot what was measured against the paper's figures, in percent."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 6), layout="constrained")
    for model in dict.fromkeys(line.row.model for line in lines):
        part = [line for line in lines if line.row.model == model and np.isfinite([line.row.paper, line.mean]).all()]
        x, y = [line.row.paper for line in part], [line.mean for line in part]
        spread = [np.nan_to_num(line.deviation) for line in part]
        axis.errorbar(x, y, spread, fmt="o", label=f"net ({model})")
        for line in part:
            axis.annotate(
                line.row.method, (line.row.paper, line.mean), fontsize=7, xytext=(4, 2), textcoords="offset points"
            )
    axis.set(xlabel="paper, %", ylabel="measured, %")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
