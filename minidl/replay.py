"""Replay: inference with weights that do not change, as compiled calls without the layers between them."""

from math import prod
from typing import Any

import numpy as np

from minidl.functions import is_built_in
from minidl.layer import Array, Layer, Shape

MOST = 1 << 16  # numbers of a batch: in larger ones, Python's share of the time is too small to matter


def is_small(shape: Shape) -> bool:
    """Return whether a batch is small enough for a replay to be faster."""
    return 0 < prod(shape) <= MOST


class Replay:
    """The forward pass for one shape of data, on a tape if the tape is known to hold all of it.

    A tape does not hold what NumPy computes from the data, such as the means of LN, IN and GN, and no trial shows what
    a user-defined layer does with other data. So nets with such layers have no tape. Other tapes are tried once on
    random numbers: if the result differs from that of the layers, no tape is used. frozen: the state since
    which the weights do not change.
    """

    def __init__(self, root: Layer, shape: Shape, frozen: object) -> None:
        self.root, self.frozen = root, frozen
        context, random = root.context, np.random.default_rng(0)
        self.context, xp = context, context.kernels.xp
        self.data, other = (xp.asarray(random.standard_normal(shape), dtype=context.dtype) for _ in range(2))
        first = self.data.copy()
        root.forward(self.data)  # now all memory is there
        self.output: Array = None
        ours = all(map(is_built_in, root.parts()))
        self.tape: Any = context.kernels.tape(self._compute) if ours else None
        self.allocations = context.allocations
        if self.tape is not None and not self.tape.whole:
            self.tape = None
        if self.tape is not None:
            expected = root.forward(other).copy()
            root.forward(first)  # nothing of the other is left anywhere
            if not bool((self(other) == expected).all()):
                self.tape = None

    def _compute(self) -> None:
        self.output = self.root.forward(self.data)

    def holds(self, frozen: object) -> bool:
        """Return whether the tape still has the net's weights and memory."""
        moved = self.allocations != self.context.allocations or (self.tape is not None and not self.tape.holds())
        return self.frozen is frozen and not moved

    def __call__(self, data: Array) -> Array:
        """Return the output for data, in the net's own memory."""
        if self.tape is None:
            return self.root.forward(data)
        self.data[...] = data
        self.tape.play()
        return self.output
