"""Kernels: arithmetic on arrays, one file for each operation; nothing in here knows of layers or nets.

NAME.py defines an operation in plain NumPy, NAME.cu is its CUDA; cpu/ and gpu/ have the same names, made fast. A net
is given the operations of its device once, by ``load``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from threading import RLock
from typing import Any, NoReturn

import numpy as np

from minidl.kernels import arrays
from minidl.kernels.contract import Operations, Services
from minidl.kernels.cpu import constants, threads
from minidl.kernels.cpu.tape import Tape
from minidl.kernels.errors import MinidlError

DEVICES = ("auto", "cpu", "gpu", "reference")
PRECISIONS = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Kernels(Operations, Services):
    """The operations and the services of one device.

    precision: how exactly float32 is multiplied, "fp32", "tf32" or "bf16".
    """

    device: str
    precision: str

    def __deepcopy__(self, memo: Any) -> "Kernels":
        """Return the same: there is one set of operations for each device."""
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Refuse to be pickled, like all that computes by them: compiled code and locks stay in their process."""
        raise MinidlError(
            "what computes on a device cannot be pickled; save a net by checkpoint.save and bring it back by "
            "checkpoint.load, or build it anew where it is needed (copy.deepcopy makes a copy in this process)"
        )


def load(device: str | Kernels = "auto", precision: str | None = None) -> Kernels:
    """Return the operations for ``device``, or those that are given in its place.

    device: "cpu", "gpu", "auto" for the GPU where there is one and else the CPU, or "reference", plain NumPy that is
    slow and reads like the paper. precision: of float32 products on a GPU, for the whole process: "tf32" (the default
    where the GPU has it), "fp32" or "bf16"; None leaves it as it is. Raises MinidlError for a GPU that is not there,
    and for a precision that is unknown or that the device does not have.
    """
    if isinstance(device, Kernels):
        return device
    if device not in DEVICES:
        raise MinidlError(f"the device {device!r} is unknown; use {', '.join(DEVICES[:-1])} or {DEVICES[-1]}")
    if precision is not None and precision not in PRECISIONS:
        known = f"{', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}"
        raise MinidlError(f"the precision {precision!r} is unknown; use {known}")
    missing = _missing() if device in ("auto", "gpu") else ""
    if device == "gpu" and missing:
        raise MinidlError(f"no GPU can be used: {missing}; or use --device cpu")
    if device in ("auto", "gpu") and not missing:
        gpu = import_module("minidl.kernels.gpu")
        gpu.products.choose(precision)
        services = ("xp", "array", "host", "glance", "lock", "beside", "record", "choices", "choose", "describe")
        return Kernels(
            device="gpu",
            precision=gpu.products.precision(),
            constant=_copy,
            tape=_no_tape,
            **{name: getattr(gpu, name) for name in services},
            **_modules("minidl.kernels.gpu"),
        )
    plain = device == "reference"
    if precision not in (None, "fp32"):
        name = "reference" if plain else "CPU"
        raise MinidlError(f"the {name} computes in fp32, not in {precision}; use --precision fp32, or a GPU")
    return Kernels(
        device="reference" if plain else "cpu",
        precision="fp32",
        xp=np,
        array=arrays.array,
        host=np.asarray,
        glance=lambda array: lambda: array,
        constant=_copy if plain else constants.constant,
        lock=RLock,
        beside=_in_turn,
        choices=dict,
        choose=_forget_choices,
        record=_as_it_is,
        tape=_no_tape if plain else Tape,
        describe=_describe_reference if plain else threads.describe,
        **_modules("minidl.kernels" if plain else "minidl.kernels.cpu"),
    )


def take_gpu(number: int) -> None:
    """Let this process compute on the GPU of a number, counted anew behind the last one, if it computes on any.

    To be called before ``load``, whose stream is one of this GPU.
    """
    if not _missing():
        cuda = import_module("cupy").cuda
        cuda.Device(number % cuda.runtime.getDeviceCount()).use()


def _copy(array: Any) -> Any:
    """Return a copy, which nobody changes; no operation of this device keeps anything of it."""
    return array.copy()


def _in_turn(first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    """Call both functions, each of which has all cores of this device, and return what the second returns."""
    first()
    return second()


def _forget_choices(known: Mapping[str, str]) -> None:
    """Do nothing: this device computes in one way, wherever it is."""


def _as_it_is(function: Callable[..., Any], version: Any, total: Any = None) -> Callable[..., Any]:
    """Return the function itself: on this device, steps are not recorded."""
    return function


def _no_tape(function: Any) -> None:
    """Return nothing: this device has no compiled calls, or their own way to be recorded."""


def _describe_reference() -> str:
    return "the reference: every operation as its equation says, in plain NumPy; slow, made for reading and debugging"


def _modules(package: str) -> dict[str, Any]:
    """Import the modules of a device: its operations, and two of its services."""
    names = [*(field.name for field in fields(Operations)), "prefetch", "memory_pool"]
    return {name: import_module(f"{package}.{name}") for name in names}


def _missing() -> str:
    """Say what a GPU needs that is not there, and what to do about it; nothing if all is there."""
    try:
        cupy = import_module("cupy")
    except ImportError:
        return "the package CuPy is missing; install it with: pip install -e '.[cuda12]' (or cuda13)"
    if not cupy.cuda.is_available():
        return "CuPy finds no NVIDIA GPU; install its driver"
    return ""
