"""Turns: threads use the device one at a time, and all in one stream.

Kernels of one stream run in the order in which they were asked for. CuPy keeps a current stream for each thread, at
first the default one, which is ordered with no stream like ours and cannot be recorded. A turn of a thread with another
current stream begins where that one is, and that one goes on where the turn ends.
"""

import os
from threading import RLock
from typing import Any

import cupy

stream = cupy.cuda.Stream(non_blocking=True)
device = cupy.cuda.runtime.getDevice()


class Turn:
    """What a thread holds in a turn, as often as it wants."""

    def __init__(self) -> None:
        self.lock, self.came_from = RLock(), list[Any]()

    def __enter__(self) -> None:
        self.lock.acquire()
        try:
            here = cupy.cuda.get_current_stream()
            if here.ptr != stream.ptr:
                if cupy.cuda.runtime.getDevice() != device:  # the first one, where a thread has just begun
                    cupy.cuda.Device(device).use()
                stream.wait_event(here.record())
                stream.__enter__()
            self.came_from.append(here)
        except BaseException:
            self.lock.release()
            raise

    def __exit__(self, *_: Any) -> None:
        try:
            here = self.came_from.pop()
            if here.ptr != stream.ptr:
                stream.__exit__()
                here.wait_event(stream.record())
        finally:
            self.lock.release()


turn = Turn()


def lock() -> Turn:
    """Return what the thread holds that runs a net: the same for all nets."""
    return turn


def _after_fork() -> None:
    """Unlock it: the thread that had a turn does not exist in the child, where CUDA does not work anyway."""
    turn.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
