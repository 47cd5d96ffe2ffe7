"""The hook points of Algorithm 1 and what may hang there: hooks, which normalize, and observers, which look on."""

from collections.abc import Callable
from typing import Any

Array = Any  # numpy.ndarray or cupy.ndarray
Hook = Callable[[Array], Array]
Observer = Callable[[Array], None]


class HookPoint:
    """One of the three places of Algorithm 1 where ``X = Normalize(X)`` stands.

    A hook is any callable from an array to an array of its shape; its result is written back into the array
    (projection), unless it is a Reparametrization. Observers get a copy of the array before and after, which they may
    keep.
    """

    def __init__(self) -> None:
        self.hook: Hook | None = None
        self.before: list[Observer] = []
        self.after: list[Observer] = []

    def __call__(self, array: Array) -> Array:
        """Return the array as the rest of the layer is to use it."""
        _show(array, self.before)
        result = array if self.hook is None else self.hook(array)
        if result is not array and not isinstance(self.hook, Reparametrization):
            array[...] = result
            result = array
        _show(result, self.after)
        return result

    def adjoint(self, grads: Array) -> None:
        """Carry gradients of the array in use back to the array that is kept, in place.

        The two differ in reparametrization alone: in projection the gradient does not pass the normalization.
        """
        if isinstance(self.hook, Reparametrization):
            self.hook.adjoint(grads)


def _show(array: Array, observers: list[Observer]) -> None:
    for observer in observers:
        observer(array.copy())


class Delegated:
    """Stands at a hook point for a normalization that is done elsewhere: the array passes as it is."""

    def __init__(self, normalization: Any, place: str) -> None:
        self.normalization, self.place = normalization, place

    def __call__(self, array: Array) -> Array:
        """Return the array."""
        return array

    def __str__(self) -> str:
        return f"{self.normalization} in the {self.place}"


class Reparametrization:
    """A weight hook that leaves the raw weights alone: forward uses W = normalize(V), the optimizer moves V.

    The gradient goes back through the normalization's adjoint, ∂L/∂V = (∂W/∂V)ᵀ ∂L/∂W, as in the original
    papers of weight normalization (Salimans and Kingma 2016) and weight standardization (Qiao et al. 2019).
    """

    def __init__(self, normalization: Any) -> None:
        self.normalization = normalization
        self.effective: Array | None = None
        self.scale: Array | None = None

    def __call__(self, raw: Array) -> Array:
        """Return the normalized copy of the raw weights."""
        if self.effective is None:
            self.effective = raw.copy()
        self.scale = self.normalization.transform(raw, self.effective)
        return self.effective

    def adjoint(self, grads: Array) -> None:
        """Turn ∂L/∂W into ∂L/∂V, in place."""
        self.normalization.transform_adjoint(grads, self.effective, self.scale, grads)

    def __str__(self) -> str:
        return str(self.normalization)
