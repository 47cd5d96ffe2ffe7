"""The filter fan: filters sorted by their mean, with the band that holds most of their elements, before and after."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np

from minidl.study.report import charts
from minidl.study.report.blocks import Chart, Rows, Section
from minidl.study.report.cube import Cube, Numbers, Traced
from minidl.study.trace_files import Filters

HEIGHT = 200  # pixels
FILTERS = 36  # of a layer that are drawn, as far apart in the order as they can be
STEPS = 5  # of those with filters that are drawn
LOW, HIGH, MEAN = 0, 4, 5  # columns of the trace's arrays: percentiles 5 and 95, and the mean
LEVELS = 100  # to which the largest number of a picture is rounded
POINTS = {"weights": "weights", "grads": "gradient"}


def fans(cube: Cube) -> Section:
    """Return the section with a fan for each group's first run, of the weights and of the gradient."""
    section = Section(
        "Filter fan",
        "The filters of the chosen layer, sorted by their mean before the hook: a dot is the mean of a filter, a band "
        "goes from 5 to 95 % of its elements. Grey is before the hook, coloured after it. A histogram of all elements "
        "would hide what centring does. Numbers are in thousandths. "
        f"At most {FILTERS} filters of a layer are drawn, evenly spaced in this order, at {STEPS} steps.",
    )
    for group in cube.groups:
        for point, word in POINTS.items():
            if not (rows := _rows(group, point)):
                section.notes.append(f"{group.label}: of the {word}, no filter was traced whose elements are numbers.")
            else:
                section.blocks.append(
                    Chart(
                        title=f"{group.label}: {word}",
                        sentence=f"{_sentence(group, point)} {group.only}".rstrip(),
                        spec=_spec(),
                        line="number",
                        columns=("when",),
                        values={"low": "5 %", "mean": "mean", "high": "95 %"},
                        rows=rows,
                        at="step layer",
                        run=group.label,
                    )
                )
    return section


def _chosen(group: Traced) -> list[int]:
    """Return some of the steps with filters, the first and the last among them."""
    steps = list(dict.fromkeys(name.step for name in group.first.filters))
    places = np.linspace(0, len(steps) - 1, min(STEPS, len(steps))).round().astype(int)
    return [steps[i] for i in places]


def _rows(group: Traced, point: str) -> Rows:
    filters, steps = group.first.filters, _chosen(group)
    rows: Rows = []
    for step, until in zip(steps, [*steps, None][1:], strict=True):
        for layer in group.layers:
            before, after = (filters.get(Filters(step, layer, point, when)) for when in ("before", "after"))
            if after is None:
                continue
            first = after if before is None else before
            finite = np.flatnonzero(np.isfinite(np.hstack([first, after])).all(axis=1))
            if not finite.size:
                continue
            order = finite[np.argsort(first[finite, MEAN], kind="stable")]
            order = order[np.linspace(0, len(order) - 1, min(FILTERS, len(order))).round().astype(int)]
            here = {"step": step, "until": until, "layer": layer}
            if before is not None and not np.array_equal(before[finite], after[finite]):
                rows.append(here | {"when": "before", "each": _columns(before[order])})
            rows.append(here | {"when": "after", "each": _columns(after[order])})
    return rows


def _columns(filters: Numbers) -> dict[str, list[float]]:
    """Return finite numbers in thousandths, rounded to what can be seen."""
    scaled = 1000 * filters[:, [LOW, MEAN, HIGH]].astype(np.float64)
    largest = float(np.abs(scaled).max()) or 1.0
    places = int(np.ceil(-np.log10(largest / LEVELS)))
    low, mean, high = ([round(x, places) for x in column] for column in scaled.T.tolist())
    return {"low": low, "mean": mean, "high": high}


def _sentence(group: Traced, point: str) -> str:
    """Say how large the means are at the last drawn step at which all filters are numbers, if there is one."""
    steps = _chosen(group)
    whole = [step for step in steps if _is_whole(group, point, step)]
    if not whole:
        return "At none of these steps are all filters numbers; only those that are numbers are drawn."
    lost = f" At step {steps[-1]} not all filters are numbers." if whole[-1] < steps[-1] else ""
    return f"{_largest(group, point, whole[-1])}{lost}"


def _is_whole(group: Traced, point: str, step: int) -> bool:
    """Return whether all filters at a step are numbers; those before a hook may be unknown."""
    arrays = [group.first.filters.get(Filters(step, layer, point, "after")) for layer in group.layers]
    return all(np.isfinite(array).all() for array in arrays if array is not None)


def _largest(group: Traced, point: str, step: int) -> str:
    """Return the largest mean of a filter at a step, before and after, of the layers whose hook changes filters."""
    traced = {
        layer: [_known(group.first.filters.get(Filters(step, layer, point, when))) for when in ("before", "after")]
        for layer in group.layers
    }
    changed = [
        (before, after)
        for before, after in traced.values()
        if before is not None and after is not None and not np.array_equal(before, after, equal_nan=True)
    ]
    if changed:
        before, after = (_widest(arrays) for arrays in zip(*changed, strict=True))
        return (
            f"At step {step}, in the layers where a hook changes them, the largest mean of a filter is {before:.2g} "
            f"before the hook and {after:.2g} after it."
        )
    largest = _widest([after for _, after in traced.values() if after is not None])
    known = any(before is not None for before, _ in traced.values())
    said = "no hook changes any" if known else "before it they were not traced"
    return f"At step {step}, the largest mean of a filter in any layer is {largest:.2g}{'; ' + said}."


def _known(filters: Any) -> Any:
    """Return filters of which a mean is a number, or None."""
    return None if filters is None or not np.isfinite(filters[:, MEAN]).any() else filters


def _widest(arrays: Iterable[Any]) -> float:
    """Return the largest mean that is a number."""
    means = np.abs([mean for array in arrays for mean in array[:, MEAN]])
    return float(means.max(where=np.isfinite(means), initial=0))


@lru_cache
def _spec() -> dict[str, Any]:
    base = alt.Chart(charts.rows(), height=HEIGHT).encode(
        alt.X("number:Q").title("filters, sorted by their mean").axis(tickMinStep=1, tickCount=5).scale(nice=False),
        alt.Color("when:N").scale(domain=["before", "after"], range=[charts.DIM, charts.OWN]).legend(None),
    )
    band = base.mark_area(opacity=0.3).encode(alt.Y("low:Q").title("× 10⁻³"), alt.Y2("high:Q"))
    dots = base.mark_circle(size=22, opacity=1).encode(
        alt.Y("mean:Q"), tooltip=["when:N", "number:Q", alt.Tooltip("mean:Q", format=".3g")]
    )
    return charts.finished(alt.layer(band, dots))
