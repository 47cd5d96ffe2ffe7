"""A group of GPUs that all hold the same arrays as this one, so that a sum is ``size`` times the array."""

import ctypes
from typing import Any

import numpy as np

from cupy import capture

available = True
NCCL_SUM, NCCL_INT64, NCCL_FLOAT32, NCCL_FLOAT64 = 0, 4, 7, 8
_TYPES = {NCCL_INT64: np.int64, NCCL_FLOAT32: np.float32, NCCL_FLOAT64: np.float64}


def get_unique_id() -> bytes:
    """Return a name."""
    return bytes(128)


class NcclCommunicator:
    """One of ``size``."""

    def __init__(self, size: int, name: bytes, rank: int) -> None:
        if len(name) != 128 or not 0 <= rank < size:
            raise RuntimeError("NCCL_ERROR_INVALID_ARGUMENT")
        self.size = size

    def allReduce(self, source: int, target: int, count: int, kind: int, operation: int, stream: Any) -> None:
        """Sum in place."""
        if source != target or operation != NCCL_SUM:
            raise RuntimeError("NCCL_ERROR_INVALID_USAGE")
        dtype = np.dtype(_TYPES[kind])
        memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(target)
        array = np.frombuffer(memory, dtype)

        def add() -> None:
            array[...] *= self.size

        capture.run(add)
