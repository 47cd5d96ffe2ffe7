"""Arrays of float32 rounded to bfloat16; CuPy, which lacks this type, sees them as uint16."""

from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu import source

Array = Any
MOST_BLOCKS = 1 << 16
# The two products that read each operand.
READERS = {"data": ("fprop", "wgrad"), "weights": ("fprop", "dgrad"), "error": ("wgrad", "dgrad")}


def narrow(wide: Array) -> Array:
    """Return the numbers of ``wide`` rounded to bfloat16, to nearest with ties to even, in a new array."""
    result = cupy.empty(wide.shape, np.uint16)
    blocks = min(source.cover(wide.size, np.float32), MOST_BLOCKS)
    source.launch("bf16", "narrow", np.float32, blocks, source.THREADS, (wide, result, np.int64(wide.size)))
    return result


class Narrowed:
    """The operands of a layer's products in bfloat16: each is rounded once in a step, and two products read it.

    The first product that needs an operand rounds it, and the result is kept for the second one. Changes of an array
    cannot be detected, so a step begins with ``forget``, and the operands must not change until both products have read
    them.
    """

    def __init__(self) -> None:
        # By an operand and the product that will read it: the array, and the array rounded to bfloat16.
        self.kept: dict[tuple[str, str], tuple[Array, Array]] = {}

    def forget(self) -> None:
        """Drop all kept operands."""
        self.kept.clear()

    def take(self, name: str, operation: str, array: Array) -> Array:
        """Return ``array``, the operand ``name`` of the product ``operation``, in bfloat16."""
        before, halves = self.kept.pop((name, operation), (None, None))
        if before is not None and (before.data.ptr, before.shape) == (array.data.ptr, array.shape):
            return halves
        halves = narrow(array)
        (other,) = set(READERS[name]) - {operation}
        self.kept[name, other] = array, halves
        return halves
