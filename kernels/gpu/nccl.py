"""NCCL: sums of arrays over the GPUs of several processes, one each.

They run in the same stream as all kernels, so a CUDA graph records them like other kernels; then the graph must be
replayed on all GPUs.
"""

from importlib import import_module
from typing import Any

import cupy
import numpy as np

from minidl.kernels.errors import MinidlError

Array = Any


def unique_id() -> Any:
    """Return a new name for a group of processes; the first process makes it and sends it to the others.

    Raises MinidlError without NCCL.
    """
    return _library().get_unique_id()


def check() -> None:
    """Raise MinidlError without NCCL."""
    _library()


def _library() -> Any:
    """Return NCCL as CuPy has it; a plain ``import cupy`` does not bring it."""
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
    """The sums of a group of ``size`` processes that know the same ``name``, of which this is number ``rank``.

    It waits for all of them, and raises MinidlError if NCCL cannot connect them.
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
