"""Constants: weights that do not change any more, and what an algorithm makes of them once instead of every time."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def constant(array: Array) -> Array:
    """Return a copy that cannot be written to, by which operations know that it does not change."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


class Kept:
    """What is made of the last constant that was seen."""

    def __init__(self) -> None:
        self._source: Array | None = None
        self._made: Array | None = None

    def of(self, source: Array, make: Callable[[Array], Array]) -> Array:
        """Return ``make(source)``: of a constant, a copy that is kept; of anything else, whatever make returns."""
        if source.flags.writeable:
            return make(source)
        if self._source is not source:
            self._source, self._made = source, np.array(make(source))
        assert self._made is not None
        return self._made
