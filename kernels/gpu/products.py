"""Products on the GPU: which library computes them, and how exactly; one choice for all layers of a process.

library: "cuDNN" where it works, else "cuBLAS" (on the columns of im2col). float64 is always cuBLAS.

    precision   operands are rounded to       sums
    fp32        nothing                       float32
    tf32        10 bits of their mantissa     float32
    bf16        7 bits of their mantissa      float32
"""

import logging
from functools import cache

import cupy
import numpy as np
from numpy.typing import DTypeLike

from minidl.kernels.errors import MinidlError

PRECISIONS = ("fp32", "tf32", "bf16")
TENSOR_CORES = 80  # the least compute capability that multiplies tf32 and bf16

_log = logging.getLogger(__name__)
_chosen: dict[str, str] = {}


def choose(precision: str | None = None, library: str | None = None) -> None:
    """Choose for all products from now on; None leaves what was chosen before, and at first takes the fastest.

    Raises MinidlError for a precision that is unknown, or that this GPU does not have.
    """
    capable = int(cupy.cuda.Device().compute_capability) >= TENSOR_CORES
    if precision is not None and precision not in PRECISIONS:
        raise MinidlError(f"the precision {precision!r} is unknown; use {', '.join(PRECISIONS)}")
    if precision in ("tf32", "bf16") and not capable:
        raise MinidlError(f"this GPU has no {precision}, which came with compute capability 8.0; use fp32")
    _chosen["precision"] = precision or _chosen.get("precision") or ("tf32" if capable else "fp32")
    _chosen["library"] = library or _chosen.get("library") or ("cuBLAS" if cudnn_fails() else "cuDNN")


def precision() -> str:
    """Return the precision of float32 products."""
    return _chosen["precision"]


def library() -> str:
    """Return the library that makes the products of float32."""
    return _chosen["library"]


def by_cudnn(dtype: DTypeLike) -> bool:
    """Say whether cuDNN makes the products of this type."""
    return library() == "cuDNN" and np.dtype(dtype) == np.float32


def describe() -> str:
    """Return library and precision in words."""
    why = cudnn_fails()
    return f"products by {library()} in {precision()}" + (f" (cuDNN: {why})" if why else "")


@cache
def cudnn_fails() -> str:
    """Return why cuDNN cannot be used, or nothing where a small product comes out right."""
    try:
        from minidl.kernels.gpu import cudnn

        data, weights = cupy.ones((2, 1, 1, 8), np.float32), cupy.ones((8, 1, 1, 8), np.float32)
        out = cupy.zeros_like(data)
        product = cudnn.product("fprop", data.shape, weights.shape, out.shape, (1, 1), (0, 0), "fp32")
        if product is None:
            return "no engine for this GPU"
        product(data, weights, out)
        return "" if (cupy.asnumpy(out) == 8).all() else "wrong results"
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        return str(error).strip().split("\n")[0]


@cache
def say_once(text: str) -> None:
    """Log a line, unless it has been logged before."""
    _log.warning(text)
