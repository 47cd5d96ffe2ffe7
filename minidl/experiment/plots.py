"""Plots as PNG: the curves of a run, those of several methods, and a table of the paper beside our own results."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib import colormaps, style
from matplotlib.figure import Figure

from minidl.experiment.sweeps.tables import Line
from minidl.experiment.trainer import Epoch

Axes = Any


def curves(epochs: Sequence[Epoch], title: str) -> bytes:
    """Draw loss and accuracy over the epochs."""
    figure, axes = _over_epochs(title, ("loss", "accuracy, %"))
    for axis, quantity in zip(axes, ("loss", "accuracy"), strict=True):
        for part, line in (("train", "o--"), ("test", "o-")):
            axis.plot(*_series(epochs, f"{part}_{quantity}"), line, markersize=3, label=part)
        axis.legend()
    return png(figure, dpi=120)


def comparison(runs: Mapping[str, Sequence[Sequence[Epoch]]], title: str) -> bytes:
    """Draw the training loss and the test accuracy of methods over the epochs, one line for each of their runs.

    Each method has its own mark, and a colour that colour-blind readers can also tell from the others.
    """
    figure, axes = _over_epochs(title, ("training loss", "test accuracy, %"))
    marked = cycler(marker=list("osD^vPX*<>")) + style.library["tableau-colorblind10"]["axes.prop_cycle"]
    looks = cycler(linestyle=["-", "--", ":"]) * marked  # 30 different ones
    for (method, logs), look in zip(runs.items(), cycle(looks), strict=False):
        for number, epochs in enumerate(logs):
            label = "_" if number else method  # one entry in the legend for all runs
            for axis, column in zip(axes, ("train_loss", "test_accuracy"), strict=True):
                axis.plot(*_series(epochs, column), markersize=4, linewidth=1.2, label=label, **look)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return png(figure, dpi=120)


def _over_epochs(title: str, quantities: Sequence[str]) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with axes for quantities over the epochs, side by side."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots(1, len(quantities))
    for axis, quantity in zip(axes, quantities, strict=True):
        axis.set(xlabel="epoch", ylabel=quantity)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    figure.suptitle(drawable(title), parse_math=False)  # it has the name of a folder, which is no formula
    return figure, axes


def _series(epochs: Sequence[Epoch], column: str) -> tuple[list[int], list[float]]:
    """Return the epochs, or for test results those with a test, and their losses or accuracies in percent."""
    shown = [epoch for epoch in epochs if column.startswith("train") or epoch.tested]
    scale = 100 if column.endswith("accuracy") else 1
    return [epoch.epoch for epoch in shown], [scale * getattr(epoch, column) for epoch in shown]


def table(lines: Sequence[Line]) -> bytes:
    """Draw for each net its rows from best to worst, the paper's beside ours, and the accuracies against each other."""
    finite = [line for line in lines if np.isfinite([line.row.paper, line.mean]).all()]
    nets = list(dict.fromkeys(line.row.model for line in finite)) or [""]
    parts = [sorted((line for line in finite if line.row.model == net), key=_by_paper) for net in nets]
    heights = [1.5 + 0.3 * len(part) for part in parts]
    figure = Figure(figsize=(10.5, sum(heights)))
    grid = figure.subplots(len(nets), 2, squeeze=False, width_ratios=(1.6, 1), height_ratios=heights)
    for net, part, (order, plane) in zip(nets, parts, grid, strict=True):
        colours = colormaps["viridis"](np.linspace(0, 0.9, max(len(part), 1)))
        _draw_order(order, part, colours)
        order.set(title=f"net ({net})", xlim=(-1.6, 2.6), ylim=(len(part), -1.5))
        order.axis("off")
        for line, colour in zip(part, colours, strict=False):
            plane.errorbar(line.row.paper, line.mean, np.nan_to_num(line.deviation), fmt="o", color=colour, capsize=3)
        plane.set(xlabel="paper, %", ylabel="measured, %")
        plane.grid(alpha=0.3)
    figure.tight_layout()
    return png(figure, dpi=100, bbox_inches="tight")


def _by_paper(line: Line) -> float:
    return -line.row.paper


def _draw_order(axis: Axes, lines: Sequence[Line], colours: Any) -> None:
    """Draw a line from each row's place in the paper, if ``lines`` have it, to its place here."""
    ours = sorted(lines, key=lambda line: -line.mean)
    for place, (line, colour) in enumerate(zip(lines, colours, strict=False)):
        own = ours.index(line)
        axis.plot((0, 1), (place, own), "o-", color=colour)
        spread = f" ± {line.deviation:.2f}" if np.isfinite(line.deviation) else ""
        axis.text(-0.08, place, f"{line.row.method}   {line.row.paper:.2f}", ha="right", va="center")
        axis.text(1.08, own, f"{line.mean:.2f}{spread}   {line.row.method}", ha="left", va="center")
    for x, title in ((0, "paper, %"), (1, "measured, %")):
        axis.text(x, -1, title, ha="center", va="center", fontweight="bold")


def drawable(text: str) -> str:
    """Return a text that can be drawn: a file name may have bytes that are no text."""
    return text.encode(errors="replace").decode()


def png(figure: Figure, **options: Any) -> bytes:
    """Return a figure as a PNG; options: of its ``savefig``."""
    file = io.BytesIO()
    figure.savefig(file, format="png", **options)
    return file.getvalue()
