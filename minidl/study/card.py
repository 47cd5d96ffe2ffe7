"""Card: the properties of a normalization, also of a user-defined one, found by probes without training.

A probe applies it to random numbers in float64 and compares results, up to rounding and the ε of its denominators
(TOLERANCE). A property that holds for random numbers holds in general, as they are no special case.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.kernels import Kernels, load
from minidl.kernels.areas import area_view
from minidl.kernels.arguments import check_kind
from minidl.normalizations import Normalization
from minidl.study.quantities import norm
from minidl.study.table import Table

Array = Any
SHAPES = {"weights": (8, 3, 3, 4), "grads": (8, 3, 3, 4), "error": (6, 5, 4, 3)}  # of the random arrays, by hook point
MEAN, DEVIATION = 0.5, 2.0  # of their elements
TOLERANCE = 1e-4  # relative


@dataclass(frozen=True)
class Card:
    """The properties of a normalization N.

    point, area: its hook point, and which elements share a mean; adjoint: whether an error can be propagated back
    through it. idempotent: N(N(x)) = N(x), a second application changes nothing. shift: N(x + c) = N(x), an added
    constant changes nothing. doubled: N(2x) is "N(x)", "2N(x)" or "neither". linear: N(ax + by) = aN(x) + bN(y).
    orthogonal: x − N(x) ⟂ N(x), what it removes is orthogonal to what it leaves. mean_kept: the norm of the areas'
    means after it, divided by that before; norm_kept: ‖N(x)‖/‖x‖; both for random x with mean 0.5 and standard
    deviation 2.
    """

    name: str
    point: str
    area: str
    adjoint: bool
    idempotent: bool
    shift: bool
    doubled: str
    linear: bool
    orthogonal: bool
    mean_kept: float
    norm_kept: float


def card(normalization: Normalization, kernels: Kernels | str) -> Card:
    """Return the card of a normalization, such as NORMALIZATIONS["WC"].

    Raises MinidlError if a user-defined one fails on random numbers.
    """
    check_kind("normalization of card", normalization, Normalization, 'give one such as NORMALIZATIONS["WC"]')
    kernels = load(kernels)
    bound = normalization.bind(kernels)
    random = np.random.default_rng(0)
    shape = SHAPES[bound.point]
    x, y = (kernels.xp.asarray(random.normal(MEAN, DEVIATION, shape)) for _ in range(2))

    def n(array: Array) -> Array:
        return bound(array.copy())

    with np.errstate(all="ignore"):  # such as the logarithm of a negative number: nan equals nothing
        nx, twice = n(x), n(2 * x)
        return Card(
            name=bound.name,
            point=bound.point,
            area=bound.area,
            adjoint=bound.has_adjoint,
            idempotent=_equal(n(nx), nx),
            shift=_equal(n(x + 3.0), nx),
            doubled="N(x)" if _equal(twice, nx) else "2N(x)" if _equal(twice, 2 * nx) else "neither",
            linear=_equal(n(2 * x - 3 * y), 2 * nx - 3 * n(y)),
            orthogonal=abs(float(((x - nx) * nx).sum())) <= TOLERANCE * norm(x - nx) * norm(nx),
            mean_kept=_means(nx, bound.area) / _means(x, bound.area),
            norm_kept=norm(nx) / norm(x),
        )


def table(cards: Sequence[Card]) -> Table:
    """Return a table with a line for each card."""
    laws = ("N(N(x))=N(x)", "N(x+c)=N(x)", "N(2x)", "linear", "x−N(x)⟂N(x)")
    head = ("", "at", "area", *laws, "mean", "norm", "adjoint")
    return Table(head, "<<<<<<<<>><", [_row(card) for card in cards])


def _row(card: Card) -> tuple[str, ...]:
    laws = (card.idempotent, card.shift, card.doubled, card.linear, card.orthogonal)
    return (
        *(card.name, card.point, card.area),
        *(law if isinstance(law, str) else "yes" if law else "no" for law in laws),
        *(f"{100 * kept:.0f} %" for kept in (card.mean_kept, card.norm_kept)),
        "yes" if card.adjoint else "no",
    )


def _equal(x: Array, y: Array) -> bool:
    return norm(x - y) <= TOLERANCE * norm(y)


def _means(x: Array, area: str) -> float:
    """Return the norm of the means of the areas."""
    return norm(x.reshape(area_view(x.shape, area)).mean(axis=(1, 3)))
