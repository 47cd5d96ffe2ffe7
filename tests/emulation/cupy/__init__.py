"""A stand-in for CuPy on machines without a GPU: arrays live in NumPy, CUDA sources run through ../cuda.hpp.

It does what minidl needs of CuPy, and is as strict as a GPU: arrays of the host and of the device cannot be mixed, new
memory is full of nan, writes outside of an array are noticed, arguments of kernels must match the C declaration, and
what a stream captures is recorded instead of run. Every other name that the real CuPy has is NumPy's function, applied
to device arrays.
"""

from functools import partial
from typing import Any

import numpy as np

from cupy import cuda
from cupy.arrays import NAMES, array, asarray, asnumpy, call, empty, ndarray
from cupy.formulas import ElementwiseKernel, ReductionKernel
from cupy.raw import RawKernel, RawModule

__all__ = [
    "ElementwiseKernel",
    "RawKernel",
    "RawModule",
    "ReductionKernel",
    "array",
    "asarray",
    "asnumpy",
    "cuda",
    "empty",
    "ndarray",
]


def full(shape: Any, value: Any, dtype: Any = None) -> ndarray:
    """Return a new array of one value."""
    out = empty(shape, np.asarray(value).dtype if dtype is None else dtype)
    out.fill(value)
    return out


def zeros(shape: Any, dtype: Any = float) -> ndarray:
    """Return a new array of zeros."""
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = float) -> ndarray:
    """Return a new array of ones."""
    return full(shape, 1, dtype)


def empty_like(like: ndarray, dtype: Any = None) -> ndarray:
    """Return a new array of the same shape."""
    return empty(like.shape, dtype or like.dtype)


def zeros_like(like: ndarray, dtype: Any = None) -> ndarray:
    """Return a new array of zeros of the same shape."""
    return zeros(like.shape, dtype or like.dtype)


def ones_like(like: ndarray, dtype: Any = None) -> ndarray:
    """Return a new array of ones of the same shape."""
    return ones(like.shape, dtype or like.dtype)


def full_like(like: ndarray, value: Any, dtype: Any = None) -> ndarray:
    """Return a new array of one value of the same shape."""
    return full(like.shape, value, dtype or like.dtype)


def copyto(target: ndarray, source: ndarray) -> None:
    """Copy an array of the device to another."""
    target[...] = source


def get_default_memory_pool() -> cuda.MemoryPool:
    """Return the pool that arrays come from."""
    return cuda.MemoryPool()


class Submodule:
    """A module of functions, with exactly the names that the real CuPy has."""

    def __init__(self, prefix: str, module: Any) -> None:
        self.prefix, self.module = prefix, module

    def __getattr__(self, name: str) -> Any:
        if self.prefix + name not in NAMES:
            raise AttributeError(f"CuPy has no {self.prefix}{name}")
        value = getattr(self.module, name)
        return partial(call, value) if callable(value) and not isinstance(value, type) else value


linalg, random, fft = (Submodule(f"{name}.", getattr(np, name)) for name in ("linalg", "random", "fft"))
__getattr__ = Submodule("", np).__getattr__
