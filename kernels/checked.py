"""Checked: an operation runs only with arrays that keep to its contract; anything else is a MinidlError.

Fast versions compute with addresses: unchecked, an array of another shape, type or layout would let them read and write
beyond it. ``kernels.load`` returns operations that check, for calls by hand and for user-defined layers; the arrays of
minidl's own layers fit, so these use the operations without checks. While kernels are recorded, the elements of arrays
are not read, see ``without_reading``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy, deepcopy
from functools import update_wrapper, wraps
from inspect import signature
from itertools import combinations
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minidl.kernels.arguments import FLOATS, fits, layout, shown, storable, whole
from minidl.kernels.errors import MinidlError
from minidl.words import check_known

Array = Any  # numpy.ndarray or cupy.ndarray
Extents = dict[str, Any]
Where = Mapping[str, Callable[[Extents], Any]]
Choices = Mapping[str, tuple[str, ...]]  # the words that an argument may be
Declarations = Mapping[str, Mapping[str, Mapping[str, Any]]]  # by protocol and operation
INTEGERS = tuple(np.dtype(code) for code in "bhilqBHILQ")
KINDS: dict[str, tuple[Any, ...]] = {  # of elements; "host" is for an array that is always NumPy's
    "real": FLOATS,
    "integer": INTEGERS,
    "host": (*FLOATS, *INTEGERS),
    "float64": (np.dtype(np.float64),),
    "int64": (np.dtype(np.int64),),
    "int8": (np.dtype(np.int8),),
    "bool": (np.dtype(np.bool_),),
}
WORDS = {"real": "float32 or float64", "integer": "integers", "host": "numbers on the host"}
_reads: ContextVar[bool] = ContextVar("_reads", default=True)


@contextmanager
def without_reading() -> Iterator[None]:
    """Check only what can be known without reading an array's elements, which nothing may while kernels are recorded.

    The elements that a recording works on may be others at each launch. Those of the calls before it were checked.
    """
    token = _reads.set(False)
    try:
        yield
    finally:
        _reads.reset(token)


class Place(NamedTuple):
    """An array in a call: an argument, or an attribute of it; kind: of its elements, in a word."""

    label: str
    argument: str
    attribute: str
    kind: str
    axes: list[str]


class Contract(NamedTuple):
    """What ``arrays`` in contract.py declares, with the names of all arguments, and of those that may be None."""

    names: list[str]
    optional: list[str]
    places: list[Place]
    writes: list[str]
    over: list[str]
    counts: list[str]
    takes: list[str]
    stores: list[str]
    stored: list[str]
    returns: str
    vectors: bool
    where: Where
    choices: Choices
    below: Where


def contract_of(function: Any, axes: Mapping[str, Any], **rest: Any) -> Contract:
    """Return a declaration as a contract for a function."""
    places = []
    for argument, text in axes.items():
        for attribute, each in ({"": text} if isinstance(text, str) else text).items():
            kind, _, own = each.rpartition(":")
            label = f"{argument}.{attribute}" if attribute else argument
            places.append(Place(label, argument, attribute, kind or "real", own.split()))
    parameters = signature(function).parameters
    optional = [name for name, parameter in parameters.items() if parameter.default is None]
    return Contract(list(parameters), optional, places, **rest)


class Checked:
    """An operation that checks its arrays before it runs.

    array: the class of the device's arrays; extents: those that are known beforehand; made: the layouts of what the
    operations of one module have returned, by its name and the shape and type of the array to which it belongs;
    moments: how many each parameter has; pictures: the class of what ``store`` returns, if it is a class of its own.
    """

    def __init__(
        self,
        name: str,
        function: Any,
        contract: Contract,
        array: type,
        extents: Extents,
        made: dict[Any, set[Any]],
        moments: int,
        pictures: Any,
    ) -> None:
        update_wrapper(self, function)
        self.name, self.function, self.contract = name, function, contract
        self.array, self.extents, self.made, self.moments, self.pictures = array, extents, made, moments, pictures

    def __deepcopy__(self, memo: Any) -> "Checked":
        """Return the same operation, as a copy of a function is the function, or that of the copy of a plan."""
        function = deepcopy(self.function, memo)
        if function is self.function:
            return self
        made = deepcopy(self.made, memo)
        rest = self.contract, self.array, self.extents, made, self.moments, self.pictures
        return Checked(self.name, function, *rest)

    def __repr__(self) -> str:
        return f"<{self.name}({', '.join(self.contract.names)}), checked>"

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run the operation; raise MinidlError unless its arrays keep to the contract."""
        contract = self.contract
        given = dict(zip(contract.names, args, strict=False)) | options
        found: dict[str, Array] = {}
        for label, argument, attribute, _, _ in contract.places:
            record = given.get(argument)
            if record is not None or argument not in contract.optional:
                found[label] = getattr(record, attribute, None) if attribute else record
        for name, words in contract.choices.items():
            check_known(name, given.get(name), words, of=f" of {self.name}")
        self._check_arrays(given, found)
        self._check_memory(found, contract.writes, contract.over)
        self._check_parameters(given.get("parameters", ()))
        owner = next((found[label] for label in ("error", "out", *found) if label in found), None)
        key = getattr(owner, "shape", None), getattr(owner, "dtype", None)
        for name in contract.takes:
            if _parts(given.get(name)) not in self.made.get((name, *key), ()):
                raise MinidlError(
                    f"{self.name}: {name} must be what the operation before it returned for an array of shape "
                    f"{key[0]} and {key[1]}, and not {described(given.get(name))}; call that operation first"
                )
        result = self.function(*args, **options)
        if contract.returns:
            self.made.setdefault((contract.returns, *key), set()).add(_parts(result))
        return result

    def _check_arrays(self, given: Mapping[str, Any], found: Mapping[str, Array]) -> None:
        """Raise MinidlError unless shapes, types and layouts keep to the contract."""
        contract, extents = self.contract, self.extents.copy()
        extents |= {name: whole(f"{name} of {self.name}", given.get(name)) for name in contract.counts}
        for name in contract.stores:
            if not storable(given.get(name)):
                raise MinidlError(
                    f"{self.name}: {name} must be a NumPy array or a list of them, of uint8 and shape (y, x, 3) for "
                    f"each image or (y, x) for each mask, not {shown(given.get(name))}; convert each by numpy.asarray"
                )
        for name in contract.stored:
            self._check_stored(name, given.get(name), extents)
        for label, _, _, kind, axes in contract.places:
            if label not in found:
                continue
            array, writes = found[label], label in contract.writes
            shape = _expected(axes, getattr(array, "shape", None), extents, contract.where)
            kinds, words = KINDS[kind], WORDS.get(kind, kind)
            if kind == "real" and "real" in extents:
                kinds, words = (extents["real"],), str(extents["real"])
            right_class = isinstance(array, np.ndarray if kind == "host" else self.array) and not np.ma.is_masked(array)
            if not right_class or not fits(array, shape, kinds, writes) or (contract.vectors and is_odd(array)):
                text = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
                remedy = "convert it by kernels.array"
                if writes:
                    remedy = "make it by kernels.xp.empty"
                elif getattr(array, "shape", shape) != shape:
                    remedy = "give one of this shape, with at least 1 along each axis"
                elif kind == "host":
                    remedy = f"convert it by numpy.array(kernels.host({label}))"
                raise MinidlError(
                    f"{self.name}: {label} must be an array of {words}, of shape ({text}) and in C's order"
                    f"{', to be written' * writes}, not {described(array)}; {remedy}"
                )
            if kind == "real":
                extents["real"] = array.dtype
        for label, bound in contract.below.items() if _reads.get() else ():
            least, most, end = int(found[label].min()), int(found[label].max()), bound(extents)
            if least < 0 or most >= end:
                raise MinidlError(
                    f"{self.name}: the numbers in {label} must be at least 0 and below {end}, not {least} to {most}; "
                    "an order has numbers of stored images, and a position leaves a whole batch after it"
                )

    def _check_stored(self, name: str, images: Any, extents: Extents) -> None:
        """Raise MinidlError unless this is what store returns for images, or for masks of the same images."""
        if self.pictures:
            found = images.layout if isinstance(images, self.pictures) else None
        else:
            found = layout(images) if storable(images) else None
        pixel = () if name == "masks" else (3,)
        if found is None or found.pixel != pixel:
            what = "masks (y, x)" if name == "masks" else "images (y, x, 3)"
            raise MinidlError(
                f"{self.name}: {name} must be what store returns for {what}, not {shown(images)}; call it first"
            )
        if not np.array_equal(extents.setdefault("stored", found.extents), found.extents):
            raise MinidlError(f"{self.name}: {name} must have the extents of the images; give store one for each image")
        extents["images"] = len(found.extents)

    def _check_memory(self, found: Mapping[str, Array], writes: Sequence[str], over: Sequence[str] = ()) -> None:
        """Raise MinidlError if a written array shares memory with another one."""
        spans = [(label, _address(array), array) for label, array in found.items()]
        for (label, start, array), (other, begin, with_it) in combinations(spans, 2):
            apart = start + array.nbytes <= begin or begin + with_it.nbytes <= start
            if apart or not {label, other} & set(writes):
                continue
            written, shared = (label, other) if label in writes else (other, label)
            if shared not in over or start != begin or array.shape != with_it.shape:
                raise MinidlError(
                    f"{self.name}: {written} shares memory with {shared}, whose elements would be lost before "
                    "they are used; give it memory of its own, as from kernels.xp.empty"
                )

    def _check_parameters(self, parameters: Any) -> None:
        """Raise MinidlError unless weights, gradients and moments of each are alike, complete, and can be written."""
        if not isinstance(parameters, Sequence) or not all(hasattr(one, "moments") for one in parameters):
            raise MinidlError(
                f"{self.name}: parameters must be a list of ParameterState, not {shown(parameters)}; make one of each "
                "parameter, as minidl.optimizers does"
            )
        for parameter in parameters:
            arrays = parameter.weights, parameter.grads, *parameter.moments
            shape, dtype = getattr(arrays[0], "shape", ()), getattr(arrays[0], "dtype", None)
            for array in arrays:
                if dtype not in FLOATS or not isinstance(array, self.array) or not fits(array, shape, [dtype]):
                    raise MinidlError(
                        f"{self.name}: weights, gradients and moments of a parameter must be arrays of one shape and "
                        f"type, float32 or float64, in C's order, to be written, not {described(array)} beside weights "
                        f"of shape {shape}; make them by kernels.xp.zeros_like(weights)"
                    )
            if len(parameter.moments) != self.moments:
                raise MinidlError(
                    f"{self.name}: a parameter must have as many moments as MOMENTS says, {self.moments}, and not "
                    f"{len(parameter.moments)}; make them by kernels.xp.zeros_like(weights)"
                )
            named = {"weights": arrays[0], "gradients": arrays[1]}
            moments = {f"moment {i}": moment for i, moment in enumerate(parameter.moments, 1)}
            self._check_memory(named | moments, ["weights", *moments])


class CheckedOperations:
    """The operations of a module, each of which checks its arrays; all else is as in the module.

    declarations: those of contract.py; protocol: the name of the operations' protocol there.
    """

    def __init__(
        self,
        name: str,
        own: Any,
        protocol: str,
        declarations: Declarations,
        array: type,
        extents: Extents | None = None,
    ) -> None:
        self.unchecked = own
        made: dict[Any, set[Any]] = {}
        rest = array, extents or {}, made, getattr(own, "MOMENTS", 0), getattr(own, "Pictures", None)
        for operation, declaration in declarations.get(protocol, {}).items():
            function = getattr(own, operation)
            setattr(
                self,
                operation,
                Checked(f"{name}.{operation}", function, contract_of(function, **declaration), *rest),
            )
        if hasattr(own, "plan"):
            self.plan = _planned(name, own.plan, declarations, array)

    def __deepcopy__(self, memo: Any) -> "CheckedOperations":
        """Return the same operations, of which each device has one set, or those of the copy of a plan."""
        if isinstance(self.unchecked, ModuleType):
            return self
        twin = memo[id(self)] = copy(self)
        vars(twin).update(deepcopy(vars(self), memo))
        return twin

    def __repr__(self) -> str:
        named = self.unchecked if isinstance(self.unchecked, ModuleType) else type(self.unchecked)
        return (
            f"<checked operations of {named.__name__}: {', '.join(name for name in vars(self) if name != 'unchecked')}>"
        )

    def __getattr__(self, name: str) -> Any:
        if name == "unchecked" or (name.startswith("__") and name != "__name__"):  # of a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self.unchecked, name)


def _planned(name: str, plan: Any, declarations: Declarations, array: type) -> Any:
    """Return a function that plans a convolution, whose arrays are checked by its geometry."""

    @wraps(plan, updated=())
    def planned(geometry: Any, *args: Any, **options: Any) -> CheckedOperations:
        own = plan(geometry, *args, **options)
        words = "y", "x", "in", "height", "width", "Y", "X", "out"
        extents = dict(zip(words, (*geometry.data_shape, *geometry.kernel_size, *own.output_shape), strict=True))
        extents["real"] = np.dtype(geometry.dtype)
        return CheckedOperations(name, own, "Plan", declarations, array, extents)

    return planned


def _parts(result: Any) -> tuple[Any, ...]:
    """Return the layouts of an array, or of the mean, the variance and the scale of statistics."""
    arrays = result[:3] if isinstance(result, tuple) else (result,)
    return tuple((a.shape, a.dtype, a.flags.c_contiguous) for a in arrays if hasattr(a, "flags"))


def _address(array: Array) -> int:
    interface = getattr(array, "__array_interface__", None)  # not of CuPy's arrays
    return int(interface["data"][0] if interface else array.data.ptr)


def _expected(words: Sequence[str], shape: Any, extents: Extents, where: Where) -> tuple[Any, ...]:
    """Return the shape that an array must have, with words for unknown extents; learn unknown ones from its own."""
    several = next((word for word in words if word[0] == "*"), "")
    rest = list(shape or ())
    many = extents.get("*", len(rest) - len(words) + 1) if several else 0
    complete = shape is not None and len(rest) == len(words) - bool(several) + many
    expected = list[Any]()
    for word in words:
        if word not in extents and word in where:
            extents[word] = where[word](extents)
        if word not in extents and word.isdigit():
            extents[word] = int(word)
        if word not in extents and complete:
            extents[word] = tuple(rest[:many]) if word == several else rest[0]
        value = extents.get(word, word)
        expected += value if isinstance(value, tuple) else [value or word]  # 0 never fits
        del rest[: many if word == several else 1]
    if several and complete:
        extents["*"] = many
    return tuple(expected)


def is_odd(array: Array) -> bool:
    """Return whether an array of CuPy's begins at an address from which cuDNN cannot read vectors."""
    return not isinstance(array, np.ndarray | np.generic) and getattr(getattr(array, "data", None), "ptr", 0) % 16 != 0


def described(value: Any) -> str:
    """Describe what was given instead of an array."""
    if not hasattr(value, "flags"):
        return shown(value)
    lacks = [
        words
        for flag, words in (("c_contiguous", "in another order"), ("writeable", "read-only"), ("aligned", "unaligned"))
        if not getattr(value.flags, flag, True)
    ]
    lacks += ["at an address that is no multiple of 16"] * is_odd(value)
    return ", ".join([f"{type(value).__name__} of {value.dtype} and shape {tuple(value.shape)}", *lacks])
