"""Transcript: a walk as sections of text, printed here, and turned into a page by page.py."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from textwrap import fill
from typing import Any

import numpy as np

from minidl.study.table import Table
from minidl.study.walk import Point, Walk
from minidl.study.watch import Change
from minidl.words import counted, signed

Array = Any
TITLE, WIDTH = 11, 110  # columns of a section's title with the space after it, and of the whole
ROWS, COLUMNS = 5, 5  # of a filter, at most
NONE = "·"  # an empty cell

four_digits = partial(signed, places=4)


@dataclass(frozen=True)
class Grid:
    """A part of a filter in numbers, before and after a hook, in units of a power of ten.

    between: the operation between them; after: None without a hook.
    """

    title: str
    before: Array
    between: str
    after: Array | None

    def share(self, value: float) -> float:
        """Return a number relative to the largest, 0 … 1."""
        largest = max(float(abs(part).max()) for part in (self.before, self.after) if part is not None)
        return abs(value) / largest if largest else 0.0

    def __str__(self) -> str:
        middle = len(self.before) // 2
        lines = [fill(self.title, WIDTH, initial_indent="  ", subsequent_indent="  "), ""]
        for i, row in enumerate(self.before):
            line = "    " + " ".join(map(four_digits, row))
            if self.after is not None:
                between = self.between if i == middle else ""
                line += f"  {between:^{len(self.between)}}  " + " ".join(map(four_digits, self.after[i]))
            lines.append(line.rstrip())
        return "\n".join(lines)


@dataclass(frozen=True)
class Section:
    """A step of the walk: its heads, each a title and a text, then a table, a note and grids of numbers, if any."""

    heads: Sequence[tuple[str, str]]
    table: Table | None = None
    note: str = ""
    grids: Sequence[Grid] = ()

    def __str__(self) -> str:
        heads = [
            fill(text, WIDTH, initial_indent=f"{title:<{TITLE}}", subsequent_indent=" " * TITLE)
            for title, text in self.heads
        ]
        parts = ["\n".join(heads), self.table, fill(self.note, WIDTH), *self.grids]
        return "\n\n".join(str(part) for part in parts if part)


def transcript(walk: Walk) -> str:
    """Return a walk as text, at most 110 columns wide with the paper's names."""
    return "\n\n".join([fill(title(walk), WIDTH), *map(str, sections(walk))])


def title(walk: Walk) -> str:
    """Return the title: the net, its method and the batch."""
    net = walk.net
    mode = f", {net.mode}" if net.mode != "projection" else ""
    steps = f"after {counted(walk.after, 'step')}"
    batch = f"{counted(walk.samples, 'image')} of {walk.data}"
    return f"One batch through Algorithm 1: net ({net.name}), {net.method}{mode}; {batch}, {steps}"


def sections(walk: Walk) -> list[Section]:
    """Return the steps of a walk in order."""
    return [_forward(walk), _loss(walk), _backward(walk), _update(walk), _again(walk), _one_filter(walk), _seen(walk)]


def _forward(walk: Walk) -> Section:
    hook = _hook(one.weights for one in walk.layers)
    rows = [
        (
            *(one.layer, "×".join(map(str, one.shape)), _number(one.data_alike, ".2f"), _percent(one.data_mean, 0)),
            *(_percent(one.weights.mean[0]), *_after(one.weights)),
            *(_number(one.out_std, ".3g"), _number(one.alike, ".2f"), _percent(one.out_mean, 0)),
            *(_percent(one.active, 0), _percent(one.dead, 0)),
        )
        for one in walk.layers
    ]
    head = ("layer", "shape", "alike", "mean", "mean", hook, "changed", "deviation", "alike", "mean", "active", "dead")
    groups = (("", 1), ("data", 3), ("weights", 3), ("output, before its ReLU", 5))
    return Section(
        [("FORWARD", "Weights = Normalize(Weights);  Output = FWD(Weights, Data)")],
        Table(head, "<<>>>>>>>>>>", rows, groups),
        "alike: the mean cosine between two images; mean: the share of the means in the energy Σ x², of channels "
        "(data, outputs) or filters (weights); changed: ‖x − N(x)‖/‖x‖; active: the share above 0, which a "
        "ReLU right after it lets through; dead: the share of channels that are above 0 in no image",
    )


def _loss(walk: Walk) -> Section:
    guess = f"guessing among {walk.classes} classes costs ln {walk.classes} = {math.log(walk.classes):.4f}"
    text = f"{_loss_of(walk.loss[0])} ({guess}); the norm of its error is {_number(walk.error_norm, '.4f')}"
    return Section([("LOSS", text)])


def _backward(walk: Walk) -> Section:
    rows = [
        (
            *(one.layer, _number(one.grads.norm[0], ".3g"), _percent(one.grads.mean[0]), *_after(one.grads)),
            _number(one.angle, ".0f", "°"),
            *_error(one.error),
        )
        for one in reversed(walk.layers)
    ]
    hooks = (_hook(one.grads for one in walk.layers), _hook(one.error for one in walk.layers if one.error))
    head = ("layer", "norm", "mean", hooks[0], "changed", "angle", "norm", "mean", hooks[1], "changed")
    return Section(
        [
            ("BACKWARD", "ErrorOut = BWD(Weights, ErrorIn);  ErrorOut = Normalize(ErrorOut)"),
            ("COMPGRADS", "Grad = GRAD(Data, ErrorIn);  Grad = Normalize(Grad)"),
        ],
        Table(head, "<>>>>>>>>>", rows, (("", 1), ("gradient", 5), ("error passed back", 4))),
        "norm: of the gradient before its hook, of the error after it, as it is passed back; mean: of filters "
        "(gradient) or channels (error); angle: between the gradient that is used and the one "
        "without any hook at gradients and errors, at the same weights; the first layer passes no error back",
    )


def _update(walk: Walk) -> Section:
    rows = [
        (one.layer, _percent(one.step_ratio, 2), _percent(one.grads.mean[1]), _percent(one.step_mean))
        for one in walk.layers
    ]
    head = ("layer", "step/weights", "mean of the gradient", "mean of the step")
    return Section(
        [("UPDATE", f"{walk.optimizer}: Weights = Weights + Step")],
        Table(head, "<>>>", rows),
        "step/weights: of their norms; mean: the share of the filter means in the energy",
    )


def _again(walk: Walk) -> Section:
    before, after = map(_loss_of, walk.loss)
    return Section([("AGAIN", f"the loss of the same batch: {before} before the step, {after} after it")])


def _one_filter(walk: Walk) -> Section:
    one = walk.filter
    extents = one.weights.before.shape
    text = f"{one.layer}, filter {one.number} of {one.filters} ({'×'.join(map(str, extents))})"
    layer = next(layer for layer in walk.layers if layer.layer == one.layer)
    return Section(
        [("ONE FILTER", f"{text}; choose with --layer and --filter")],
        grids=[grid("Weights", one.weights, layer.weights.hook), grid("Grad", one.grads, layer.grads.hook)],
    )


def grid(name: str, change: Change, hook: str) -> Grid:
    """Return the part of a filter that is shown: its first input channel, or the first of its inputs in rows."""
    (before, what), (after, _) = _part(change.before), _part(change.after)
    largest = float(max(abs(before).max(), abs(after).max()))
    power = math.floor(math.log10(largest)) if 0 < largest < math.inf else 0
    unit = 1.0 if power in (-1, 0) else 10.0**power
    units = f", in units of {unit:.0e}" if unit != 1 else ""
    mean = four_digits(change.before.mean(dtype=np.float64) / unit)
    if not hook:
        return Grid(f"{name}, {what}{units}; no hook: the filter's mean {mean} stays", before / unit, "", None)
    taken = before.astype(np.float64) - after
    constant = abs(taken - taken.mean()).max() <= 1e-5 * largest
    between = f"− ({four_digits(taken.mean() / unit)})  =" if constant else f"→ {hook} →"
    then = four_digits(change.after.mean(dtype=np.float64) / unit)
    text = f"{name}, {what}{units}; {hook}: the filter's mean {mean} becomes {then}"
    return Grid(text, before / unit, between, after / unit)


def _part(array: Array) -> tuple[Array, str]:
    *plane, inputs = array.shape
    if len(plane) == 2 and math.prod(plane) > 1:
        y, x = min(plane[0], ROWS), min(plane[1], COLUMNS)
        cut = f" (the first {y}×{x} of {plane[0]}×{plane[1]})" if [y, x] != plane else ""
        return array[:y, :x, 0], f"of input channel 0 of {inputs}{cut}"
    inputs = array.size
    columns = min(inputs, COLUMNS)
    rows = min(inputs // columns, 3)
    some = "all" if rows * columns == inputs else f"the first {rows * columns} of its"
    return array.reshape(-1)[: rows * columns].reshape(rows, columns), f"of {some} {inputs} inputs"


def _seen(walk: Walk) -> Section:
    return Section([("SEEN" if i == 0 else "", sentence) for i, sentence in enumerate(lessons(walk))])


def lessons(walk: Walk) -> list[str]:
    """Return sentences on what the walk shows: what the hooks did, and what is unusual in the net."""
    found = [_diverged(walk), _changed(walk), _lost(walk), _turned(walk), _grown(walk), _dying(walk), _indistinct(walk)]
    return [sentence for sentence in found if sentence]


def _diverged(walk: Walk) -> str:
    if math.isfinite(walk.loss[0]):
        return ""
    if walk.after:
        return (
            "The loss is not a number, as the training before it has diverged: take fewer steps with --after, or a "
            "smaller --learning-rate."
        )
    return (
        "The loss is not a number before any step. Where the numbers grow too large on the way down the net, a method "
        "with a data norm, such as BN, or other normalizations of the weights help."
    )


def _kinds(walk: Walk) -> list[tuple[str, list[tuple[str, Point]]]]:
    """Return the hook points by kind, each with the name of its layer."""
    return [
        ("weights", [(one.layer, one.weights) for one in walk.layers]),
        ("gradient", [(one.layer, one.grads) for one in walk.layers]),
        ("error", [(one.layer, one.error) for one in walk.layers if one.error]),
    ]


def _hooked(walk: Walk) -> list[tuple[str, list[tuple[str, Point]]]]:
    return [(what, [pair for pair in points if pair[1].hook]) for what, points in _kinds(walk)]


def _changed(walk: Walk) -> str:
    hooked = _hooked(walk)
    most = [(what, _most(points, lambda pair: pair[1].changed)) for what, points in hooked]
    told = [f"{pair[1].hook} {_percent(pair[1].changed)} of the {what} ({pair[0]})" for what, pair in most if pair]
    if told:
        return f"Largest changes by hooks, as shares of the norm: {', '.join(told)}."
    if any(points for _, points in hooked):
        return "No change by a hook can be computed (nan)."
    means = [(what, _most(points, lambda pair: pair[1].mean[0])) for what, points in _kinds(walk)[:2]]
    found = [f"{_percent(pair[1].mean[0])} of the {what} ({pair[0]})" for what, pair in means if pair]
    return f"There is no hook. Largest shares of filter means in the energy: {', '.join(found)}."


def _lost(walk: Walk) -> str:
    for what, points in _hooked(walk):
        for name, point in points:
            if math.isfinite(point.norm[0]) and not math.isfinite(point.norm[1]):
                return f"{point.hook} left nan or inf in the {what} of {name}."
    return ""


def _turned(walk: Walk) -> str:
    most = _most(walk.layers, lambda one: one.angle)
    if most is None or most.angle < 1:
        return ""
    uphill = "; past 90°, a small step along it raises the loss" if most.angle > 90 else ""
    return f"The hooks turned {most.layer}'s gradient most, by {most.angle:.0f}°{uphill}."


def _grown(walk: Walk) -> str:
    largest, first = _most(walk.layers, lambda one: one.out_std), walk.layers[0]
    if largest is None or not largest.out_std > 100 * first.out_std:
        return ""
    return (
        f"The outputs grow from a standard deviation of {first.out_std:.3g} in {first.layer} to "
        f"{largest.out_std:.3g} in {largest.layer}."
    )


def _dying(walk: Walk) -> str:
    most = _most([one for one in walk.layers[:-1] if math.isfinite(one.out_std)], lambda one: one.dead)
    if most is None or most.dead < 0.5:
        return ""
    return f"In {most.layer}, {_percent(most.dead, 0)} of the channels are above 0 in no image, and learn nothing."


def _indistinct(walk: Walk) -> str:
    most = _most(walk.layers[:-1], lambda one: one.alike)
    if most is None or most.alike < 0.75:
        return ""
    return f"{most.layer} hardly tells images apart: the mean cosine between the outputs of two is {most.alike:.2f}."


def _most(items: Sequence[Any], key: Callable[[Any], float]) -> Any:
    """Return the item with the largest number, or None if none has a number."""
    return max((item for item in items if math.isfinite(key(item))), key=key, default=None)


def _hook(points: Iterator[Point] | Sequence[Point]) -> str:
    """Return the head of the column for the values after the hook, which is the same at all the points."""
    name = next((point.hook for point in points if point.hook), "")
    return f"→ {name}" if name else "no hook"


def _after(point: Point) -> tuple[str, str]:
    return (_percent(point.mean[1]), _percent(point.changed)) if point.hook else (NONE, NONE)


def _error(error: Point | None) -> tuple[str, ...]:
    if error is None:
        return (NONE,) * 4
    return (_number(error.norm[1], ".3g"), _percent(error.mean[0]), *_after(error))


def _percent(share: float, digits: int = 1) -> str:
    return _number(100 * share, f".{digits}f", " %")


def _loss_of(loss: float) -> str:
    return _number(loss, ".4f" if loss < 1000 else ",.0f")


def _number(value: float, form: str, unit: str = "") -> str:
    return "nan" if math.isnan(value) else f"{value:{form}}{unit}"
