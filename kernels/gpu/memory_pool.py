"""Memory pool: CuPy's own, which reuses the memory of an array as soon as nothing refers to the array any more."""

from typing import Any

import cupy


class MemoryPool:
    """Gives out arrays from CuPy's pool; see kernels/cpu/memory_pool.py."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an uninitialized array; when it and all views of it are gone, its memory is free again."""
        return cupy.empty(shape, dtype)
