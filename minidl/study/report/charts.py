"""Charts: how the report draws with Altair, which makes specifications of Vega-Lite.

Colours are variables of the page's style sheet, so that one drawing is right by day, at night and on paper.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

COLOURS = 8  # of Okabe and Ito, in page.css
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
WIDTH = 400  # pixels, until the page says how wide the place of a chart is
INK, DIM, RULE = (f"var(--{name})" for name in ("ink", "dim", "rule"))
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
    },
    "axisX": {"grid": False},
    "axisY": {"domain": False, "minExtent": 44},  # pixels for the labels, so that most charts of a kind have the same
    "rule": {"color": DIM},
    "aria": False,  # the sentence and the table beside a chart say what it shows; marks by the thousand do not
}


def colour(runs: Sequence[str]) -> alt.Color:
    """Return the colour of each run, the same on the whole page; its chip is the legend."""
    return alt.Color("run:N").scale(domain=list(runs), range=colours(len(runs))).legend(None)


def colours(count: int) -> list[str]:
    """Return the colours of so many runs, as the style sheet names them."""
    return [f"var(--run{i % COLOURS})" for i in range(count)]


def shape(runs: Sequence[str]) -> alt.Shape:
    """Return the shape of each run's points, which tells them apart without colours."""
    return (
        alt.Shape("run:N")
        .scale(domain=list(runs), range=[SHAPES[i % len(SHAPES)] for i in range(len(runs))])
        .legend(None)
    )


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
