"""Hook points of Algorithm 1, with hooks, which normalize, and observers, which only read."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from minidl.functions import check_arguments, name_of
from minidl.kernels.errors import MinidlError

Array = Any  # numpy.ndarray or cupy.ndarray
Hook = Callable[[Array], Array]
Observer = Callable[[Array], None]


def unlike(result: Any, array: Array) -> str:
    """Describe a result that is not real numbers in the array's shape; return "" if it is."""
    shape, dtype = getattr(result, "shape", None), getattr(result, "dtype", None)
    if dtype is None:
        return type(result).__name__
    return "" if shape == array.shape and dtype.kind in "fiub" else f"{dtype} of shape {shape}"


class HookPoint:
    """A place in a layer's pass: one of the three ``X = Normalize(X)`` of Algorithm 1, or the layer's output.

    A hook is any callable from an array to an array of the same shape. Its result is written back into the array
    (projection), unless it is a Reparametrization, which only weights can have. Observers get a copy of the array
    before and after the hook, and may keep it. A net's first layer passes no error back: a hook at its "error" is
    refused, and an observer there is never called. Observers at "weights" or "grads" of a layer without weights are
    never called either.

    in_update: the normalization that the optimizer's update does at this point; then neither a hook nor an observer
    is allowed here. A trace observes ``in_update(array.copy())``, which does not change the update.

    point: "weights", "error" or "grads", or "output", which only observers may use. Raises MinidlError for a hook or
    an observer that cannot be called, and for a hook that returns anything but real numbers in the array's shape.
    """

    # Setting another name by mistake, such as "hooks", is an error.
    __slots__ = ("_hook", "after", "before", "changes", "in_update", "point", "refusal")

    def __init__(self, point: str) -> None:
        self.point = point
        self.refusal = ""  # why a hook is refused here
        self.in_update: Hook | None = None
        self._hook: Hook | None = None
        self.changes = 0  # of the hook; a step that was recorded before a change is recorded again
        self.before: list[Observer] = []
        self.after: list[Observer] = []

    @property
    def hook(self) -> Hook | None:
        """The hook at this point, or None."""
        return self._hook

    @hook.setter
    def hook(self, hook: Hook | None) -> None:
        if hook is not None and not callable(hook):
            raise MinidlError(
                f"a hook is a callable from an array to an array of its shape, not {hook!r}; a normalization is chosen "
                'by its name with method=, as in Net(..., method="WC")'
            )
        if hook is not None and self.refusal:
            raise MinidlError(self.refusal)
        if hook is not None:
            check_arguments(f"the hook point {self.point}", hook, "(array)")
        if isinstance(hook, Reparametrization) and self.point != "weights":
            raise MinidlError(
                f"{hook} as a Reparametrization is for weights alone, not for the {self.point}; use the "
                "normalization itself as the hook here"
            )
        if isinstance(hook, Reparametrization) and hook.point not in (None, self):
            raise MinidlError(
                f"{hook} as a Reparametrization hangs at other weights, whose copy it keeps; make one for each"
            )
        if isinstance(self._hook, Reparametrization):
            self._hook.point = None
        if isinstance(hook, Reparametrization):
            hook.point = self
        self._hook = hook
        self.changes += 1

    def __deepcopy__(self, memo: Any) -> "HookPoint":
        """Return one with a copy of the hook and without observers, which belong to this net, not to its copy."""
        twin = memo[id(self)] = type(self)(self.point)
        twin.refusal = self.refusal
        twin._hook, twin.in_update = deepcopy((self._hook, self.in_update), memo)
        return twin

    def __call__(self, array: Array, layer: str = "the layer") -> Array:
        """Call hook and observers, and return the array that the layer uses from now on; layer: a name for messages."""
        if self.before:
            self._show(self.before, array, layer)
        result = self.normalize(array, layer)
        if self.after:
            self._show(self.after, result, layer)
        return result

    def normalize(self, array: Array, layer: str = "the layer") -> Array:
        """Call the hook alone, and return the array that it has written into, or the array if there is no hook."""
        hook = self._hook
        if hook is None:
            return array
        result = hook(array)
        if result is not array and not isinstance(hook, Reparametrization):
            self._check(result, array, layer)
            array[...] = result
            return array
        return result

    def _show(self, observers: list[Observer], array: Array, layer: str) -> None:
        if self.in_update is not None:
            raise MinidlError(self.refusal)
        for observer in observers:
            if not callable(observer):
                raise MinidlError(
                    f"an observer is a callable that takes an array, not {observer!r}; take it off the {self.point} of "
                    f"{layer}"
                )
            observer(array.copy())

    def _check(self, result: Any, array: Array, layer: str) -> None:
        if got := unlike(result, array):
            raise MinidlError(
                f"the hook {name_of(self._hook)} at the {self.point} of {layer} returned {got} for {array.dtype} of "
                f"shape {array.shape}; let it return an array of that shape, the given one if it changes that in place"
            )

    def adjoint(self, grads: Array) -> None:
        """Turn gradients of the array in use into those of the stored array, in place.

        The two differ only in reparametrization: in projection, the gradient does not pass the normalization.
        """
        if isinstance(self.hook, Reparametrization):
            self.hook.adjoint(grads)

    def __str__(self) -> str:
        if self.in_update is not None:
            return f"{self.in_update} in the optimizer"
        return "" if self.hook is None else name_of(self.hook)


class Reparametrization:
    """A weight hook that does not change the raw weights: forward uses W = normalize(V), the optimizer moves V.

    The gradient goes back through the normalization's adjoint, ∂L/∂V = (∂W/∂V)ᵀ ∂L/∂W, as in the original
    papers of weight normalization (Salimans and Kingma 2016) and weight standardization (Qiao et al. 2019).
    """

    def __init__(self, normalization: Any) -> None:
        self.normalization = normalization
        self.point: HookPoint | None = None  # the point that it is the hook of
        self.effective: Array | None = None
        self.scale: Array | None = None

    def __deepcopy__(self, memo: Any) -> "Reparametrization":
        """Return a copy; it belongs to the copy of its hook point if that is copied, too, and else to none."""
        twin = memo[id(self)] = object.__new__(type(self))
        own = {name: value for name, value in vars(self).items() if name != "point"}
        vars(twin).update(deepcopy(own, memo), point=memo.get(id(self.point)))
        return twin

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
