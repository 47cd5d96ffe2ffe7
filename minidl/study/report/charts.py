"""Charts: how the report draws with Altair, which makes specifications of Vega-Lite.

Colours are variables of the page's style sheet, so that one drawing is right by day, at night and on paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

COLOURS = 8  # of Okabe and Ito, in page.css
SHAPES = {  # of points, with the paths by which the page draws them in its legend
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "square": "M-4-4h8v8h-8z",
    "triangle-up": "M0-4l4 8h-8z",
    "diamond": "M0-5l4 5l-4 5l-4-5z",
    "cross": "M-5-2h3v-3h4v3h3v4h-3v3h-4v-3h-3z",
    "triangle-down": "M0 4l4-8h-8z",
    "triangle-right": "M4 0l-8 4v-8z",
    "triangle-left": "M-4 0l8 4v-8z",
}
DASHES = ([1, 0], [6, 3], [2, 2])  # of lines: each for as many runs as there are colours
LOOKS = COLOURS * len(DASHES)  # that differ in their lines; in colour and shape of their points, more do
WIDTH = 400  # pixels, until the page says how wide the place of a chart is
INK, DIM, RULE = (f"var(--{name})" for name in ("ink", "dim", "rule"))
DECADES = [digit * 10.0**power for power in range(-12, 13) for digit in (1, 3)]  # at a logarithmic axis
WITH_UNIT = "datum.label + unit"  # the label of an axis that has the unit of the chart
OWN = "var(--own)"  # the colour of the run that a chart is of

CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": DIM,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "gridColor": RULE,
        "domainColor": RULE,
        "ticks": False,
        "labelPadding": 5,
        "labelOverlap": True,
        "labelSeparation": 4,  # pixels between labels that are not left out
    },
    "axisX": {"grid": False},
    "axisY": {"domain": False, "minExtent": 44},  # pixels for the labels, so that most charts of a kind have the same
    "rule": {"color": DIM},
    "aria": False,  # the sentence and the table beside a chart say what it shows; marks by the thousand do not
}


@dataclass(frozen=True)
class Look:
    """How a run is drawn on the whole page: its colour, as the style sheet names it, its points and its lines."""

    colour: str
    shape: str
    dash: list[int]


def looks(count: int) -> list[Look]:
    """Return the looks of so many runs: colours come again, with other dashes and with other shapes."""
    rounds = [(i, *divmod(i, COLOURS)) for i in range(count)]
    shapes = list(SHAPES)
    return [
        Look(f"var(--run{j})", shapes[(i + again) % len(shapes)], DASHES[again % len(DASHES)]) for i, again, j in rounds
    ]


def colour(runs: Sequence[str]) -> alt.Color:
    """Return the colour of each run, the same on the whole page; its chip is the legend."""
    return alt.Color("run:N").scale(domain=list(runs), range=[look.colour for look in looks(len(runs))]).legend(None)


def shape(runs: Sequence[str]) -> alt.Shape:
    """Return the shape of each run's points, which tells them apart without colours."""
    return alt.Shape("run:N").scale(domain=list(runs), range=[look.shape for look in looks(len(runs))]).legend(None)


def dash(runs: Sequence[str]) -> alt.StrokeDash:
    """Return the dashes of each run's lines, which tell runs of one colour apart."""
    return alt.StrokeDash("run:N").scale(domain=list(runs), range=[look.dash for look in looks(len(runs))]).legend(None)


def finished(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """Return the specification of a chart, whose width the page sets, without what all charts share."""
    spec = chart.to_dict()
    for name in ("config", "$schema"):
        spec.pop(name, None)
    return spec | {"width": WIDTH}


def rows() -> alt.NamedData:
    """Return the data of a chart, which the page gives it."""
    return alt.NamedData(name="rows")


def chosen(name: str) -> alt.Chart:
    """Return a rule at the chosen step or layer of a chart that has them along x."""
    place = alt.X(datum=alt.expr(name), type="quantitative" if name == "step" else "nominal").axis(labelAngle=0)
    return alt.Chart(alt.Data(values=[{}])).mark_rule(strokeDash=[2, 3], color=DIM).encode(place)
