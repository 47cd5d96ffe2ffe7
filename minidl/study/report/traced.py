"""The sections of traced runs: each quantity through the net at a step, and over the steps in a layer."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np

from minidl.study.report import charts
from minidl.study.report.blocks import Chart, Section
from minidl.study.report.cube import Cube, Numbers, short
from minidl.study.report.quantities import FEATURES, OPTIMIZER, REMOVED, SIZES, Quantity
from minidl.words import in_a_row

HEIGHT = 220  # pixels
BAR = 5  # pixels, of a bar that shows a mean, and of the one below it
TICKS = 5  # about so many at an axis
MEDIAN = "Bold: the running median of five traced steps; pale: the measured values"  # see smooth in page.js
STEP = "step (square-root scale)"  # so that the first steps, in which much is decided, have room
MIN_SHOWN = 0.01  # percent or degrees that a sentence tells
PLACES = (  # where a mean is: its title, what it is, the quantity, and what the hook there takes
    ("Data in", "Each channel's mean", "data_mean", ""),
    ("Weights", "Each filter's mean, and below it what the hook removes", "w_mean", "w_taken"),
    ("Gradient", "Each filter's mean, and below it what the hook removes", "g_mean", "g_taken"),
    (
        "Step of the optimizer",
        "Each filter's mean, and below it what the next hook takes back",
        "step_mean",
        "step_taken",
    ),
    ("Error", "What the hook removes", "", "e_taken"),
)


def traced(cube: Cube) -> list[Section]:
    """Return the sections that draw the cube."""
    spread = ", and standard deviations reach down to a tenth of the mean at most" if cube.spreads else ""
    return [
        means(cube),
        _section(
            "What it does to the features",
            "A layer whose outputs are all alike cannot tell its images apart. A ReLU right after the layer passes "
            "what is above 0; at the end of a residual block the shortcut is added first, which these numbers leave "
            "out, and the last layer has no ReLU. A dead channel is not above 0 for any image of the batch.",
            FEATURES,
            cube,
        ),
        _section(
            "What each hook removes, and the angle",
            "What a hook removes is given as a share of the energy, the squared norm, of its input; for a "
            "standardization it may be more than 100 %. The angle is 0° if gradients are as without any hook.",
            REMOVED,
            cube,
        ),
        _section(
            "What the optimizer makes of it",
            "Adam divides each weight's gradient by another number, so its step has a mean again, although the "
            "gradient had none; a step of SGD has none either. A normalization of the weights, if there is one, then "
            "removes the mean of the step.",
            OPTIMIZER,
            cube,
        ),
        _section("Sizes down the net and back up", f"Axes of sizes are logarithmic{spread}.", SIZES, cube),
    ]


def means(cube: Cube) -> Section:
    """Return the section with two bars for each layer and run: of the mean, and of what the hook takes."""
    section = Section(
        "Where the means are",
        "The share of the energy, the squared norm, of the mean in the layers at the chosen step: of each channel "
        "of the data, of each filter of weights, gradient and step. The pale bar is the share that the hook removes. "
        "The bars of a layer are in the order of the methods at the top. "
        f"Bars above 100 % are cut off there.{' Bars are means over the seeds.' if cube.spreads else ''}",
        notes=[*cube.notes],
        narrow=True,
    )
    absent = [title.lower() for title, _, mean, taken in PLACES if not _drawn(cube, mean or taken)]
    if cube.groups and absent:
        section.notes.append(f"Not defined in these runs: {', '.join(absent)}.")
    for title, what, mean, taken in PLACES:
        shown = mean or taken
        if _drawn(cube, shown):
            fields = ({"mean": mean} if mean else {}) | ({"taken": taken} if taken else {})
            section.blocks.append(
                Chart(
                    title=title,
                    sentence=f"{what}. {_overall(cube, shown, ' %')}",
                    spec=_bars(tuple(cube.runs), tuple(cube.layers), tuple(fields)),
                    line="layer",
                    columns=("run",),
                    values={"mean": "mean, %", "taken": "taken, %"} if len(fields) > 1 else {next(iter(fields)): ""},
                    cube=fields,
                    at="step",
                    picks={"y": "layer"},
                )
            )
    return section


def _section(title: str, text: str, quantities: Sequence[Quantity], cube: Cube) -> Section:
    section = Section(title, text)
    for quantity in quantities:
        if _drawn(cube, quantity.name):
            section.blocks += _pair(quantity, cube)
        else:
            section.notes.append(f"{quantity.question} This is not defined in these runs.")
    return section


def _drawn(cube: Cube, name: str) -> bool:
    """Return whether a quantity is a number anywhere."""
    return any(np.isfinite(group.values[name]).any() for group in cube.groups)


def _pair(quantity: Quantity, cube: Cube) -> list[Chart]:
    """Return the two cuts of a quantity's cube."""
    name, unit = quantity.name, quantity.unit
    bars, bands = (
        f"; means over the seeds, {what} ± their standard deviation" if cube.spreads else ""
        for what in ("bars", "bands")
    )
    shared: dict[str, Any] = {"columns": ("run",), "values": {"value": ""}, "cube": {"value": name}, "unit": unit}
    through = Chart(
        title=quantity.question,
        sentence=f"{quantity.formula}; through the net, at the chosen step{bars}. {_overall(cube, name, unit)}",
        spec=_through(tuple(cube.runs), tuple(cube.layers), quantity.log, cube.spreads),
        line="layer",
        at="step",
        picks={"x": "layer"},
        **shared,
    )
    over = Chart(
        title=f"{quantity.question} Over the steps",
        sentence=f"In the chosen layer. {MEDIAN}{bands}. {_change(cube, name, unit)}",
        spec=_over(tuple(cube.runs), max(1, cube.steps[-1]), quantity.log, cube.spreads),
        line="step",
        at="layer",
        picks={"x": "step"},
        **shared,
    )
    return [through, over]


# Making a specification takes its time, as Altair checks it; most quantities are drawn by the same.
@lru_cache
def _through(runs: tuple[str, ...], layers: tuple[str, ...], log: bool, spreads: bool) -> dict[str, Any]:
    base = _base(log).encode(
        alt.X("layer:N").scale(domain=list(layers)).title(None).axis(labelAngle=0), charts.colour(runs)
    )
    value = _y("value:Q", log)
    spread = base.mark_rule(strokeWidth=1.5).encode(_y("low:Q", log), alt.Y2("high:Q"))
    line = base.mark_line(strokeWidth=1.5, opacity=0.5).encode(value, charts.dash(runs))
    points = base.mark_point(size=70, filled=True, opacity=1).encode(
        value, charts.shape(runs), tooltip=["run:N", "layer:N", "step:Q", alt.Tooltip("value:Q", format=".3g")]
    )
    return charts.finished(alt.layer(charts.chosen("layer"), *([spread] if spreads else []), line, points))


@lru_cache
def _over(runs: tuple[str, ...], last: int, log: bool, spreads: bool) -> dict[str, Any]:
    x = alt.X("step:Q").scale(type="sqrt", domain=[0, last], nice=False).title(STEP).axis(tickCount=TICKS)
    base = _base(log).encode(x, charts.colour(runs))
    band = base.mark_area(opacity=0.15).encode(_y("low:Q", log), alt.Y2("high:Q"))
    raw = base.mark_line(strokeWidth=1, opacity=0.3).encode(_y("value:Q", log), charts.dash(runs))
    median = base.mark_line(strokeWidth=2).encode(_y("median:Q", log), charts.dash(runs))
    parts = [charts.chosen("step"), *([band] if spreads else []), raw, median]
    return charts.finished(alt.layer(*parts, height=HEIGHT))


def _base(log: bool) -> alt.Chart:
    """Return a chart of rows, without what has no logarithm where one is to be taken."""
    base = alt.Chart(charts.rows(), height=HEIGHT)
    if not log:
        return base
    drawn = base.transform_filter("datum.value > 0 && datum.median !== 0")  # no row but one over the steps has a median
    return drawn.transform_calculate(low="max(datum.low, datum.value / 10)")


def _y(name: str, log: bool) -> alt.Y:
    y = alt.Y(name).title(None)
    if log:
        return y.scale(type="log").axis(values=charts.DECADES, format="~g")
    return y.scale(zero=True).axis(tickCount=TICKS, labelExpr=charts.WITH_UNIT)


@lru_cache
def _bars(runs: tuple[str, ...], layers: tuple[str, ...], fields: tuple[str, ...]) -> dict[str, Any]:
    slots = [f"{run}, {part}" for run in runs for part in fields]
    height = len(layers) * (len(slots) * (BAR + 1) + 2 * len(runs) + 4)
    share = alt.X("share:Q").scale(domain=[0, 100], clamp=True).axis(tickCount=5).title("% of the energy")
    return charts.finished(
        alt.Chart(charts.rows(), height=height)
        .transform_fold(list(fields), as_=["part", "share"])
        .transform_calculate(slot="datum.run + ', ' + datum.part")
        .mark_bar(size=BAR)
        .encode(
            share,
            alt.Y("layer:N").scale(domain=list(layers), paddingInner=0.2).title(None),
            alt.YOffset("slot:N").scale(domain=slots),
            charts.colour(runs),
            alt.Opacity("part:O").scale(domain=["mean", "taken"], range=[1, 0.45]).legend(None),
            tooltip=["run:N", "layer:N", "part:N", alt.Tooltip("share:Q", format=".3g")],
        )
    )


def _overall(cube: Cube, name: str, unit: str) -> str:
    """Return the median over layers and steps of each run, in a sentence."""
    said = [f"{group.label} {_number(group.values[name], unit)}" for group in cube.groups]
    return f"Median of all layers and steps: {in_a_row(said)}."


def _change(cube: Cube, name: str, unit: str) -> str:
    """Return the median over the layers in the first and in the last traced step of each run, in a sentence.

    The last step counts at which all layers have a number that had one at first: of a training that diverges, some have
    none.
    """
    said = []
    for group in cube.groups:
        known = np.isfinite(group.values[name])
        last = np.flatnonzero(known[:, known[0]].all(axis=1))[-1]
        early = "" if last == len(known) - 1 else f" at step {group.steps[last]}, the last one with all of them"
        first, final = (_number(group.values[name][at], unit) for at in (0, last))
        said.append(f"{group.label} {first} → {final}{early}")
    return f"Median of the layers, first → last traced step: {in_a_row(said)}."


def _number(values: Numbers, unit: str) -> str:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "–"
    median = float(np.median(finite))
    return f"< {MIN_SHOWN}{unit}" if unit and 0 < median < MIN_SHOWN else f"{short(median):g}{unit}"
