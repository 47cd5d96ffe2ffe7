"""Products on the GPU: their library and precision, chosen once for all layers of a process.

library: "cuDNN" if it works, else "cuBLAS" (on the columns of im2col). float64 is always computed by cuBLAS.

    precision   operands are rounded to       sums       results are rounded to
    fp32        not rounded                   float32    not rounded
    tf32        10 bits of their mantissa     float32    not rounded
    bf16        7 bits of their mantissa      float32    7 bits of their mantissa, by cuDNN

Arrays are float32 in all three precisions. In bf16, cuDNN rounds its results to bfloat16 before they become float32
again, as in PyTorch's autocast: outputs before their biases are added, errors, and gradients of weights.
"""

import logging
from functools import cache

import cupy
import numpy as np
from numpy.typing import DTypeLike

from minidl.kernels.errors import MinidlError

TENSOR_CORES = 80  # the least compute capability (8.0) that multiplies in tf32 and bf16

_log = logging.getLogger(__name__)
_chosen: dict[str, str | None] = {"library": None, "precision": None}


def choose(precision: str | None = None, library: str | None = None) -> None:
    """Choose for all products from now on; None keeps the earlier choice; the first time, it takes the fastest.

    Raises MinidlError for a precision that this GPU does not have.
    """
    capable = int(cupy.cuda.Device().compute_capability) >= TENSOR_CORES
    if precision in ("tf32", "bf16") and not capable:
        raise MinidlError(f"this GPU has no {precision}, which came with compute capability 8.0; use fp32")
    _chosen["precision"] = precision or _chosen["precision"] or ("tf32" if capable else "fp32")
    _chosen["library"] = library or _chosen["library"]


def precision() -> str:
    """Return the precision of float32 products."""
    return _chosen["precision"] or "fp32"


def library() -> str:
    """Return the library that computes float32 products."""
    return _chosen["library"] or ("cuBLAS" if cudnn_fails() else "cuDNN")


def by_cudnn(dtype: DTypeLike) -> bool:
    """Return whether cuDNN computes the products of this type."""
    return np.dtype(dtype) == np.float32 and library() == "cuDNN"


def describe() -> str:
    """Return library and precision in words, and why it is not cuDNN, if it fails."""
    why = cudnn_fails()
    return f"products by {library()} in {precision()}" + (f" (cuDNN: {why})" if why else "")


def cudnn_fails() -> str:
    """Return why cuDNN cannot be used in the chosen precision, or "" if small products are correct."""
    return probe(precision())


@cache
def probe(precision: str) -> str:
    """Return why cuDNN cannot be used in a precision, and log it; return "" if it can."""
    try:
        why = _tried(precision)
    except MemoryError:
        raise
    except Exception as error:  # any type: the frontend's imports and assertions can fail, too
        why = reason(error)
    if why:
        say_once(f"cuDNN cannot be used, and im2col with cuBLAS makes the products, which is slower: {why}")
    return why


def _tried(precision: str) -> str:
    """Return which of the three products of arrays of ones is wrong, or ""; raises what cuDNN raises."""
    from minidl.kernels.gpu import bf16, cudnn

    shape = 8, 1, 1, 8
    ones = cupy.ones(shape, np.float32)
    operand = bf16.narrow(ones) if precision == "bf16" else ones
    for operation in cudnn.INPUTS:
        out = cupy.zeros_like(ones)
        product = cudnn.Product(operation, shape, shape, shape, (1, 1), (0, 0), precision)
        product(operand, operand, out)
        if not (cupy.asnumpy(out) == 8).all():
            return f"wrong results of {operation}"
    return ""


def reason(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its type if it has none."""
    return str(error).strip().split("\n")[0] or type(error).__name__


@cache
def say_once(text: str) -> None:
    """Log a line, unless it has been logged before."""
    _log.warning(text)
