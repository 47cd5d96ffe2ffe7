"""What came out of the runs: accuracies in sentences and a table, and the curves over the epochs."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from minidl.experiment.sweeps.seeds import deviation, mean
from minidl.experiment.trainer import Epoch
from minidl.study.report import charts
from minidl.study.report.blocks import Chart, Rows, Section, Table
from minidl.study.report.runs import Group, Run
from minidl.words import in_a_row


def outcome(groups: Sequence[Group]) -> Section:
    """Return the section: a sentence and a line of the table for each group."""
    said = [_sentence(group) for group in groups]
    head = ("method", "test accuracy", "train loss", "epochs", "seeds", "folder")
    return Section("What came out", " ".join(said), [Table("Results", head, [_line(group) for group in groups])])


def curves(groups: Sequence[Group]) -> Section:
    """Return the section with loss and accuracy over the epochs, of training and test."""
    accuracy = Chart(
        title="Accuracy",
        sentence=f"The accuracy in the last test: {_ends(groups, 'accuracy', 100, ' %')}.",
        spec=_curve(groups),
        rows=_rows(groups, "accuracy", 100),
        unit=" %",
        **TABLE,
    )
    losses = _rows(groups, "loss", 1)
    log = _wide(losses)
    scale = " The axis is logarithmic." if log else ""
    loss = Chart(
        title="Loss",
        sentence=f"The mean cross-entropy in the last test: {_ends(groups, 'loss', 1, '')}.{scale}",
        spec=_curve(groups, log),
        rows=losses,
        **TABLE,
    )
    text = "Training (dashed) and test (solid) after each epoch; a training value is the mean over its epoch."
    if any(len(group.runs) > 1 for group in groups):
        text += " Lines are means over the seeds, bands are ± one standard deviation."
    return Section("Curves", text, [accuracy, loss])


WIDE = 50  # times the median
FEW = 12  # epochs of which each has its number at the axis
TABLE: dict[str, Any] = {"line": "epoch", "columns": ("run", "part"), "values": {"mean": ""}}


def spread(values: Sequence[float], unit: str = "") -> str:
    """Return "mean ± standard deviation", or the value where there is one alone.

    >>> spread([0.5, 0.75]), spread([62.0], " %"), spread([0.5, float("nan")])
    ('0.63 ± 0.18', '62.0 %', 'not a number')
    """
    if not math.isfinite(mean(values)):
        return "not a number"
    places = 1 if unit == " %" else 2
    side = f" ± {deviation(values):.{places}f}" if len(values) > 1 else ""
    return f"{mean(values):.{places}f}{side}{unit}"


def _tested(run: Run) -> Epoch | None:
    return next((epoch for epoch in reversed(run.epochs) if epoch.tested), None)


def _diverged(group: Group) -> list[Run]:
    """Return the runs whose last epoch made no numbers: what was tested before it is not what came out of them."""
    return [run for run in group.runs if not math.isfinite(run.epochs[-1].train_loss)]


def _in_test(group: Group, quantity: str, scale: float, unit: str) -> str:
    """Return a quantity of the last test of the runs that have not diverged, and how many have."""
    lost = _diverged(group)
    last = [epoch for run in group.runs if run not in lost and (epoch := _tested(run))]
    if len(lost) == len(group.runs):
        return "diverged"
    said = spread([scale * getattr(epoch, f"test_{quantity}") for epoch in last], unit) if last else "not tested"
    return said + (f" ({len(lost)} of {len(group.runs)} diverged)" if lost else "")


def _accuracy(group: Group) -> str:
    return _in_test(group, "accuracy", 100, " %")


def _sentence(group: Group) -> str:
    if lost := _diverged(group):
        which = group.seeds if len(lost) == len(group.runs) else f"{len(lost)} of {group.seeds}"
        return f"{group.label}: after {_progress(lost)} the loss was not a number any more ({which})."
    progress = _progress(group.runs)
    if not any(map(_tested, group.runs)):
        return f"{group.label}: not tested in {progress} ({group.seeds})."
    overlap = [run.result["mean_iou"] for run in group.runs if run.result and run.result.get("mean_iou") is not None]
    what = f"of the pixels are right, mean IoU {spread([100 * x for x in overlap], ' %')}," if overlap else "right"
    return f"{group.label}: {_accuracy(group)} {what} in the test after {progress} ({group.seeds})."


def _progress(runs: Sequence[Run]) -> str:
    """Return how many epochs were trained, of those that were asked for, where these are others."""
    counts, asked = [len(run.epochs) for run in runs], runs[0].settings.get("epochs")
    least, most = min(counts), max(counts)
    epochs = f"{most}" if least == most else f"{least} to {most}"
    progress = epochs if asked in (None, least) else f"{epochs} of {asked}"
    return progress + (" epoch" if progress == "1" else " epochs")


def _line(group: Group) -> list[str]:
    losses = [run.epochs[-1].train_loss for run in group.runs]
    return [
        group.label,
        _accuracy(group),
        spread(losses),
        ", ".join(dict.fromkeys(str(len(run.epochs)) for run in group.runs)),
        ", ".join(str(run.seed) for run in group.runs),
        ", ".join(run.folder.name for run in group.runs),
    ]


def _ends(groups: Sequence[Group], quantity: str, scale: float, unit: str) -> str:
    return in_a_row(f"{group.label} {_in_test(group, quantity, scale, unit)}" for group in groups)


def _rows(groups: Sequence[Group], quantity: str, scale: float) -> Rows:
    found: Rows = []
    for group in groups:
        for part in ("train", "test"):
            for number in range(max(len(run.epochs) for run in group.runs)):
                epochs = [run.epochs[number] for run in group.runs if number < len(run.epochs)]
                values = [scale * getattr(epoch, f"{part}_{quantity}") for epoch in epochs]
                values = [value for value in values if math.isfinite(value)]  # nan where it was not tested, or diverged
                if values:
                    middle, side = mean(values), deviation(values) if len(values) > 1 else 0.0
                    found.append(
                        {"run": group.label, "part": part, "epoch": number + 1, "mean": middle}
                        | {"low": middle - side, "high": middle + side}
                    )
    return found


def _wide(rows: Rows) -> bool:
    """Return whether the largest number hides the differences of all others on a linear axis."""
    values = [row["mean"] for row in rows]
    return bool(values) and max(values) > WIDE * float(np.median(values)) and min(values) > 0


def _curve(groups: Sequence[Group], log: bool = False) -> dict[str, Any]:
    labels, last = [group.label for group in groups], max(len(run.epochs) for group in groups for run in group.runs)
    ticks = {"values": list(range(1, last + 1))} if last <= FEW else {"tickMinStep": 1}
    base = alt.Chart(charts.rows(), height=220).encode(
        alt.X("epoch:Q").axis(format="d", title="epoch", **ticks).scale(nice=False),
        charts.colour(labels),
        detail="part:N",
    )

    def y(name: str) -> alt.Y:
        axis = alt.Y(f"{name}:Q").title(None)
        if log:
            return axis.scale(type="log").axis(values=charts.DECADES, format=",~g")
        return axis.axis(labelExpr=charts.WITH_UNIT).scale(zero=False)

    line = base.mark_line(strokeWidth=2).encode(
        y("mean"), alt.StrokeDash("part:N").scale(domain=["test", "train"], range=[[1, 0], [4, 3]]).legend(None)
    )
    points = base.mark_point(size=40, filled=True).encode(
        y("mean"), charts.shape(labels), tooltip=["run:N", "part:N", "epoch:Q", alt.Tooltip("mean:Q", format=".4g")]
    )
    band = base.mark_area(opacity=0.2).encode(y("low"), alt.Y2("high:Q"))
    if log:
        band = band.transform_filter("datum.low > 0")  # what has no logarithm
    return charts.finished(alt.layer(band, line, points))
