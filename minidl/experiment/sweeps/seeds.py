"""Statistics over seeds: mean, standard deviation, and tests of the difference between two methods."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NOISE = "0.3 to 2 points in three epochs on 10,000 images of CIFAR-10, and more in shorter runs"
"""By how much another seed alone moves an accuracy, in words."""


def mean(values: Sequence[float]) -> float:
    """Return the mean, nan for no values or if any of them is nan."""
    return float(np.mean(values)) if len(values) else math.nan


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation (1/(n − 1)), nan for fewer than two values or if any of them is not finite."""
    with np.errstate(invalid="ignore"):
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class Difference:
    """The paired difference of two methods, with equal seeds: its mean, the standard error of that, and p.

    pairs: the number of seeds that both have; p: the probability of such a mean, or a larger one, by chance alone if
    the methods are equal (Student's paired t-test). Error and p are nan for fewer than two pairs.
    """

    mean: float
    error: float
    p: float
    pairs: int


def difference(values: Mapping[int, float], others: Mapping[int, float]) -> Difference:
    """Return the mean difference of values from others, both by seed, over the seeds that both have."""
    pairs = [values[seed] - others[seed] for seed in sorted(values.keys() & others.keys())]
    error = deviation(pairs) / math.sqrt(max(1, len(pairs)))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = float(np.divide(mean(pairs), error))
    return Difference(mean(pairs), error, _probability(t, len(pairs) - 1), len(pairs))


def _probability(t: float, freedom: int) -> float:
    """Return P(|T| ≥ |t|), T having Student's distribution with a whole number of degrees of freedom from 1.

    The finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4, with θ = arctan(t/√freedom).
    """
    if math.isnan(t) or freedom < 1:
        return math.nan
    angle = math.atan(abs(t) / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine, 0.0) if freedom % 2 else (1.0, 0.0)
    for k in range(2 + freedom % 2, freedom + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    within = 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total
    return max(0.0, 1 - within)  # which rounding may take below 0
