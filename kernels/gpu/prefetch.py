"""Prefetching: none on a GPU, because building a batch is part of the recorded step and takes only microseconds."""

from typing import Any

import cupy

from minidl.kernels import prefetch
from minidl.kernels.prefetch import BUFFERS, not_next

__all__ = ["BUFFERS", "Prefetcher"]


class Prefetcher(prefetch.Prefetcher):
    """Calls ``make(buffer, request)`` when its result is requested.

    A step that was recorded takes its batches without Python. So more may have been taken than are known here, and a
    request is refused only if none like it can be left.
    """

    def next(self, request: Any) -> Any:
        """Return ``make(0, request)``; raise MinidlError if no such request is left."""
        if not cupy.cuda.get_current_stream().is_capturing():
            if request not in self._requests:
                raise not_next(self._expected(), request)
            self._requests.remove(request)
        return self._make(0, request)
