"""Quantities of a study: numbers that say what a normalization does to an array.

Each takes arrays of floats, of NumPy or CuPy, and returns a float, nan if it is not defined (as for an array of zeros);
for anything else, for an array without elements, and for two arrays of different shapes, it raises MinidlError. Unless
stated otherwise, shares are shares of the energy Σ x²: the energy of the means and the energy of the rest add up to the
energy of the array.
"""

import math
from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

import numpy as np

from minidl.kernels.areas import AREAS, area_view
from minidl.kernels.arguments import shown
from minidl.kernels.arrays import check_unmasked
from minidl.kernels.errors import MinidlError
from minidl.words import check_known

Array = Any
Function = TypeVar("Function", bound=Callable[..., float])
ROW = 4096  # products per sum in the arrays' own precision; these sums are added in double precision
NOISE = 1e-6  # of the largest element: a number of this size may be rounding alone
SAFE = (1e-20, 1e30)  # of a sum in float32: its products neither underflow nor overflow


def of_arrays(function: Function) -> Function:
    """Let a function raise MinidlError where its arrays are none, not of floats, or of different shapes."""
    parameters = signature(function)

    @wraps(function)
    def checked(*args: Any, **options: Any) -> float:
        given = parameters.bind(*args, **options).arguments
        arrays = {name: value for name, value in given.items() if name != "area"}
        shape = getattr(next(iter(arrays.values())), "shape", None)
        for name, array in arrays.items():
            found = getattr(array, "shape", ()), getattr(getattr(array, "dtype", None), "kind", "")
            if found != (shape, "f") or not shape or 0 in shape:
                got = f"{array.dtype} of shape {tuple(array.shape)}" if found[1] else shown(array)
                like = f" of shape {shape}, like the other" if len(arrays) > 1 and shape else ""
                empty = "; it has no element" if 0 in found[0] else ""
                hint = "; nothing passed that hook point" if array is None else empty
                raise MinidlError(f"{name} of {function.__name__} must be an array of floats{like}, not {got}{hint}")
            check_unmasked(array)
        return function(*args, **options)

    return checked  # type: ignore[return-value]


@of_arrays
def inner(x: Array, y: Array) -> float:
    """Return ⟨x, y⟩ = Σ x·y."""
    return _inner(x, y)


@of_arrays
def energy(x: Array) -> float:
    """Return ‖x‖² = Σ x²."""
    return _energy(x)


@of_arrays
def norm(x: Array) -> float:
    """Return ‖x‖ = √Σ x²."""
    return _norm(x)


@of_arrays
def mean_share(x: Array, area: str) -> float:
    """Return ‖x̄‖²/‖x‖², 0 … 1, where x̄ is x with each element replaced by the mean of its area.

    area: "tensor" for the means of filters, "channel" for those of the channels of data; see kernels/areas.py. It is
    nan where the area would be a single element.

    >>> mean_share(np.array([[1.0, 3.0]]), "tensor")  # the mean 2 twice, of 1 and 3: 8/10
    0.8
    """
    check_known("area", area, AREAS)
    try:
        view = area_view(x.shape, area)
    except MinidlError:
        return math.nan
    _, rows, _, lanes = view
    means = x.reshape(view).mean(axis=(1, 3), dtype=np.float64)
    return ratio(_energy(means) * rows * lanes, _energy(x))


@of_arrays
def removed(before: Array, after: Array) -> float:
    """Return ‖x − N(x)‖/‖x‖: how much a normalization removes, relative to the norm."""
    return ratio(_norm(before - after), _norm(before))


@of_arrays
def angle(x: Array, y: Array) -> float:
    """Return the angle between two arrays, taken as vectors, in degrees.

    >>> angle(np.array([1.0, 0.0]), np.array([1.0, 1.0]))
    45.0
    """
    along = ratio(_inner(x, y), _energy(y))  # the multiple of y in x; the rest of x is orthogonal to y
    across = _norm(x - along * y)
    known = math.isfinite(across) and (across or along)
    return math.degrees(math.atan2(across, along * _norm(y))) if known else math.nan


@of_arrays
def flips(before: Array, after: Array) -> float:
    """Return the share of elements that change their sign, among those that are not 0 before, but for rounding.

    Fast algorithms make about 1e-7 of the largest element where others make 0, and its sign is chance. So up to NOISE
    of the largest, an element counts as 0.
    """
    if _lost(before) or _lost(after):
        return math.nan
    size = np.abs(before)
    counted = size > NOISE * size.max()
    return ratio(float((counted & (np.sign(before) == -np.sign(after))).sum()), float(counted.sum()))


@of_arrays
def alike(x: Array) -> float:
    """Return how alike the samples are: the mean cosine between different ones, −1/(n − 1) … 1.

    With zᵢ the sample i as a vector and ẑᵢ = zᵢ/‖zᵢ‖ it is (‖Σ ẑᵢ‖² − n)/(n(n − 1)): 1 if all point in the same
    direction, so that the next layer cannot tell them apart, and 0 if they are orthogonal on average. Samples that are
    zero are left out.
    """
    z = x.reshape(len(x), -1)
    largest = np.abs(z).max(axis=1, keepdims=True)
    z = z / np.where(largest > 0, largest, 1)  # so that squares neither underflow nor overflow
    norms = np.sqrt((z[:, None, :] @ z[:, :, None]).ravel())
    factors = np.where(norms > 0, 1 / np.where(norms > 0, norms, 1), 0)
    n = int((norms > 0).sum())
    return ratio(_energy(factors @ z) - n, n * (n - 1))


@of_arrays
def deviation(x: Array) -> float:
    """Return the standard deviation of all elements, √(mean(x²) − mean(x)²)."""
    mean = float(x.mean(dtype=np.float64))
    return math.sqrt(max(_energy(x) / x.size - mean * mean, 0.0))


@of_arrays
def active(x: Array) -> float:
    """Return the share of elements above 0, which a ReLU lets through."""
    return math.nan if _lost(x) else float((x > 0).mean())


@of_arrays
def dead(x: Array) -> float:
    """Return the share of channels (last axis) that are nowhere above 0 in the batch: a ReLU makes them zero."""
    return math.nan if _lost(x) else float(1 - (x > 0).any(axis=tuple(range(x.ndim - 1))).mean())


# What the quantities are made of: without checks, as otherwise a norm would check its array three times.
def _inner(x: Array, y: Array) -> float:
    """Return Σ x·y.

    Double precision for every product would take thirty times as long; only sums outside SAFE use it.
    """
    a, b = x.ravel(), y.ravel()
    whole = a.size - a.size % ROW
    with np.errstate(over="ignore", invalid="ignore"):
        rows = a[:whole].reshape(-1, 1, ROW) @ b[:whole].reshape(-1, ROW, 1)
        total = float(rows.sum(dtype=np.float64)) + float(a[whole:] @ b[whole:])
    if SAFE[0] < abs(total) < SAFE[1]:
        return total
    return float(a.astype(np.float64, copy=False) @ b.astype(np.float64, copy=False))


def _energy(x: Array) -> float:
    return _inner(x, x)


def _norm(x: Array) -> float:
    return math.sqrt(_energy(x))


def _lost(x: Array) -> bool:
    """Return whether an element is nan, as a comparison would count it as not above 0."""
    return bool(np.isnan(x).any())


def ratio(part: float, whole: float) -> float:
    """Return part/whole."""
    return part / whole if whole else math.nan
