"""Saved nets: read a file's description of its net, and check all of it before a net is built or memory is allocated.

There are two kinds of files, both safetensors with a description in JSON as their metadata ``minidl``: checkpoints,
see checkpoint.py, and exported weights, see export.py. Files are not trusted: they may come from anybody.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from minidl.data import regular_file
from minidl.data.fit import FITS
from minidl.experiment.saving import formats, mistaken
from minidl.experiment.saving.schema import NOTHING, Kind, number
from minidl.kernels.errors import MinidlError
from minidl.layer import Shape
from minidl.method import DATA_NORMS, MODES, parse
from minidl.net import Net
from minidl.preprocessing import KEEP
from minidl.pytorch import Axes, axes_of

LARGEST = 1 << 34  # bytes of a file
LARGEST_HEADER = 1 << 24  # bytes of a file's header
LONGEST = 500  # characters of a text
LARGEST_SAMPLE = 1 << 30  # numbers of one sample of the data
NEVER_NEGATIVE = (".variance", ".updates", ".moment2")
FLOATS, COUNTS = ("F32", "F64", "F16"), ("I64",)
STATE = (*FLOATS, "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL")  # of a run

NetDescription = dict[str, Any]
UNDESCRIBED: NetDescription = {"layout": "pytorch"}  # weights of another program, with PyTorch's names


def _whole(value: Any, least: int = 0, most: int = 1 << 62) -> bool:
    return type(value) is int and least <= value <= most


def _shape(value: Any) -> bool:
    whole = isinstance(value, list) and all(_whole(extent, 1) for extent in value)
    return whole and 0 < len(value) < 9 and prod(value) <= LARGEST_SAMPLE


def _list_of(kind: Kind) -> Kind:
    return Kind(f"a list of {kind.words}", lambda value: isinstance(value, list) and all(map(kind.fits, value)))


def _one_of(*words: str) -> Kind:
    return Kind(f"one of {', '.join(map(repr, words))}", lambda value: value in words)


COUNT = Kind("a whole number of at least 0", _whole)
POSITIVE = Kind("a whole number of at least 1", lambda value: _whole(value, 1))
SHORT = Kind(f"a text of at most {LONGEST} characters", lambda value: isinstance(value, str) and len(value) <= LONGEST)
NUMBER = number("a number", lambda value: abs(value) < 1e30)
SHAPE = Kind("a shape", _shape)
FIELDS = Kind("fields", lambda value: isinstance(value, dict))
TEXTS = Kind("texts by name", lambda value: isinstance(value, dict) and all(map(SHORT.fits, value.values())))
NET = {
    "minidl": SHORT,
    "model": SHORT,
    "classes": POSITIVE,
    "shape": SHAPE,
    "method": SHORT,
    "data_norm": _one_of("", *DATA_NORMS),
    "preprocessing": FIELDS | NOTHING,
    "dtype": _one_of("float32", "float64"),
}
RESUMED = {  # only of a checkpoint
    "mode": _one_of(*MODES),
    "epoch": COUNT,
    "time": COUNT,
    "data": FIELDS | NOTHING,
    "settings": FIELDS | NOTHING,
    "choices": TEXTS,
}
EXPORTED = {"layout": _one_of("minidl", "pytorch")}
PREPROCESSING = {
    "mean": Kind("three numbers", lambda value: _list_of(NUMBER).fits(value) and len(value) == 3),
    "divisor": number("a number above 0", lambda value: 1e-30 < value < 1e30),
    "shape": Kind("two extents", lambda value: _shape(value) and len(value) == 2),
    "classes": _list_of(SHORT),
    "fit": _one_of(*FITS, KEEP),
    "shrink": Kind("a whole number from 1 to 1000", lambda value: _whole(value, 1, 1000)),
    "white": Kind("a whole number from 255 to 65535", lambda value: _whole(value, 255, 65535)),
}
DATA = {"classes": _list_of(SHORT), "train": FIELDS, "test": FIELDS}
PART = {"images": COUNT, "fingerprint": SHORT}
AXES = {
    "name": SHORT,
    "shape": SHAPE,
    "view": Kind("a shape", lambda value: value == [] or _shape(value)),
    "order": _list_of(COUNT),
}
# Fields that earlier versions did not write.
OPTIONAL = {"minidl", "data_norm", "preprocessing", "dtype", "data", "settings", "choices", "fit", "shrink", "white"}


@dataclass(frozen=True)
class Saved:
    """A file with a saved net that has passed all checks.

    description: its metadata; shapes and kinds: of its arrays, by their names in the file; axes: for weights in
    PyTorch's layout, by the same names, the axes of our arrays.
    """

    path: Path
    description: NetDescription
    shapes: Mapping[str, Shape]
    kinds: Mapping[str, str]
    axes: Mapping[str, Axes]

    @property
    def is_checkpoint(self) -> bool:
        """Whether it can resume a training; else it has only weights."""
        return "layout" not in self.description

    def of(self, net: Net) -> "Saved":
        """Return the file as one of this net; for weights with PyTorch's names only, the net describes them."""
        if self.description != UNDESCRIBED:
            return self
        known = axes_of(net)
        made = {
            name: known[name].fitted(shape) if name in known else Axes.plain(name, shape)
            for name, shape in self.shapes.items()
        }
        return replace(self, axes=made)

    @property
    def net_shapes(self) -> dict[str, Shape]:
        """The shapes of the net's arrays, by our names."""
        if self.axes:
            return {axes.name: axes.shape for axes in self.axes.values()}
        prefix = "net/" if self.is_checkpoint else ""
        return {name.removeprefix(prefix): shape for name, shape in self.shapes.items() if name.startswith(prefix)}

    @property
    def data_norm(self) -> str:
        """The data norm that the net still has, or ""; minidl 0.1.0 named it only in the method."""
        said = self.description.get("data_norm")
        return parse(self.description["method"]).data_norm if said is None else str(said)

    @property
    def dtype(self) -> str:
        """The type of numbers that the net computes in, as the file says, or float64 if all its arrays have it."""
        if said := self.description.get("dtype"):
            return str(said)
        prefix = "net/" if self.is_checkpoint else ""
        kinds = {kind for name, kind in self.kinds.items() if name.startswith(prefix) and kind not in COUNTS}
        return "float64" if kinds == {"F64"} else "float32"

    def net_arrays(self) -> dict[str, Any]:
        """Return the net's arrays by our names and in our layout; raises MinidlError for impossible values."""
        if self.axes:
            return {self.axes[name].name: self.axes[name].back(array) for name, array in self.arrays("").items()}
        return self.arrays("net/" if self.is_checkpoint else "")

    def arrays(self, prefix: str) -> dict[str, Any]:
        """Return the arrays whose names begin with a prefix, by the rest of their names."""
        try:
            with _opened(self.path) as file:
                found = {name: file.get_tensor(name) for name in self.shapes if name.startswith(prefix)}
        except MemoryError:
            raise MinidlError(f"{self.path} needs more memory than is free; close what else uses it") from None
        for name, array in found.items():
            if name.endswith(NEVER_NEGATIVE) and (array < 0).any():
                raise _refused(self.path, f"{name} has a negative element")
        return {name.removeprefix(prefix): array for name, array in found.items()}


def read(path: Path, described: bool = True) -> Saved:
    """Return a file with its description checked, but without reading its arrays.

    described: True if it must have a description, False if it may be the state of a PyTorch module, see ``Saved.of``.
    Raises MinidlError if it is missing, is no regular file with a net that minidl has saved, or contradicts itself.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
        description = _description(path, metadata) if described or "minidl" in metadata else UNDESCRIBED
        tensors = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        shapes = {name: tuple(tensor.get_shape()) for name, tensor in tensors.items()}
        kinds = {name: tensor.get_dtype() for name, tensor in tensors.items()}
    for name, kind in kinds.items():
        counts = name.endswith((".updates", ".num_batches_tracked"))
        if kind not in (STATE if name.startswith("run/") else COUNTS if counts else FLOATS):
            raise _refused(path, f"{name} has elements of type {kind}, which minidl does not save")
    has_axes = description.get("layout") == "pytorch" and description != UNDESCRIBED
    axes = _axes(path, description, shapes) if has_axes else {}
    if "layout" not in description:
        _check_names(path, shapes)
    return Saved(path, description, shapes, kinds, axes)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with regular_file.opened(path, LARGEST) as file:
            size = int.from_bytes(file.read(8), "little")
        if size > LARGEST_HEADER:
            raise SafetensorError
        with safe_open(path, framework="np") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError):
        remedy = mistaken.instead(path.parent, path.name, "give the folder of a run that saved one")
        raise MinidlError(f"there is no checkpoint {path}; {remedy}") from None
    except MinidlError:
        raise
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    except (SafetensorError, ValueError) as error:
        what, remedy = mistaken.kind_of(path)
        raise MinidlError(f"{path} is not a checkpoint of minidl, but {what}; {remedy}") from error


def _refused(path: Path, why: str) -> MinidlError:
    return MinidlError(f"{path} is not a checkpoint of minidl ({why}); use one that is")


def _description(path: Path, metadata: Mapping[str, str]) -> NetDescription:
    """Return the metadata of a file, after checking each field and their combination."""
    try:
        description = json.loads(metadata["minidl"], parse_constant=_no_number, parse_int=_integer)
    except KeyError:
        raise _refused(path, "it does not say which net it holds") from None
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"what it says of itself cannot be read: {error}") from error
    if not isinstance(description, dict):
        raise _refused(path, "what it says of itself are no fields")
    formats.check(path, description)
    _check(path, description, NET | (EXPORTED if "layout" in description else RESUMED), "")
    data = description.get("data")
    if data is not None:
        _check(path, data, DATA, "data.")
        for part in ("train", "test"):
            _check(path, data[part], PART, f"data.{part}.")
    prepared = description.get("preprocessing")
    if prepared is not None:
        _check(path, prepared, PREPROCESSING, "preprocessing.")
        if len(prepared["classes"]) != description["classes"]:
            raise _refused(path, f"it has {description['classes']} classes, and names for {len(prepared['classes'])}")
        if [*prepared["shape"], 3] != description["shape"]:
            raise _refused(path, f"its net is for {description['shape']}, and its images are {prepared['shape']}")
    return description


def _check(path: Path, fields: NetDescription, schema: Mapping[str, Kind], of: str) -> None:
    for name, kind in schema.items():
        if name not in fields and name not in OPTIONAL:
            raise _refused(path, f"it does not say its {of}{name}")
        if name in fields and (wrong := kind.wrong(f"{of}{name}", fields[name])):
            raise _refused(path, wrong)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _integer(digits: str) -> int:
    if len(digits) > 20:  # Python would need long to convert it
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _check_names(path: Path, shapes: Mapping[str, Shape]) -> None:
    """Raise MinidlError for an unknown array of a checkpoint, or one with a wrong shape."""
    for name, shape in shapes.items():
        part, _, rest = name.partition("/")
        if part in ("net", "run"):
            continue
        of = re.sub(r"\.moment[12]$", "", rest) if part == "optimizer" else rest
        if part not in ("raw", "optimizer") or (part == "optimizer" and of == rest):
            raise _refused(path, f"{name} is no array that it should have")
        if shapes.get(f"net/{of}") != shape:
            raise _refused(path, f"{name} has not the shape of net/{of}")


def _axes(path: Path, description: NetDescription, shapes: Mapping[str, Shape]) -> dict[str, Axes]:
    """Return the axes of the arrays of a file in PyTorch's layout."""
    said = description.get("axes")
    if not isinstance(said, dict) or said.keys() != shapes.keys() or not all(map(FIELDS.fits, said.values())):
        raise _refused(path, "it does not say its axes")
    for name, fields in said.items():
        _check(path, fields, AXES, f"axes.{name}.")
        view, order = fields["view"], fields["order"]
        if sorted(order) != list(range(len(view))) or not prod(fields["shape"]) == prod(view) == prod(shapes[name]):
            raise _refused(path, f"its axes of {name} do not fit its shape {shapes[name]}")
    return {
        name: Axes(f["name"], tuple(f["shape"]), tuple(f["view"]), tuple(f["order"]), shapes[name])
        for name, f in said.items()
    }
