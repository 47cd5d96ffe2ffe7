"""Short convolutions with few multiplications: the Cook-Toom construction behind Winograd's algorithm.

A polynomial with n coefficients is known by its values at n points. To multiply one with m coefficients y by one
with r coefficients g, evaluate both at n = m + r − 1 points, multiply the n values, and interpolate:

    y·g = E⁻¹ (A y ⊙ G g)        A, G, E: evaluation of m, r and n coefficients, rows (1, a, a², …)

One point is ∞, where the value is the highest coefficient: a row (0, …, 0, 1). The convolution layers need the
adjoint of this with respect to y, the correlation of n data d with r taps g, which yields m outputs:

    out[i] = Σ_j g[j] · d[i + j],        out = Aᵀ (B d ⊙ G g),   B = E⁻ᵀ

with n multiplications in the place of m·r (Toom 1963, Cook 1966, Winograd 1980). In two dimensions, each transform
is applied along y and along x: (m + r − 1)² multiplications in the place of m²·r². This is F(m×m, r×r) of Lavin and
Gray (2016); their Bᵀ is our B.
"""

from fractions import Fraction
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Small numbers and their inverses keep the entries of the matrices, and with them the rounding errors, small. With
# 1/2 and −2, F(4×4, 3×3) in float32 has two thirds of the error that it has with 2 and −2.
_POINTS = [Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2), Fraction(2), Fraction(-1, 2)]
MOST_POINTS = len(_POINTS) + 1  # with infinity


class Transforms(NamedTuple):
    """The matrices of F(m, r) with n = m + r − 1 points, float64: A (n, m), B (n, n), G (n, r)."""

    A: NDArray[np.float64]
    B: NDArray[np.float64]
    G: NDArray[np.float64]


@cache
def transforms(m: int, r: int) -> Transforms:
    """Return the transforms of the correlation with r taps that yields m outputs."""
    n = m + r - 1
    inverse = _invert(_evaluation(n, n))
    return Transforms(
        A=np.array(_evaluation(n, m), np.float64),
        B=np.array(inverse, np.float64).T.copy(),
        G=np.array(_evaluation(n, r), np.float64),
    )


def _evaluation(n: int, coefficients: int) -> list[list[Fraction]]:
    """Return the matrix that evaluates a polynomial at n points, the last of which is infinity."""
    rows = [[point**power for power in range(coefficients)] for point in _POINTS[: n - 1]]
    return [*rows, [Fraction(power == coefficients - 1) for power in range(coefficients)]]


def _invert(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Return the inverse by Gauss-Jordan elimination, exactly."""
    n = len(matrix)
    rows = [[*row, *(Fraction(i == j) for j in range(n))] for i, row in enumerate(matrix)]
    for i in range(n):
        pivot = next(k for k in range(i, n) if rows[k][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for k in range(n):
            if k != i:
                rows[k] = [value - rows[k][i] * base for value, base in zip(rows[k], rows[i], strict=True)]
    return [row[n:] for row in rows]
