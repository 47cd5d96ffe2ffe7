"""Memory pool: here every array is new, and NumPy frees its memory when nothing refers to it any more."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class MemoryPool:
    """Gives out arrays; it keeps no memory."""

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialized array."""
        return np.empty(shape, dtype)
