"""How far a step carries: the loss of a step's batch along the direction of the step, and far beyond it."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from minidl.study.probes import STRIDES
from minidl.study.report import charts
from minidl.study.report.blocks import Chart, Rows, Section
from minidl.study.report.cube import Cube, Traced, short

HEIGHT = 260  # pixels


def carries(cube: Cube) -> Section:
    """Return the section with the change of the loss against the length of the step, of each group's first run."""
    rows = [row for group in cube.groups for row in _rows(group)]
    section = Section(
        "How far a step carries",
        "The loss of the batch at W + s·ΔW less that at W, where ΔW is the step that the optimizer makes: at s = 1 the "
        "step as it is, at s = 16 sixteen times as long. Solid: the median of the steps; pale: at the chosen step.",
    )
    if rows:
        section.blocks.append(
            Chart(
                title="Change of the loss along a step",
                sentence=_sentence(cube.groups),
                spec=_spec(cube.runs),
                line="s",
                columns=("run",),
                values={"loss": "this step", "median": "median"},
                rows=rows,
                at="step",
                wide=True,
            )
        )
    return section


def _by_step(group: Traced) -> dict[int, dict[float, float]]:
    found: dict[int, dict[float, float]] = {}
    for carry in group.first.carries:
        found.setdefault(carry.step, {})[carry.s] = carry.loss
    return found


def _medians(group: Traced) -> dict[float, float]:
    steps = _by_step(group).values()
    strides = dict.fromkeys(s for step in steps for s in step)
    return {s: float(np.nanmedian([step[s] for step in steps if s in step])) for s in strides}


def _rows(group: Traced) -> Rows:
    steps, medians = _by_step(group), _medians(group)
    ends = [*list(steps)[1:], None]
    return [
        {"run": group.label, "step": step, "until": end, "s": s, "loss": short(loss), "median": short(medians[s])}
        for (step, losses), end in zip(steps.items(), ends, strict=True)
        for s, loss in losses.items()
    ]


def _sentence(groups: Sequence[Traced]) -> str:
    said = []
    for group in groups:
        if medians := {s: loss for s, loss in _medians(group).items() if np.isfinite(loss)}:
            said.append(f"{group.label} falls furthest at s = {min(medians, key=lambda s: medians[s]):g}")
    return f"In the median of the steps: {', '.join(said)}."


def _spec(runs: Sequence[str]) -> dict[str, Any]:
    base = alt.Chart(charts.rows(), width="container", height=HEIGHT).encode(
        alt.X("s:Q").scale(type="sqrt").title("s").axis(values=list(STRIDES), format="~g"),
        charts.colour(runs),
    )

    def y(name: str) -> alt.Y:
        return alt.Y(f"{name}:Q").title("change of the loss").scale(type="symlog", constant=0.1)

    median = base.mark_line(strokeWidth=2).encode(y("median"))
    points = base.mark_point(size=60, filled=True, opacity=1).encode(
        y("median"), charts.shape(runs), tooltip=["run:N", "s:Q", alt.Tooltip("median:Q", format=".3g")]
    )
    here = base.mark_line(strokeWidth=1.5, opacity=0.4).encode(y("loss"))
    return charts.finished(alt.layer(here, median, points))
