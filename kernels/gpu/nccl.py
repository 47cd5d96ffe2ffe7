"""NCCL: sums of arrays over the GPUs of several processes, one GPU for each process.

The sums run in the same stream as all kernels, so a CUDA graph records them like other kernels. Such a graph must be
launched on all GPUs.
"""

from importlib import import_module
from typing import Any

import cupy
import numpy as np

from minidl.kernels.errors import MinidlError

Array = Any


def unique_id() -> Any:
    """Return a new name for a group of processes; the first process makes it and sends it to the others.

    Raises MinidlError if NCCL is missing.
    """
    return _library().get_unique_id()


def check() -> None:
    """Raise MinidlError if NCCL is missing."""
    _library()


def _library() -> Any:
    """Return CuPy's module for NCCL, which ``import cupy`` does not import."""
    try:
        nccl: Any = import_module("cupy.cuda.nccl")
    except ImportError:
        nccl = None
    if nccl is None or not nccl.available:
        raise MinidlError(
            "ranks on GPUs need NCCL, which CuPy does not find; install it with: pip install nvidia-nccl-cu12 (or "
            "cu13), or use --device cpu"
        )
    return nccl


class Sums:
    """Sums over a group of ``size`` processes with the same ``name``; ``rank`` is the number of this process.

    The constructor waits for all processes, and raises MinidlError if NCCL cannot connect them.
    """

    def __init__(self, name: Any, rank: int, size: int) -> None:
        nccl = _library()
        try:
            self.group, self.operation = nccl.NcclCommunicator(size, name, rank), nccl.NCCL_SUM
        except RuntimeError as error:
            raise MinidlError(
                f"NCCL cannot connect the GPUs of the ranks ({error}); NCCL_DEBUG=WARN in the environment lets it say "
                "why, or use --device cpu"
            ) from error
        self.types = {"f": nccl.NCCL_FLOAT32, "d": nccl.NCCL_FLOAT64, "l": nccl.NCCL_INT64, "q": nccl.NCCL_INT64}

    def __call__(self, array: Array) -> None:
        """Sum a contiguous array of the device in place; each process gets the same, to the last bit."""
        kind, stream = self.types[np.dtype(array.dtype).char], cupy.cuda.get_current_stream()
        self.group.allReduce(array.data.ptr, array.data.ptr, array.size, kind, self.operation, stream.ptr)
