"""Every normalization of weights, errors and gradients by its name in the paper (Tables 1 and 2).

A normalization is a transform over an area at one of the hook points. One of your own is one function and one
name, and then works in ``--method``, on every device and in the gradient checks:

    def halve(x, out):                      # x, out: views of four axes (a, r, b, s), see kernels/areas.py
        out[...] = x / 2

    def halve_adjoint(error, output, scale, out):       # only needed for reparametrization
        out[...] = error / 2

    register("HALF", "weights", "tensor", halve, halve_adjoint)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minidl.kernels import Kernels
from minidl.kernels.areas import area_view
from minidl.kernels.errors import MinidlError

Array = Any
POINTS = ("weights", "error", "grads")


@dataclass(frozen=True)
class Normalization:
    """A transform over an area at a hook point; bound to a device's kernels, it is a hook.

    transform: a name in kernels/statistic.py ("center", "standardize", "rescale"), or a function of one's own.
    """

    name: str
    point: str
    area: str
    function: str | Callable[..., Any]
    function_adjoint: Callable[..., None] | None = None
    kernels: Kernels | None = None

    def bind(self, kernels: Kernels) -> "Normalization":
        """Return this normalization with the kernels of a device, ready to be called."""
        function, adjoint = self.function, self.function_adjoint
        if isinstance(function, str):
            adjoint = getattr(kernels.statistic, f"{function}_adjoint")
            function = getattr(kernels.statistic, function)
        return Normalization(self.name, self.point, self.area, function, adjoint, kernels)

    def transform(self, array: Array, out: Array) -> Array | None:
        """Write the normalized array into ``out`` and return the scale that the adjoint needs."""
        assert callable(self.function), "bind() comes first"
        view = area_view(array.shape, self.area)
        return self.function(array.reshape(view), out.reshape(view))

    def transform_adjoint(self, error: Array, output: Array, scale: Array | None, out: Array) -> None:
        """Write the error with respect to the transform's input into ``out``."""
        if self.function_adjoint is None:
            raise MinidlError(
                f"{self.name} has no adjoint, which reparametrization needs; give one to register(), or use projection"
            )
        view = area_view(error.shape, self.area)
        self.function_adjoint(error.reshape(view), output.reshape(view), scale, out.reshape(view))

    def __call__(self, array: Array) -> Array:
        """Normalize the array in place and return it."""
        self.transform(array, array)
        return array

    def __str__(self) -> str:
        return self.name


NORMALIZATIONS: dict[str, Normalization] = {}


def register(
    name: str,
    point: str,
    area: str,
    function: str | Callable[..., Any],
    adjoint: Callable[..., None] | None = None,
) -> None:
    """Give a normalization a name: ``function(x, out)`` over ``area`` at the hook point ``point``.

    point: "weights", "error" or "grads"; area: see kernels/areas.py; the name may hold no comma.
    """
    if point not in POINTS:
        raise MinidlError(f"the hook point {point!r} is unknown; use one of {', '.join(POINTS)}")
    if "," in name:
        raise MinidlError(f"the name {name!r} holds a comma, which separates names in a method; leave it out")
    NORMALIZATIONS[name] = Normalization(name, point, area, function, adjoint)


register("WN", "weights", "tensor", "rescale")  # equation 1, k = 1
register("WC", "weights", "tensor", "center")  # equation 2
register("WS", "weights", "tensor", "standardize")  # equation 3
register("GC", "grads", "tensor", "center")  # equation 4
register("EBN", "error", "channel", "standardize")  # equation 8
register("ELN", "error", "sample", "standardize")  # equation 9
register("EB", "error", "channel", "center")  # equation 10
register("EL", "error", "sample", "center")  # equation 11
for _target, _point, _filter in (
    ("weight", "weights", "tensor"),
    ("gradient", "grads", "tensor"),
    ("error", "error", "sample"),
):
    for _area in ("global", _filter, "channel", "instance"):
        register(f"{_target} {_area}", _point, _area, "center")  # Table 2
