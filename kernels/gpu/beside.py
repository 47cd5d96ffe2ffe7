"""Beside: two parts of a step that need nothing of each other, side by side in the graph that a stream records.

Kernels of small batches leave most of a card idle. What is recorded in a second stream, which begins where the first
one is and which that one waits for in the end, is a branch of its own in the graph, and the card runs both at once.
Out of a recording they run one after the other: there, Python is slower than the kernels.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import cupy

from minidl.kernels.gpu import products


def beside(first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    """Call both functions, which write to no memory that the other one knows, and return what the second returns."""
    stream = cupy.cuda.get_current_stream()
    # In bfloat16, products share operands that one of them has rounded, see bf16.py.
    if not stream.is_capturing() or products.precision() == "bf16":
        first()
        return second()
    branch = _branch(stream.ptr)
    branch.wait_event(stream.record(_event()))
    with branch:
        first()
    result = second()
    stream.wait_event(branch.record(_event()))
    return result


def _event() -> Any:
    return cupy.cuda.Event(disable_timing=True)


@cache
def _branch(stream: int) -> Any:
    """Return the stream beside another one, the same at every call: its cuDNN and its memory are made once."""
    return cupy.cuda.Stream(non_blocking=True)
