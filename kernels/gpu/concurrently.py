"""Concurrently: run two independent parts of a step in two streams, which become branches of a recorded graph.

Kernels of small batches leave most of a GPU idle. The second stream begins where the first one is, and the first waits
for it at the end, so a recorded graph runs both parts at the same time. Without a graph this gains nothing, because
launching the kernels takes longer than running them. Both streams are used even then, because the handles of cuDNN and
cuBLAS for each stream must exist before a recording, during which they cannot be created.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import cupy

from minidl.kernels.gpu import products


def concurrently(first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    """Call both functions, which must not write memory that the other uses; return the result of the second."""
    if products.precision() == "bf16":  # the two parts share operands rounded to bfloat16, see bf16.py
        first()
        return second()
    stream = cupy.cuda.get_current_stream()
    branch, begins, ends = _branch(stream.ptr)
    begins.record(stream)
    branch.wait_event(begins)
    try:
        with branch:
            first()
        return second()
    finally:  # even after an error: the branch may still use memory that is reused next
        ends.record(branch)
        stream.wait_event(ends)


@cache
def _branch(stream: int) -> tuple[Any, Any, Any]:
    """Return the second stream that belongs to a stream, and two events, for its beginning and its end.

    They are always the same objects.
    """
    begins, ends = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
    return cupy.cuda.Stream(non_blocking=True), begins, ends
