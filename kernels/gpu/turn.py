"""Turns: threads that run nets on the device do so one at a time, and all of them in one stream.

Kernels of one stream run in the order in which they were asked for, and so a thread sees what another one has done.
CuPy keeps a current stream for each thread. It is the default one at first, which is ordered with no other and cannot
be recorded: at its first turn, a thread moves from there to the stream of all, and stays.
"""

from threading import RLock, local
from typing import Any

import cupy

DEFAULT = (0, 1, 2)  # pointers of CUDA's default streams: the one that is not named, the old one, and a thread's own

stream = cupy.cuda.Stream(non_blocking=True)


class Turn:
    """What a thread holds in a turn, as often as it wants."""

    def __init__(self) -> None:
        self.lock, self.known = RLock(), local()

    def __enter__(self) -> None:
        self.lock.acquire()
        here = cupy.cuda.get_current_stream()
        if here.ptr not in DEFAULT:
            return
        here.synchronize()  # what the thread has computed so far
        if hasattr(self.known, "thread"):
            stream.use()  # until the end of the ``with`` that has led to the default one
        else:
            self.known.thread = True
            stream.__enter__()  # the end of any ``with`` of another one, CuPy's own too, comes back to this one

    def __exit__(self, *_: Any) -> None:
        self.lock.release()


turn = Turn()


def lock() -> Turn:
    """Return what the thread holds that runs a net: the same for all nets."""
    return turn
