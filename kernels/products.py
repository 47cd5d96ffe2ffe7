"""Matrix products in a row, repeated for one chunk of a batch after another.

A convolution is made of many small products. They are listed once, with everything about them but the chunk's place
in the batch, and then run for all chunks at once, because most of Python's share of the time would go there.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from minidl.kernels.loops import current

Array = NDArray[Any]


class Product(NamedTuple):
    """out = left · right, or out += left · right; operands (…, rows, columns), broadcast as matmul does.

    moving: which of left, right and out are the images of a whole batch, of which each chunk takes its own; the first
    axis of the others belongs to the chunk.
    """

    left: Array
    right: Array
    out: Array
    moving: tuple[bool, bool, bool]
    accumulate: bool


class Products:
    """Products on ``samples`` images at a time, computed by a worker."""

    def __init__(self, worker: int, samples: int) -> None:
        self.worker, self.samples = worker, samples
        self.steps: list[Product] = []

    def add(self, left: Array, right: Array, out: Array, moving: str = "", accumulate: bool = False) -> None:
        """List a product; moving: "right" or "out" where that is the images of a whole batch."""
        self.steps.append(Product(left, right, out, (False, moving == "right", moving == "out"), accumulate))

    def run(self, starts: Sequence[int]) -> None:
        """Compute all products, in turn, for the chunks that begin at these images."""
        current().multiply(self.worker, self.samples, self.steps, starts)
