"""The paper's result tables beside our own results: rows, means over seeds, ranks, and their correlation."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl.kernels.errors import MinidlError
from minidl.method import parse


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

    Table 2's "weight tensor (WC)" may be called WC. Raises MinidlError for a name that no row has.
    """
    chosen: list[Row] = []
    for name in list(filter(str.strip, text.split(";"))) or [""]:
        word = " ".join(name.lower().split())
        found = [row for row in rows if word in _names(row)]
        if not found:
            raise MinidlError(
                f"no row of table {rows[0].table} is called {name.strip()!r}; its rows are: "
                + "; ".join(map(str, rows))
            )
        chosen += [row for row in found if row not in chosen]
    return chosen


def _names(row: Row) -> set[str]:
    methods = (row.method, str(parse(row.method).canonical()))
    return {row.model, *(name.lower() for method in methods for name in (method, f"{row.model}: {method}"))}


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


def markdown(lines: Sequence[Line], rows: Sequence[Row]) -> str:
    """Return a table: paper, measured, difference, rank in the paper and here; Spearman's correlation for each net.

    rows: all of the paper's table; the ranks are those among the rows that were measured.
    """
    out = []
    for model in dict.fromkeys(line.row.model for line in lines):
        part = [line for line in lines if line.row.model == model]
        paper, here = [line.row.paper for line in part], [line.mean for line in part]
        whole = sum(row.model == model for row in rows)
        some = f"{len(part)} of {whole} rows, " if len(part) < whole else ""
        out += [
            f"Net ({model}) on {part[0].row.data}, {some}{max(len(line.values) for line in part)} seed(s):",
            "",
            "| method | paper, % | measured, % | difference | rank in the paper | rank here |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        for line, there, own in zip(part, ranks(paper), ranks(here), strict=True):
            spread = f" ± {line.deviation:.2f}" if len(line.values) > 1 else ""
            difference = line.mean - line.row.paper
            out.append(
                f"| {line.row.method} | {line.row.paper:.2f} | {line.mean:.2f}{spread} | "
                f"{'nan' if np.isnan(difference) else f'{difference:+.2f}'} | {there:g} | {own:g} |"
            )
        out += ["", f"Spearman's rank correlation between the two columns: {spearman(paper, here):.2f}", ""]
    return "\n".join(out)


def draw(lines: Sequence[Line], path: Path) -> None:
    """Draw for each net its rows from best to worst, the paper's beside ours, and the accuracies one over the other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    finite = [line for line in lines if np.isfinite([line.row.paper, line.mean]).all()]
    nets = list(dict.fromkeys(line.row.model for line in finite)) or [""]
    heights = [1.5 + 0.3 * sum(line.row.model == net for line in finite) for net in nets]
    figure, axes = pyplot.subplots(
        len(nets), 2, figsize=(10.5, sum(heights)), squeeze=False, width_ratios=(1.6, 1), height_ratios=heights
    )
    for net, (order, plane) in zip(nets, axes, strict=True):
        part = sorted((line for line in finite if line.row.model == net), key=lambda line: -line.row.paper)
        ours = sorted(part, key=lambda line: -line.mean)
        colours = pyplot.colormaps["viridis"](np.linspace(0, 0.9, max(len(part), 1)))
        for place, (line, colour) in enumerate(zip(part, colours, strict=False)):
            own = ours.index(line)
            order.plot((0, 1), (place, own), "o-", color=colour)
            spread = f" ± {line.deviation:.2f}" if np.isfinite(line.deviation) else ""
            order.text(-0.08, place, f"{line.row.method}   {line.row.paper:.2f}", ha="right", va="center")
            order.text(1.08, own, f"{line.mean:.2f}{spread}   {line.row.method}", ha="left", va="center")
            plane.errorbar(line.row.paper, line.mean, np.nan_to_num(line.deviation), fmt="o", color=colour, capsize=3)
        for x, title in ((0, "paper, %"), (1, "measured, %")):
            order.text(x, -1, title, ha="center", va="center", fontweight="bold")
        order.set(title=f"net ({net})", xlim=(-1.6, 2.6), ylim=(len(part), -1.5))
        order.axis("off")
        plane.set(xlabel="paper, %", ylabel="measured, %")
        plane.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)
