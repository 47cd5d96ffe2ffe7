"""Matrix products by cuBLAS, called directly, because calls through CuPy cannot be captured in a CUDA graph."""

import ctypes
from functools import cache
from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu import products

Array = Any

WORKSPACE = 32 << 20  # bytes; with a workspace that we provide, cuBLAS allocates nothing, and results are repeatable
NO_MEMORY = 3  # CUBLAS_STATUS_ALLOC_FAILED
STATUS = {1: "not initialized", 7: "invalid value", 8: "not on this GPU", 11: "no access to memory",
          13: "not executed", 14: "internal error", 15: "not supported"}  # fmt: skip
NOT_TRANSPOSED, TRANSPOSED = 0, 1
ANY_ALGORITHM = -1
TYPES = {"float32": 0, "float64": 1}  # CUDA_R_32F, CUDA_R_64F
# CUBLAS_COMPUTE_32F, _32F_FAST_TF32, _32F_FAST_16BF, _64F
COMPUTE = {"fp32": 68, "tf32": 77, "bf16": 75, "float64": 70}


def multiply(
    a: Array, b: Array, out: Array, *, transpose_a: bool = False, transpose_b: bool = False, add: bool = False
) -> None:
    """Write a · b into ``out``; add: add it to ``out``; transpose_a, transpose_b: use aᵀ or bᵀ instead.

    All are contiguous matrices of one type, float32 or float64; float32 is multiplied in the precision chosen in
    products.py. cuBLAS expects matrices stored column by column, so it sees the transpose of each of ours, and computes
    outᵀ = bᵀ · aᵀ.
    """
    rows, columns = out.shape
    inner = a.shape[0] if transpose_a else a.shape[1]
    if not out.size:
        return
    kind = str(out.dtype)
    number = ctypes.c_float if kind == "float32" else ctypes.c_double
    status = library().cublasGemmEx(
        _handle(cupy.cuda.get_current_stream().ptr),
        TRANSPOSED if transpose_b else NOT_TRANSPOSED,
        TRANSPOSED if transpose_a else NOT_TRANSPOSED,
        columns,
        rows,
        inner,
        ctypes.byref(number(1)),
        b.data.ptr,
        TYPES[kind],
        b.shape[1],
        a.data.ptr,
        TYPES[kind],
        a.shape[1],
        ctypes.byref(number(1 if add else 0)),
        out.data.ptr,
        TYPES[kind],
        columns,
        COMPUTE[products.precision() if kind == "float32" else kind],
        ANY_ALGORITHM,
    )
    _check(status)


@cache
def library() -> Any:
    """Return the cuBLAS that CuPy uses; load it if it is not loaded yet."""
    from cupy_backends.cuda.libs import cublas as loaded  # noqa: F401  # loads it, wherever it is

    blas = ctypes.CDLL(f"libcublas.so.{cupy.cuda.runtime.runtimeGetVersion() // 1000}")
    whole, pointer = ctypes.c_int, ctypes.c_void_p
    matrix: list[Any] = [pointer, whole, whole]
    blas.cublasCreate_v2.argtypes = [pointer]
    blas.cublasSetStream_v2.argtypes = [pointer, pointer]
    blas.cublasSetWorkspace_v2.argtypes = [pointer, pointer, ctypes.c_size_t]
    blas.cublasGemmEx.argtypes = [pointer, *[whole] * 5, pointer, *matrix, *matrix, pointer, *matrix, whole, whole]
    return blas


@cache
def _handle(stream: int) -> ctypes.c_void_p:
    """Return a handle of cuBLAS for a stream."""
    handle = ctypes.c_void_p()
    _check(library().cublasCreate_v2(ctypes.byref(handle)))
    _check(library().cublasSetStream_v2(handle, stream))
    _workspaces[stream] = cupy.empty(WORKSPACE, np.uint8)
    _check(library().cublasSetWorkspace_v2(handle, _workspaces[stream].data.ptr, WORKSPACE))
    return handle


_workspaces: dict[int, Array] = {}


def _check(status: int) -> None:
    if status == NO_MEMORY:
        raise MemoryError("cuBLAS has no memory for a product of matrices")
    if status:
        raise RuntimeError(f"cuBLAS failed: {STATUS.get(status, 'its status')} ({status})")
