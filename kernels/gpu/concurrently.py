"""Concurrently: two independent parts of a step, in two streams, which are branches of a recorded graph.

Kernels of small batches leave most of a card idle. The second stream begins where the first one is, which waits for it
in the end, so that the card runs both parts at once where it has them in a graph; launched one by one, they take longer
to be launched than to run. The way is the same then, as what a stream needs of cuDNN and cuBLAS is made before a
recording, which forbids that.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import cupy

from minidl.kernels.gpu import products


def concurrently(first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    """Call both functions, which write to no memory that the other one knows, and return what the second returns."""
    if products.precision() == "bf16":  # where products share operands that one of them has rounded, see bf16.py
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
    finally:  # after an error, too: the branch may still be at work on memory that comes next
        ends.record(branch)
        stream.wait_event(ends)


@cache
def _branch(stream: int) -> tuple[Any, Any, Any]:
    """Return the stream beside another one, and the events at which it begins and ends; the same at every call."""
    begins, ends = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
    return cupy.cuda.Stream(non_blocking=True), begins, ends
