"""Constants: weights that do not change any more, and results that algorithms compute from them only once."""

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import ref

from numpy.typing import NDArray

Array = NDArray[Any]


def constant(array: Array) -> Array:
    """Return a read-only copy; operations recognize constants by this flag."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def is_constant(array: Array) -> bool:
    """Return whether an array is a constant."""
    return not array.flags.writeable


class Kept:
    """Results computed from constants, kept as long as the constants exist."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[ref[Array], Array]] = {}

    def __deepcopy__(self, memo: Any) -> "Kept":
        """Return an object that keeps nothing yet."""
        return Kept()

    def of(self, source: Array, make: Callable[[Array], Array]) -> Array:
        """Return ``make(source)`` of a constant, computed only once; its memory must be new, not scratch memory."""
        known, made = self._made.get(id(source), (None, None))
        if known is None or known() is not source:
            made = make(source)
            self._made[id(source)] = ref(source, partial(self._forget, id(source))), made
        assert made is not None
        return made

    def _forget(self, key: int, gone: "ref[Array]") -> None:
        """Forget the result of a deleted constant, unless a new constant has the same id already."""
        if key in self._made and self._made[key][0] is gone:
            del self._made[key]
