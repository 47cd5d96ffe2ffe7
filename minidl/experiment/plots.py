"""Plots as PNG: the curves of a run, and a table of the paper beside our own results."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from minidl.experiment.tables import Line
from minidl.experiment.trainer import Epoch

Axes = Any


def curves(epochs: Sequence[Epoch], title: str) -> bytes:
    """Draw loss and accuracy over the epochs."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, quantity, scale in ((axes[0], "loss", 1), (axes[1], "accuracy", 100)):
        for part, style in (("train", "o--"), ("test", "o-")):
            shown = [epoch for epoch in epochs if part == "train" or epoch.tested]
            values = [scale * getattr(epoch, f"{part}_{quantity}") for epoch in shown]
            axis.plot([epoch.epoch for epoch in shown], values, style, markersize=3, label=part)
        axis.set(xlabel="epoch", ylabel=quantity + (", %" if scale == 100 else ""))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend()
    # The title has the name of a folder, which is no formula, and whose bytes need not be text.
    figure.suptitle(title.encode(errors="replace").decode(), parse_math=False)
    return _png(figure, dpi=120)


def table(lines: Sequence[Line]) -> bytes:
    """Draw for each net its rows from best to worst, the paper's beside ours, and the accuracies one over the other."""
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
    return _png(figure, dpi=100, bbox_inches="tight")


def _by_paper(line: Line) -> float:
    return -line.row.paper


def _draw_order(axis: Axes, lines: Sequence[Line], colours: Any) -> None:
    """Draw a line from each row's place in the paper, where ``lines`` have it, to its place here."""
    ours = sorted(lines, key=lambda line: -line.mean)
    for place, (line, colour) in enumerate(zip(lines, colours, strict=False)):
        own = ours.index(line)
        axis.plot((0, 1), (place, own), "o-", color=colour)
        spread = f" ± {line.deviation:.2f}" if np.isfinite(line.deviation) else ""
        axis.text(-0.08, place, f"{line.row.method}   {line.row.paper:.2f}", ha="right", va="center")
        axis.text(1.08, own, f"{line.mean:.2f}{spread}   {line.row.method}", ha="left", va="center")
    for x, title in ((0, "paper, %"), (1, "measured, %")):
        axis.text(x, -1, title, ha="center", va="center", fontweight="bold")


def _png(figure: Figure, **options: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", **options)
    return file.getvalue()
