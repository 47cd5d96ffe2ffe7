"""Arrays for a short time: each is new, and NumPy frees its memory when nobody refers to it."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class MemoryPool:
    """Where arrays take places and leave them."""

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialized array."""
        return np.empty(shape, dtype)
