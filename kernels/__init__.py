"""Arithmetic on arrays, one file per operation; nothing in here knows of layers or nets.

A net is given the operations of its device once, by ``load``; they have the same names on every device.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from minidl.kernels import arrays, threads
from minidl.kernels.errors import MinidlError

OPERATIONS = (
    "adam",
    "ahead",
    "augment",
    "average_pool",
    "concat",
    "convolution",
    "data_norm",
    "extents",
    "fully_connected",
    "max_pool",
    "recycled",
    "relu",
    "resize",
    "sgd",
    "softmax_loss",
    "statistic",
    "transposed_convolution",
)


@dataclass(frozen=True)
class Kernels:
    """The operations of one device.

    xp: the module that makes its arrays; array(values, dtype): real numbers of any type and layout as operations take
    them, see arrays.py; host(array): the array as NumPy's. repeat(function, version): a function that
    does the same, called again and again, but may be recorded once and then played back, as long as version() stays
    the same; what changes from call to call must lie on the device. about(): what the device is, in a few words.
    precision: how exactly float32 is multiplied, "fp32", "tf32" or "bf16".
    """

    device: str
    precision: str
    xp: ModuleType
    array: Callable[[Any, Any], Any]
    host: Callable[[Any], Any]
    repeat: Callable[[Callable[[], None], Callable[[], Hashable]], Callable[[], None]]
    about: Callable[[], str]
    adam: Any
    ahead: Any
    augment: Any
    average_pool: Any
    concat: Any
    convolution: Any
    data_norm: Any
    extents: Any
    fully_connected: Any
    max_pool: Any
    recycled: Any
    relu: Any
    resize: Any
    sgd: Any
    softmax_loss: Any
    statistic: Any
    transposed_convolution: Any

    def __deepcopy__(self, memo: Any) -> "Kernels":
        """Return the same: there is one set of operations for each device."""
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Refuse to be pickled, like all that computes by them: compiled code and locks stay in their process."""
        raise MinidlError(
            "what computes on a device cannot be pickled; save a net by checkpoint.save and bring it back by "
            "checkpoint.load, or build it anew where it is needed (copy.deepcopy makes a copy in this process)"
        )


def load(device: str = "auto", precision: str | None = None) -> Kernels:
    """Return the operations for ``device``: "cpu", "gpu", or "auto" for the GPU where there is one.

    precision: of float32 products on a GPU, for the whole process: "tf32" (the default where the GPU has it), "fp32" or
    "bf16"; None leaves it as it is. Raises MinidlError for a GPU that is not there, and for a precision that the device
    does not have.
    """
    if device not in ("auto", "cpu", "gpu"):
        raise MinidlError(f"the device {device!r} is unknown; use auto, cpu or gpu")
    missing = "" if device == "cpu" else _missing()
    if device == "gpu" and missing:
        raise MinidlError(f"no GPU can be used: {missing}; or use --device cpu")
    if device == "cpu" or missing:
        if precision not in (None, "fp32"):
            raise MinidlError(f"the CPU computes in fp32, not in {precision}; use --precision fp32, or a GPU")
        modules = {name: import_module(f"minidl.kernels.{name}") for name in OPERATIONS}
        return Kernels(
            "cpu", "fp32", np, arrays.array, np.asarray, lambda function, version: function, threads.about, **modules
        )
    gpu = import_module("minidl.kernels.gpu")
    gpu.products.choose(precision)
    modules = {name: import_module(f"minidl.kernels.gpu.{name}") for name in OPERATIONS}
    return Kernels("gpu", gpu.products.precision(), gpu.xp, gpu.array, gpu.host, gpu.repeat, gpu.about, **modules)


def _missing() -> str:
    """Say what a GPU needs that is not there, and what to do about it; nothing if all is there."""
    try:
        cupy = import_module("cupy")
    except ImportError:
        return "the package CuPy is missing; install it with: pip install -e '.[cuda12]' (or cuda13)"
    if not cupy.cuda.is_available():
        return "CuPy finds no NVIDIA GPU; install its driver"
    return ""
