"""Arrays of float32 as bfloat16; for CuPy, they are integers of 16 bits."""

from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu import source

Array = Any
MOST_BLOCKS = 1 << 16
READERS = {"data": ("fprop", "wgrad"), "weights": ("fprop", "dgrad"), "error": ("wgrad", "dgrad")}  # of an operand


def narrow(wide: Array) -> Array:
    """Return a new array of the numbers of ``wide`` rounded to bfloat16."""
    result = cupy.empty(wide.shape, np.uint16)
    blocks = min(source.cover(wide.size, np.float32), MOST_BLOCKS)
    source.launch("bf16", "narrow", np.float32, blocks, source.THREADS, (wide, result, np.int64(wide.size)))
    return result


class Narrowed:
    """The operands of a layer's products in bfloat16: each is rounded once in a step, and two products read it.

    A product that has rounded an operand keeps it for the other one. Changes of an array cannot be detected, so a step
    begins with ``forget``, and the operands must not change until both products have read them.
    """

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], tuple[Array, Array]] = {}  # by operand and reader: the array, and its halves

    def forget(self) -> None:
        """Drop all kept operands."""
        self.kept.clear()

    def take(self, name: str, operation: str, array: Array) -> Array:
        """Return an operand, by its name, as bfloat16 for a product."""
        before, halves = self.kept.pop((name, operation), (None, None))
        if before is not None and (before.data.ptr, before.shape) == (array.data.ptr, array.shape):
            return halves
        halves = narrow(array)
        (other,) = set(READERS[name]) - {operation}
        self.kept[name, other] = array, halves
        return halves
