"""Normalizations and their names: each is a transform over an area at one of the hook points.

Your own normalization is one function and one name. It then works in ``--method``, on every device and in the gradient
checks:

    @minidl.normalization("MAX", at="weights", area="tensor")
    def largest_is_one(x):                  # a view (outer, rows, inner, lanes), see kernels/areas.py
        return x / abs(x).max(axis=(1, 3), keepdims=True)

Reparametrization also needs the adjoint, ``adjoint=function(error, x)``, which returns ∂L/∂x for error = ∂L/∂y.

``register`` does the same without a decorator. Both also take functions that write their result, like those of
kernels/normalize.py: ``function(x, out)`` and ``adjoint(error, output, scale, out)``. minidl recognizes them by the
parameter ``out``. They must fill all of ``out``, which never overlaps x or error; the adjoint gets the return value of
``function`` as ``scale``. When a net is built, each function is tried on random numbers, and refused if its result is
nan or has another shape.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from traceback import extract_tb
from typing import Any, TypeVar

import numpy as np

from minidl.functions import check_arguments, is_defined_again, name_of
from minidl.hooks import unlike
from minidl.kernels import Kernels
from minidl.kernels.areas import AREAS, area_view
from minidl.kernels.arguments import is_plain
from minidl.kernels.errors import MinidlError
from minidl.words import check_known

Array = Any
Function = TypeVar("Function", bound=Callable[..., Any])
POINTS = ("weights", "error", "grads")
TRANSFORMS = ("center", "standardize", "rescale")  # of kernels/normalize.py
BASELINE, FULLY = "Baseline", "fully"  # the other words of a method, see method.py
DATA_NORM_NAMES = ("BN", "LN", "IN", "GN")
PROBE = (4, 3, 3, 4)  # the shape of the random weights on which a normalization is tried
HUGE = 1e36  # ``out`` is filled with numbers of this size before; none may be left


@dataclass(frozen=True)
class Normalization:
    """A transform over an area at a hook point; bound to a device's kernels, it is a hook.

    function: a name in kernels/normalize.py ("center", "standardize", "rescale"), or a user-defined function that
    writes into its ``out``; function_adjoint: its adjoint or None; kernels: None before ``bind``.
    """

    name: str
    point: str
    area: str
    function: str | Callable[..., Any]
    function_adjoint: Callable[..., None] | None = None
    kernels: Kernels | None = None

    def bind(self, kernels: Kernels) -> "Normalization":
        """Return this normalization with the kernels of a device, ready to be called.

        User-defined functions are tried on random numbers. Raises MinidlError if one fails, does not fill its ``out``,
        or gives nan or inf.
        """
        bound = replace(self, kernels=kernels)
        if not isinstance(self.function, str):
            bound._try(kernels.xp)
        return bound

    def transform(self, array: Array, out: Array) -> Array | None:
        """Write the normalized array into ``out``, which may be the array; return the scale that the adjoint needs."""
        view = self._view(array, out)
        if isinstance(self.function, str):
            return getattr(self._operations(), self.function)(array.reshape(view), out.reshape(view))
        return self.function(array.copy().reshape(view), out.reshape(view))  # a copy, as out may be the array

    def transform_adjoint(self, error: Array, output: Array, scale: Array | None, out: Array) -> None:
        """Write the error with respect to the transform's input into ``out``, which may be the error."""
        view = self._view(error, out)
        if isinstance(self.function, str):
            adjoint = getattr(self._operations(), f"{self.function}_adjoint")
            adjoint(error.reshape(view), output.reshape(view), scale, out.reshape(view))
        else:
            self.require_adjoint()(error.copy().reshape(view), output.reshape(view), scale, out.reshape(view))

    def _view(self, array: Array, out: Array) -> tuple[int, int, int, int]:
        """Return the shape in which both are seen; raise MinidlError for what could not be written into as it lies."""
        fits = is_plain(out) and out.ndim > 1
        if not fits or (array is not out and (array.shape, array.dtype) != (out.shape, out.dtype)):
            raise MinidlError(
                f"{self.name} takes an array of float32 or float64, with two axes or more and in C's order, and writes "
                "into one like it; give np.array(values, 'float32', order='C')"
            )
        return area_view(out.shape, self.area)

    @property
    def has_adjoint(self) -> bool:
        """Whether an error can be propagated back through the transform."""
        return isinstance(self.function, str) or self.function_adjoint is not None

    def require_adjoint(self) -> Any:
        """Return the adjoint of a user-defined function; raise MinidlError if it has none."""
        if not self.has_adjoint:
            raise MinidlError(
                f"{self.name} has no adjoint, which reparametrization needs; name it with one, by adjoint=…, or use "
                "projection"
            )
        return self.function_adjoint

    def _operations(self) -> Any:
        if self.kernels is None:
            raise MinidlError(
                f"{self.name} does not know its device yet; use what its bind(net.kernels) returns as the hook, or "
                'choose it by its name, as in Net(..., method="WC")'
            )
        return self.kernels.unchecked.normalize  # _view has checked the arrays

    def _try(self, xp: Any) -> None:
        """Raise MinidlError if a function fails on random numbers, does not fill its ``out``, or gives nan or inf."""
        random, view = np.random.default_rng(0), area_view(PROBE, self.area)
        x, error = (xp.asarray(random.standard_normal(view).astype(np.float32)) for _ in range(2))
        output, out = (xp.asarray(random.uniform(HUGE, 2 * HUGE, view).astype(np.float32)) for _ in range(2))
        scale = self._try_writing(self.function, (x,), output)
        if self.function_adjoint is not None:
            self._try_writing(self.function_adjoint, (error, output, scale), out)

    def _try_writing(self, function: Any, args: tuple[Any, ...], out: Array) -> Any:
        before = out.copy()
        try:
            with np.errstate(all="ignore"):
                result = function(*args, out)
        except MinidlError:
            raise
        except Exception as error:
            raise MinidlError(
                f"{self.name} cannot be used: {name_of(function)} failed on random numbers of shape {out.shape} with "
                f"{type(error).__name__}: {error}{_where(error)}"
            ) from error
        if not np.isfinite(out).all():
            raise MinidlError(
                f"{self.name} cannot be used: {name_of(function)} gave nan or inf for random numbers of shape "
                f"{out.shape}; let it return finite numbers: add a small number to a denominator, for example"
            )
        if (abs(out) > HUGE / 1e6).any():
            what = "gave numbers above 1e30 for random numbers, or read out before it wrote there"
            if (out == before).any():
                returned = getattr(result, "shape", None) in (PROBE, out.shape)
                what = "returned its result instead of writing it into out" if returned else "did not write all of out"
                what += "; write out[...] = …"
            raise MinidlError(f"{self.name} cannot be used: {name_of(function)} {what}")
        return result

    def __call__(self, array: Array) -> Array:
        """Normalize the array in place and return it."""
        self.transform(array, array)
        return array

    def __str__(self) -> str:
        return self.name


NORMALIZATIONS: dict[str, Normalization] = {}  # by name; normalizations.py has those of the paper


def normalization(
    name: str, at: str = "", area: str = "tensor", adjoint: Callable[..., Any] | None = None
) -> Callable[[Function], Function]:
    """Give the decorated function a name by which methods know it: ``y = function(x)`` over ``area`` at a hook point.

    at: "weights", "error" or "grads". x: a copy of the array there, as a view (outer, rows, inner, lanes); with the
    area "tensor", (filters, 1, 1, rest) of weights and gradients, (samples, 1, 1, rest) of errors. adjoint:
    ``adjoint(error, x)``, which returns ∂L/∂x for error = ∂L/∂y; only reparametrization needs it. Raises MinidlError
    as ``register`` does.

    >>> @normalization("MAX", at="weights")
    ... def largest_is_one(x):
    ...     return x / abs(x).max(axis=(1, 3), keepdims=True)
    >>> largest_is_one(np.array([1.0, -4.0]).reshape(1, 1, 1, 2)).ravel()
    array([ 0.25, -1.  ])
    >>> del NORMALIZATIONS["MAX"]
    """
    if not at or not isinstance(name, str):
        raise MinidlError(
            f"a normalization needs a name and its hook point, at= one of {', '.join(POINTS)}, as in "
            '@minidl.normalization("MAX", at="weights")'
        )

    def named(function: Function) -> Function:
        register(name, at, area, function, adjoint)
        return function

    return named


def register(
    name: str,
    point: str,
    area: str,
    function: str | Callable[..., Any],
    adjoint: Callable[..., Any] | None = None,
) -> None:
    """Give a normalization a name: ``function(x, out)``, or ``y = function(x)``, over ``area`` at a hook point.

    name: one or more words of letters, digits and _ - . +, not used yet (case does not matter). point:
    "weights", "error" or "grads"; area: see kernels/areas.py, except "group", which is for data. function: a name of
    TRANSFORMS, which have their adjoints, or your own function. Raises MinidlError for anything else. A function that
    is defined again, as in a notebook, replaces its earlier version; to replace any other normalization, delete it
    from NORMALIZATIONS first.

    >>> register("channel WS", "weights", "channel", "standardize")
    >>> NORMALIZATIONS["channel WS"].area
    'channel'
    >>> del NORMALIZATIONS["channel WS"]
    """
    check_known("hook point", point, POINTS)
    check_known("area", area, [known for known in AREAS if known != "group"], of=f" of {point}")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.+-]+( [\w.+-]+)*", name):
        raise MinidlError(
            f"a method cannot name {name!r}; use words of letters, digits, _, -, . and +, with one space between them"
        )
    taken = {word.lower(): word for word in (BASELINE, FULLY, *DATA_NORM_NAMES, *NORMALIZATIONS)}
    other = taken.get(name.lower(), "")
    again = other in NORMALIZATIONS and is_defined_again(NORMALIZATIONS[other].function, function)
    if other and not again:
        raise MinidlError(
            f"the name {name!r} is taken by {other}; use another, or replace a normalization of your own after "
            f"del NORMALIZATIONS[{other!r}]"
        )
    if isinstance(function, str):
        check_known("transform", function, TRANSFORMS, more=", or your own function")
        if adjoint is not None:
            raise MinidlError(f"{name} cannot have another adjoint than that of {function}; leave it out")
    else:
        function, adjoint = _writing(name, function, adjoint)
    if again:
        del NORMALIZATIONS[other]
    NORMALIZATIONS[name] = Normalization(name, point, area, function, adjoint)


def _writing(name: str, function: Any, adjoint: Any) -> tuple[Callable[..., Any], Callable[..., None] | None]:
    """Return a function and its adjoint in the form that writes to ``out``; wrap those that return their result."""
    if not callable(function):
        raise MinidlError(f"{name} needs a function (x, out), or one (x) that returns its result, not {function!r}")
    writes = _takes_out(function)
    check_arguments(name, function, "(x, out)" if writes else "(x)")
    if adjoint is not None:
        check_arguments(name, adjoint, "(error, output, scale, out)" if writes else "(error, x)")
    if writes:
        return function, adjoint

    @wraps(function)
    def write(x: Array, out: Array) -> Array:
        kept = x.copy()  # for the adjoint, as the function may change its x
        _write(name, function, function(x), out)
        return kept

    if adjoint is None:
        return write, None

    @wraps(adjoint)
    def write_adjoint(error: Array, output: Array, x: Array, out: Array) -> None:
        _write(name, adjoint, adjoint(error, x), out)

    return write, write_adjoint


def _where(error: Exception) -> str:
    """Return the last line of user code in an error's traceback: not of this file, and not of a library."""
    places = [(at.filename, at.lineno) for at in extract_tb(error.__traceback__)]
    own = [place for place in places if place[0] != __file__ and "site-packages" not in place[0]]
    return f", in {own[-1][0]}, line {own[-1][1]}" if own else ""


def _takes_out(function: Any) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a C function may have no signature; bind() tries it
        return True
    return any(p.name == "out" or p.kind is p.VAR_POSITIONAL for p in parameters)


def _write(name: str, function: Any, result: Any, out: Array) -> None:
    """Write a function's result to ``out``; raise MinidlError unless it is real numbers in the shape of ``out``."""
    if got := unlike(result, out):
        raise MinidlError(
            f"{name} cannot be used: {name_of(function)} returned {got} for {out.dtype} of shape {out.shape}; let it "
            "return real numbers in that shape"
        )
    out[...] = result
