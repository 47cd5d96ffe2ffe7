"""How far a step carries: the loss of a step's batch along the direction of the step, and far beyond it."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from minidl.study.probes import STRIDES
from minidl.study.report import charts
from minidl.study.report.blocks import Chart, Rows, Section
from minidl.study.report.cube import Cube, Traced, short
from minidl.words import in_a_row

HEIGHT = 260  # pixels
LINEAR = 0.1  # changes of the loss up to about here are drawn to a linear scale, larger ones to a logarithmic one
TICKS = sorted([0.0, *(sign * LINEAR * 10.0**power for power in range(12) for sign in (1, -1))])


def carries(cube: Cube) -> Section:
    """Return the section with the change of the loss against the length of the step, of each group's first run."""
    found = {group.label: _rows(group) for group in cube.groups}
    rows = [row for part in found.values() for row in part]
    section = Section(
        "How far a step carries",
        "The loss of the batch at W + s·Step minus that at W, where Step is what the optimizer adds to W. At s = 1 the "
        "step is as it was made, at s = 16 it is sixteen times as long. Solid: the median of the traced steps; pale: "
        f"the last one up to the chosen step. s has a square-root scale, and a change beyond ±{LINEAR} a logarithmic "
        "one.",
        notes=[group.only for group in cube.groups if group.only]
        + [f"{label}: no loss along a step is a finite number." for label, part in found.items() if not part],
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
    """Return the losses by step and s, without those that are no numbers; a step may have none."""
    found: dict[int, dict[float, float]] = {carry.step: {} for carry in group.first.carries}
    for carry in group.first.carries:
        if np.isfinite(carry.loss):
            found[carry.step][carry.s] = carry.loss
    return found


def _medians(group: Traced) -> dict[float, float]:
    steps = _by_step(group).values()
    strides = {s for step in steps for s in step}
    if strides <= {0}:  # where each step begins
        return {}
    return {s: float(np.median([step[s] for step in steps if s in step])) for s in sorted(strides)}


def _rows(group: Traced) -> Rows:
    steps, medians = _by_step(group), _medians(group)
    ends = [*steps, None][1:]
    return [
        {"run": group.label, "step": step, "until": end, "s": s, "loss": short(loss), "median": short(medians[s])}
        for (step, losses), end in zip(steps.items(), ends, strict=True)
        for s, loss in losses.items()
        if s in medians
    ]


def _sentence(groups: Sequence[Traced]) -> str:
    said = []
    for group in groups:
        if medians := _medians(group):
            furthest = min(medians, key=lambda s: medians[s])
            said.append(f"{group.label} " + (f"falls furthest at s = {furthest:g}" if furthest else "does not fall"))
    return f"In the median of the steps: {in_a_row(said)}."


def _spec(runs: Sequence[str]) -> dict[str, Any]:
    base = alt.Chart(charts.rows(), height=HEIGHT).encode(
        alt.X("s:Q").scale(type="sqrt").title("s").axis(values=list(STRIDES), format="~g"),
        charts.colour(runs),
    )

    axis: dict[str, Any] = {"values": TICKS, "format": ",~g", "labelOverlap": "greedy"}

    def y(name: str) -> alt.Y:
        return alt.Y(f"{name}:Q").title("change of the loss").scale(type="symlog", constant=LINEAR).axis(**axis)

    median = base.mark_line(strokeWidth=2).encode(y("median"), charts.dash(runs))
    points = base.mark_point(size=60, filled=True, opacity=1).encode(
        y("median"), charts.shape(runs), tooltip=["run:N", "s:Q", alt.Tooltip("median:Q", format=".3g")]
    )
    here = base.mark_line(strokeWidth=1.5, opacity=0.4).encode(y("loss"), charts.dash(runs))
    return charts.finished(alt.layer(here, median, points))
