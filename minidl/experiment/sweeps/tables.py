"""A table of the paper beside our own results: means over seeds, differences, ranks and their correlation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minidl.experiment.sweeps import seeds
from minidl.experiment.sweeps.rows import Row
from minidl.experiment.sweeps.spearman import ranks, spearman
from minidl.words import signed


@dataclass(frozen=True)
class Line:
    """A row with the measured values of a budget, in percent, for each seed."""

    row: Row
    values: tuple[float, ...]
    budget: str

    @property
    def mean(self) -> float:
        """The mean over the seeds, nan if any of them is."""
        return seeds.mean(self.values)

    @property
    def deviation(self) -> float:
        """The standard deviation over the seeds (1/(n − 1)), nan for one."""
        return seeds.deviation(self.values)


def markdown(lines: Sequence[Line], rows: Sequence[Row]) -> str:
    """Return a table for each net: paper, measured, seeds, difference, ranks; and Spearman's correlation of the ranks.

    rows: all of the paper's table; the ranks are among the rows that were measured with the same budget.
    """
    out = []
    for model, budget in dict.fromkeys((line.row.model, line.budget) for line in lines):
        part = [line for line in lines if (line.row.model, line.budget) == (model, budget)]
        paper, here = [line.row.paper for line in part], [line.mean for line in part]
        whole = sum(row.model == model for row in rows)
        some = f", {len(part)} of {whole} rows" if len(part) < whole else ""
        out += [
            f"Net ({model}) on {part[0].row.data}{some}; {budget}:",
            "",
            "| method | paper, % | measured, % | seeds | difference | rank in the paper | rank here |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for line, there, own in zip(part, ranks(paper), ranks(here), strict=True):
            spread = f" ± {line.deviation:.2f}" if np.isfinite(line.deviation) else ""
            difference = line.mean - line.row.paper
            out.append(
                f"| {line.row.method} | {line.row.paper:.2f} | {line.mean:.2f}{spread} | "
                f"{len(line.values)} | "
                f"{'nan' if np.isnan(difference) else signed(difference)} | {there:g} | {own:g} |"
            )
        rank_correlation = spearman(paper, here)
        known = len(part) > 2 and not np.isnan(rank_correlation)  # of two rows, it is always 1 or -1
        said = f"{rank_correlation:.2f}" if known else "none (it takes three rows, which are not all equal)"
        out += ["", f"Spearman's rank correlation between the two columns: {said}", ""]
    return "\n".join(out)
