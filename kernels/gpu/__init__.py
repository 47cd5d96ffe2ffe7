"""GPU: the operations of kernels/ on CuPy's arrays; each module launches the kernels of NAME.cu beside its definition.

Read elementwise.py first: it has the paper's formulas on one page, without the optimizations of the other files.
Operations run in one stream, see turn.py, because the default stream cannot be captured in a graph; concurrently.py has
a second stream for parallel work, and plans are tried in a third.

The definitions provide shapes and records: convolution.Geometry and its check, windows.index_type, the tuples
data_norm.Statistics, Crops, Running and ParameterState, the lower bound of Adam's V (subnormal.py), and the part of a
Prefetcher that builds each batch when it is requested.
"""

from typing import Any

import cupy as xp

from minidl.kernels import arrays
from minidl.kernels.gpu import products
from minidl.kernels.gpu.concurrently import concurrently
from minidl.kernels.gpu.graph import record
from minidl.kernels.gpu.plans import choices, choose
from minidl.kernels.gpu.read_later import ReadLater as read_later
from minidl.kernels.gpu.source import aligned
from minidl.kernels.gpu.turn import lock, stream

__all__ = [
    "array",
    "choices",
    "choose",
    "concurrently",
    "describe",
    "host",
    "lock",
    "products",
    "read_later",
    "record",
    "stream",
    "xp",
]

host = xp.asnumpy
stream.__enter__()  # not use(): after any ``with`` of another stream, also in CuPy, this one is current again


def array(values: Any, dtype: Any) -> Any:
    """Return real numbers on the device in the form that operations need; see kernels/arrays.py."""
    if not isinstance(values, xp.ndarray):
        return xp.asarray(arrays.array(values, dtype))
    if values.dtype == dtype and values.flags.c_contiguous:
        return values if aligned(values) else values.copy()  # cuDNN reads aligned vectors
    arrays.check_real(values.dtype)
    return xp.ascontiguousarray(values, dtype)


def describe() -> str:
    """Return the GPU's name, how much of its memory is in use, and the library and precision of the products."""
    device = xp.cuda.Device()
    name = xp.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
    free, total = device.mem_info
    return f"{name}, {(total - free) / 1e9:.1f} of {total / 1e9:.1f} GB in use; {products.describe()}"
