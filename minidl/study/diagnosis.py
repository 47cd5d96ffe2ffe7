"""Diagnosis: explain in words how a wrong gradient differs from the true one, if the difference has a simple form.

Each test assumes one fault, corrects it, and asks whether the two gradients then agree to 1e-5. The tests run from the
simplest fault on, and the first that succeeds is reported.
"""

from collections.abc import Callable, Iterator
from itertools import combinations, permutations
from math import prod
from typing import Any

import numpy as np

from minidl.gradcheck import relative_error
from minidl.kernels.areas import area_view
from minidl.kernels.errors import MinidlError

Array = Any  # of NumPy
AGREE = 1e-5  # relative; central differences are right to about 1e-8
FEW = 0.5  # the largest share of wrong elements that is still "a few"
NOTHING = "no simple explanation: no factor, no transposed or reversed axis, no missing term with a mean, no part"
AREAS = {
    "global": "the whole array",
    "tensor": "each index of the first axis (a filter, or a sample)",
    "channel": "each channel, the last axis",
    "instance": "each pair of a channel and an index of the first axis",
}


def diagnose(computed: Array, true: Array, samples: int = 0, data: Array = None) -> str:
    """Return a sentence on how a computed gradient differs from the true one; NOTHING if no test succeeds.

    samples: of the batch, an easily forgotten factor; data: the point at which the derivative was taken, if it has the
    gradient's shape, as a term may be proportional to it.
    """
    if not np.isfinite(true).all():
        return f"its definition has no finite value for {(~np.isfinite(true)).sum()} of its {true.size} elements"
    if not np.isfinite(computed).all():
        return f"{(~np.isfinite(computed)).sum()} of its {computed.size} elements are no finite numbers"
    if not computed.any():
        return "it is zero throughout: nothing was written, or the error was not passed on"
    if not true.any():
        return "it should be zero throughout, as nothing depends on these numbers"
    tests: tuple[Callable[[], str], ...] = (
        lambda: _factor(computed, true, samples),
        lambda: _transposed(computed, true),
        lambda: _reversed(computed, true),
        lambda: _part(computed, true),
        lambda: _mean(computed, true),
        lambda: _terms(computed, true, data),
    )
    return next(filter(None, (test() for test in tests)), NOTHING)


def _agree(computed: Array, true: Array) -> bool:
    return relative_error(computed, true) < AGREE


def _factor(computed: Array, true: Array, samples: int) -> str:
    k = float((computed * true).sum() / (true * true).sum())
    if not k or not _agree(computed / k, true):
        return ""
    names = {-1.0: "the sign is wrong", 2.0: "it is counted twice", 0.5: "half of it is missing"}
    if samples > 2:
        names |= {
            float(samples): "a sum over the samples where their mean belongs",
            1 / samples: "a mean over the samples where their sum belongs",
        }
    name = next((f": {text}" for value, text in names.items() if abs(k - value) < AGREE * abs(value)), "")
    return f"it is {k:.6g} times the true one, in every element{name}"


def _transposed(computed: Array, true: Array) -> str:
    for order in permutations(range(computed.ndim)):
        if order == tuple(range(computed.ndim)):
            continue
        # The gradient as if its elements had been written with the axes in this order.
        written = computed.reshape([true.shape[axis] for axis in order])
        if _agree(written.transpose(np.argsort(order)), true):
            moved = [str(axis) for axis, place in enumerate(order) if axis != place]
            return f"a transposed axis: with axes {' and '.join(moved)} exchanged (counted from 0) it is the true one"
    return ""


def _reversed(computed: Array, true: Array) -> str:
    axes = [axis for axis, extent in enumerate(computed.shape) if extent > 1]
    for axes_ in (chosen for n in range(1, len(axes) + 1) for chosen in combinations(axes, n)):
        if _agree(np.flip(computed, axes_), true):
            named = " and ".join(map(str, axes_))
            return f"a reversed axis: read backwards along axis {named} (counted from 0) it is the true one"
    return ""


def _part(computed: Array, true: Array) -> str:
    wrong = abs(computed - true) > AGREE * abs(true).max()
    if not 0 < wrong.mean() <= FEW:
        return ""
    places = []
    for axis, extent in enumerate(wrong.shape):
        along = wrong.any(axis=tuple(other for other in range(wrong.ndim) if other != axis))
        if extent > 1 and not along.all():
            places.append(f"{', '.join(map(str, np.flatnonzero(along)))} of {extent} along axis {axis}")
    where = f"; these have the index {'; '.join(places)} (counted from 0)" if places else ""
    return f"only {wrong.sum()} of its {wrong.size} elements are wrong{where}"


def _mean(computed: Array, true: Array) -> str:
    difference = computed - true
    for area, view in _areas(true):
        means = difference.reshape(view).mean(axis=(1, 3), keepdims=True)
        if _agree(computed - np.broadcast_to(means, view).reshape(true.shape), true):
            return f"a missing term of the mean: it differs from the true one by a constant within {AREAS[area]}"
    return ""


def _terms(computed: Array, true: Array, data: Array) -> str:
    if data is None or data.shape != true.shape:
        return ""
    for area, view in _areas(true, least=4):
        d, x = (array.reshape(view) for array in (computed - true, data))
        d0, x0 = (array - array.mean(axis=(1, 3), keepdims=True) for array in (d, x))
        slope = (d0 * x0).sum(axis=(1, 3), keepdims=True) / (x0 * x0).sum(axis=(1, 3), keepdims=True)
        fitted = d - d0 + slope * x0
        if _agree(computed - fitted.reshape(true.shape), true):
            return (
                "a missing term of the deviation: it differs from the true one by a multiple of the data, and a "
                f"constant, within {AREAS[area]}"
            )
    return ""


def _areas(array: Array, least: int = 2) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the areas whose groups have at least so many elements, largest groups first, and their views."""
    if array.ndim < 2:
        shape = (1, array.size)
        if array.size > least:
            yield "global", area_view(shape, "global")
        return
    for area in AREAS:
        try:
            view = area_view(array.shape, area)
        except MinidlError:
            continue
        if prod(view) // (view[0] * view[2]) > least:
            yield area, view
