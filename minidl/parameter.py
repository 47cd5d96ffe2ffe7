"""Parameter: an array that is learned, its gradients, and settings of its update."""

from collections.abc import Iterable
from typing import Any

from minidl.kernels.arguments import is_plain
from minidl.kernels.arrays import check_real, numbers
from minidl.kernels.errors import MinidlError

Array = Any  # numpy.ndarray or cupy.ndarray


class Parameter:
    """An array that is learned, with its gradients and the settings of its update.

    decay: whether weight decay applies; not to biases. gc, wc: whether the update subtracts the mean of each filter,
    from the gradient at its beginning (GC) and from the weights at its end (WC). Layers and optimizers hold both
    arrays, so these are never replaced: values assigned to ``value`` or ``grads`` are copied into them. Raises
    MinidlError for arrays that an optimizer could not go through as they lie.
    """

    # Setting another name by mistake, such as "grad", is an error.
    __slots__ = ("_grads", "_in_use", "_value", "decay", "gc", "name", "wc")

    def __init__(self, name: str, value: Array, grads: Array, decay: bool, gc: bool = False, wc: bool = False) -> None:
        alike = is_plain(value) and is_plain(grads) and (value.shape, value.dtype) == (grads.shape, grads.dtype)
        if not alike or value is grads:
            raise MinidlError(
                f"{name} and its gradients must be two arrays of one shape, both float32 or float64, in C's order, "
                "which an optimizer goes through as they lie; make them by np.array(values, dtype) and zeros_like"
            )
        self.name, self.decay, self.gc, self.wc = name, decay, gc, wc
        self._value, self._grads = value, grads
        self._in_use: Array = None

    @property
    def value(self) -> Array:
        """The array that is learned."""
        return self._value

    @value.setter
    def value(self, new: Array) -> None:
        self._copy("value", new, self._value)

    @property
    def grads(self) -> Array:
        """∂L/∂value."""
        return self._grads

    @grads.setter
    def grads(self, new: Array) -> None:
        self._copy("grads", new, self._grads)

    def keep_grads_in(self, array: Array) -> None:
        """Use another array of the same shape for the gradients; make the optimizer after that."""
        self._grads = array

    def _copy(self, what: str, new: Array, out: Array) -> None:
        if new is out:  # as after value += …
            return
        shape = getattr(new, "shape", None)
        if shape != out.shape:
            got = type(new).__name__ if shape is None else f"one of shape {shape}"
            raise MinidlError(f"{self.name}.{what} takes an array of shape {out.shape}, and not {got}")
        if hasattr(new.dtype, "kind"):
            check_real(new.dtype)
        else:  # another framework's
            new = numbers(new)
        out[...] = new

    @property
    def in_use(self) -> Array:
        """The array that a layer computes with: the value, what a hook made of it, or the copy of a frozen net."""
        return self._value if self._in_use is None else self._in_use

    @in_use.setter
    def in_use(self, array: Array) -> None:
        self._in_use = None if array is self._value else array

    def __repr__(self) -> str:
        return f"<Parameter {self.name}: {'×'.join(map(str, self.value.shape))}, {self.value.dtype}>"


def repeated(parameters: Iterable[Parameter]) -> Parameter | None:
    """Return the first parameter that is given twice, or None."""
    known: set[int] = set()
    for parameter in parameters:
        if id(parameter) in known:
            return parameter
        known.add(id(parameter))
    return None
