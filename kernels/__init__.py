"""Arithmetic on arrays, one file per operation; nothing in here knows of layers or nets.

A net is given the operations of its device once, by ``load``; they have the same names on every device.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from minidl.kernels.errors import MinidlError

OPERATIONS = (
    "adam",
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

    xp: the module that makes its arrays; host(array): the array as NumPy's. repeat(function, version): a function that
    does the same, called again and again, but may be recorded once and then played back, as long as version() stays
    the same; what changes from call to call must lie on the device.
    """

    device: str
    xp: ModuleType
    host: Callable[[Any], Any]
    repeat: Callable[[Callable[[], None], Callable[[], Hashable]], Callable[[], None]]
    adam: Any
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


def load(device: str = "auto") -> Kernels:
    """Return the operations for ``device``: "cpu", "gpu", or "auto" for the GPU where there is one.

    Raises MinidlError for a GPU that is not there.
    """
    if device == "gpu":
        raise MinidlError("no GPU can be used: this version computes on the CPU alone; use --device cpu")
    if device not in ("auto", "cpu"):
        raise MinidlError(f"the device {device!r} is unknown; use auto, cpu or gpu")
    modules = {name: import_module(f"minidl.kernels.{name}") for name in OPERATIONS}
    return Kernels("cpu", np, host=np.asarray, repeat=lambda function, version: function, **modules)
