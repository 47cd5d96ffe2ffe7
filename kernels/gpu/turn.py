"""Turns: threads use the device one at a time, and all in one stream.

Kernels of one stream run in the order in which they were launched. CuPy keeps a current stream for each thread. At
first it is the default stream, which cannot be recorded, and which does not wait for a non-blocking stream such as
ours, nor ours for it. So in a turn of a thread that has another current stream, our stream first waits for that one,
and at the end of the turn that one waits for ours.
"""

import os
from threading import RLock
from typing import Any

import cupy

stream = cupy.cuda.Stream(non_blocking=True)
device = cupy.cuda.runtime.getDevice()


class Turn:
    """A reentrant lock that a thread holds during its turn; meanwhile its current stream is ours."""

    def __init__(self) -> None:
        self.lock, self.came_from = RLock(), list[Any]()

    def __enter__(self) -> None:
        self.lock.acquire()
        try:
            here = cupy.cuda.get_current_stream()
            if here.ptr != stream.ptr:
                if cupy.cuda.runtime.getDevice() != device:  # a new thread begins with the first GPU
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
    """Return the lock that a thread holds while it runs a net: the same for all nets."""
    return turn


def _after_fork() -> None:
    """Make a new lock: a thread that held it does not exist in the child of a fork, where CUDA does not work anyway."""
    turn.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_after_fork)
