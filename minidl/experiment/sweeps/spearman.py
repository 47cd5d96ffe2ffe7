"""Ranks, and Spearman's correlation of them."""

from collections.abc import Sequence

import numpy as np


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, 1 for the largest; equal values get the mean of their ranks, nan comes last."""
    numbers = np.nan_to_num(np.asarray(values, float), nan=-np.inf)
    return [float(np.sum(numbers > x) + (np.sum(numbers == x) + 1) / 2) for x in numbers]


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation: Pearson's correlation of the ranks; nan for fewer than two values."""
    a, b = np.asarray(ranks(one)), np.asarray(ranks(other))
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))
