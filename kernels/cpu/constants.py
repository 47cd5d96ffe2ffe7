"""Constants: weights that do not change any more, and what an algorithm makes of them once instead of every time."""

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import ref

from numpy.typing import NDArray

Array = NDArray[Any]


def constant(array: Array) -> Array:
    """Return a copy that cannot be written to, by which operations know that it does not change."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def is_constant(array: Array) -> bool:
    """Return whether an array does not change any more."""
    return not array.flags.writeable


class Kept:
    """What was made of constants, for as long as these exist."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[ref[Array], Array]] = {}

    def __deepcopy__(self, memo: Any) -> "Kept":
        """Return one that has made nothing yet."""
        return Kept()

    def of(self, source: Array, make: Callable[[Array], Array]) -> Array:
        """Return ``make(source)`` of a constant, made once, in memory of its own."""
        known, made = self._made.get(id(source), (None, None))
        if known is None or known() is not source:
            made = make(source)
            self._made[id(source)] = ref(source, partial(self._forget, id(source))), made
        assert made is not None
        return made

    def _forget(self, key: int, gone: "ref[Array]") -> None:
        """Forget what was made of a constant that is gone, unless another one has its place already."""
        if key in self._made and self._made[key][0] is gone:
            del self._made[key]
