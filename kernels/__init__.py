"""Kernels: arithmetic on arrays, one file for each operation; nothing here knows of layers or nets.

NAME.py defines an operation in plain NumPy, NAME.cu is its CUDA source; cpu/ and gpu/ have fast versions under the same
names. A net gets the operations of its device once, from ``load``.
"""

from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from importlib import import_module
from typing import Any, NoReturn, get_type_hints

from minidl.kernels.checked import CheckedOperations
from minidl.kernels.contract import Operations, Services, declarations
from minidl.kernels.errors import MinidlError
from minidl.kernels.services import PLAIN
from minidl.words import check_known

DEVICES = ("auto", "cpu", "gpu", "reference")
PRECISIONS = ("fp32", "tf32", "bf16")
OWN_SERVICES = {  # those that a device's package implements itself; all others are PLAIN, from services.py
    "reference": (),
    "cpu": ("constant", "tape", "describe"),
    "gpu": ("xp", "array", "host", "read_later", "lock", "concurrently", "record", "choices", "choose", "describe"),
}


@dataclass(frozen=True)
class Kernels(Operations, Services):
    """The operations and the services of one device.

    Operations check their arrays: see checked.py. precision: how exactly float32 is multiplied, "fp32", "tf32" or
    "bf16".
    """

    device: str
    precision: str

    @cached_property
    def unchecked(self) -> "Kernels":
        """The same without checks, for callers whose arrays are known to fit: they take 2 % of a step of net (c)."""
        operations = {field.name: getattr(self, field.name) for field in fields(Operations)}
        return replace(self, **{name: getattr(own, "unchecked", own) for name, own in operations.items()})

    def __deepcopy__(self, memo: Any) -> "Kernels":
        """Return the same object: there is one set of operations for each device."""
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Raise MinidlError: compiled code and locks cannot be pickled, and so neither can anything that uses them."""
        raise MinidlError(
            "what computes on a device cannot be pickled; save a net by checkpoint.save and bring it back by "
            "checkpoint.load, or build it again where it is needed (copy.deepcopy makes a copy in this process)"
        )


def load(device: str | Kernels = "auto", precision: str | None = None) -> Kernels:
    """Return the operations for ``device``; an object of Kernels is returned as it is.

    device: "cpu", "gpu", "auto" (the GPU if there is one, otherwise the CPU), or "reference" (plain NumPy, which is
    slow and reads like the paper). precision: of float32 products on a GPU, for the whole process: "tf32" (the default
    if the GPU has it), "fp32" or "bf16"; None leaves it as it is. Raises MinidlError if there is no GPU, and for a
    precision that is unknown or that the device does not have.
    """
    if isinstance(device, Kernels):
        return device
    check_known("device", device, DEVICES)
    if precision is not None:
        check_known("precision", precision, PRECISIONS)
    missing = _missing() if device in ("auto", "gpu") else ""
    if device == "gpu" and missing:
        raise MinidlError(f"no GPU can be used: {missing}; or use --device cpu")
    if device == "auto":
        device = "cpu" if missing else "gpu"
    if device != "gpu" and precision not in (None, "fp32"):
        name = "CPU" if device == "cpu" else device
        raise MinidlError(f"the {name} computes in fp32, not in {precision}; use --precision fp32, or a GPU")
    package = "minidl.kernels" if device == "reference" else f"minidl.kernels.{device}"
    own = {name: getattr(import_module(package), name) for name in OWN_SERVICES[device]}
    if device == "gpu":
        products = import_module("minidl.kernels.gpu.products")
        products.choose(precision)
        precision = products.precision()
    # The reference computes with arrays of NumPy, and with CuPy's as well.
    operations = _operations(package, object if device == "reference" else (PLAIN | own)["xp"].ndarray)
    own |= {name: import_module(f"{package}.{name}") for name in ("prefetch", "memory_pool")}
    return Kernels(device=device, precision=precision or "fp32", **PLAIN | own, **operations)


def take_gpu(number: int) -> None:
    """Select GPU ``number``, modulo the number of GPUs, for this process; do nothing if no GPU can be used.

    Call it before ``load``, which creates a stream on the selected GPU.
    """
    if not _missing():
        cuda = import_module("cupy").cuda
        cuda.Device(number % cuda.runtime.getDeviceCount()).use()


@cache
def _operations(package: str, array: type) -> dict[str, Any]:
    """Return the operations of a device, which check their arrays; array: the class of these."""
    return {
        name: CheckedOperations(name, import_module(f"{package}.{name}"), protocol.__name__, declarations, array)
        for name, protocol in get_type_hints(Operations).items()
    }


def _missing() -> str:
    """Return what is missing for computing on a GPU, and how to install it; "" if nothing is missing."""
    try:
        cupy = import_module("cupy")
    except ImportError:
        return "the package CuPy is missing; install it with: pip install -e '.[cuda12]' (or cuda13)"
    if not cupy.cuda.is_available():
        return "CuPy finds no NVIDIA GPU; install its driver"
    return ""
