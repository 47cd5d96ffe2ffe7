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
    """Draw for each net the rows from best to worst, the paper's beside ours, with a line from each row to itself."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    finite = [line for line in lines if np.isfinite([line.row.paper, line.mean]).all()]
    nets = list(dict.fromkeys(line.row.model for line in finite)) or [""]
    most = max((sum(line.row.model == net for line in finite) for net in nets), default=0)
    figure, axes = pyplot.subplots(1, len(nets), figsize=(6.4 * len(nets), 1 + 0.3 * most), squeeze=False)
    for axis, net in zip(axes[0], nets, strict=True):
        part = [line for line in finite if line.row.model == net]
        papers = sorted(part, key=lambda line: -line.row.paper)
        ours = sorted(part, key=lambda line: -line.mean)
        colours = pyplot.colormaps["viridis"](np.linspace(0, 0.9, max(len(part), 1)))
        for place, (line, colour) in enumerate(zip(papers, colours, strict=False)):
            own = ours.index(line)
            axis.plot((0, 1), (place, own), "o-", color=colour)
            deviation = f" ± {line.deviation:.2f}" if np.isfinite(line.deviation) else ""
            axis.text(-0.08, place, f"{line.row.method}   {line.row.paper:.2f}", ha="right", va="center")
            axis.text(1.08, own, f"{line.mean:.2f}{deviation}   {line.row.method}", ha="left", va="center")
        for x, title in ((0, "paper, %"), (1, "measured, %")):
            axis.text(x, -1, title, ha="center", va="center", fontweight="bold")
        axis.set(title=f"net ({net})", xlim=(-1.6, 2.6), ylim=(most, -1.5))
        axis.axis("off")
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
