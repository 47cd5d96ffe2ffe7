"""Arrays whose memory serves again as soon as nobody refers to them: all of CuPy's memory is such a pool."""

from typing import Any

import cupy


class MemoryPool:
    """Where arrays take places and leave them; see kernels/recycled.py."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an uninitialized array; when it and all views of it are gone, its memory is free again."""
        return cupy.empty(shape, dtype)
