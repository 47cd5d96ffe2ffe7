"""What the stand-ins for cuBLAS and cuDNN share: matrices behind pointers, and operands rounded as tensor cores do."""

import ctypes
from collections.abc import Sequence

import numpy as np


def behind(pointer: int, shape: Sequence[int], strides: Sequence[int], dtype: type) -> np.ndarray:
    """Return the array that begins at a pointer; strides count elements."""
    size = np.dtype(dtype).itemsize
    reach = (sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + 1) * size if 0 not in shape else 0
    memory = np.frombuffer((ctypes.c_char * reach).from_address(pointer), np.uint8)
    return np.lib.stride_tricks.as_strided(memory.view(dtype), shape, [step * size for step in strides])


def rounded(x: np.ndarray, bits: int) -> np.ndarray:
    """Return numbers of float32 rounded to that many bits of their mantissas, to nearest with ties to even."""
    drop = 23 - bits
    whole = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    whole = (whole + (1 << drop - 1) - 1 + ((whole >> np.uint64(drop)) & np.uint64(1))) >> np.uint64(drop)
    return (whole << np.uint64(drop)).astype(np.uint32).view(np.float32)


TF32, BF16 = 10, 7  # bits of the mantissa
