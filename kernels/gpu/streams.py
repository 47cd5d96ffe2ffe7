"""Streams: another one for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cupy


@contextmanager
def running_in(stream: Any) -> Iterator[Any]:
    """Let kernels run in a stream, and afterwards in the one before it.

    CuPy's own ``with stream`` goes back to the default stream where the one before was set by ``use``, as ours is.
    """
    before = cupy.cuda.get_current_stream()
    stream.use()
    try:
        yield stream
    finally:
        before.use()
