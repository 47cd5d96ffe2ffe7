"""Emulated streams, graphs and devices."""

import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from itertools import count
from threading import local
from types import SimpleNamespace
from typing import Any

from cupy import capture, nccl

sys.modules["cupy.cuda.nccl"] = nccl  # as in CuPy, which imports this module only on request


def is_available() -> bool:
    """Return True, as if there were a GPU."""
    return True


class Graph:
    """What a stream captured."""

    def __init__(self, tape: list[Callable[[], Any]]) -> None:
        self.tape = tape

    def launch(self, stream: Any = None) -> None:
        """Run it, with the arguments that were recorded."""
        for action in self.tape:
            action()


_pointers = count(4096, 16)


class Stream:
    """A queue of work for the device; here, work is done immediately."""

    null: "Stream"

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.non_blocking, self.ptr = non_blocking, 0 if null else next(_pointers)

    def __enter__(self) -> "Stream":
        _of_thread.entered.append(self)
        return self.use()

    def __exit__(self, *_: Any) -> None:
        """Return to the stream of the surrounding ``with``, or to the default one; never to a stream set by ``use``."""
        entered = _of_thread.entered
        entered.pop()
        (entered[-1] if entered else Stream.null).use()

    def use(self) -> "Stream":
        """Make this the current stream of the current thread."""
        _of_thread.current = self
        capture.compute_in(self.ptr)
        return self

    def begin_capture(self, mode: Any = None) -> None:
        """Record from now on."""
        if not self.non_blocking or get_current_stream() is not self:
            raise RuntimeError("only the current stream, if it is not the default one, can capture")
        capture.begin()

    def end_capture(self) -> Graph:
        """Return what was recorded."""
        return Graph(capture.end())

    def is_capturing(self) -> bool:
        """Return whether the stream records."""
        return capture.recording()

    def record(self, event: "Event | None" = None) -> "Event":
        """Return an event that marks all work of the stream so far."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: "Event") -> None:
        """Wait until all work that an event marks is done."""
        capture.wait(self.ptr, event.point)

    def synchronize(self) -> None:
        """Wait for the device, which cannot be captured."""
        capture.forbid("waiting for the device")
        capture.arrive()


class _OfThread(local):
    """The state that CuPy keeps for each thread."""

    def __init__(self) -> None:
        self.current = Stream.null
        self.entered: list[Stream] = []


Stream.null = Stream(null=True)
_of_thread = _OfThread()


def get_current_stream() -> Stream:
    """Return the current stream of the current thread."""
    return _of_thread.current


def alloc_pinned_memory(size: int) -> bytearray:
    """Return pinned memory of the host."""
    return bytearray(size)


class MemoryPool:
    """A pool of memory for later arrays; here it keeps none."""

    def malloc(self, size: int) -> Any:
        """Allocate memory."""
        raise NotImplementedError

    def used_bytes(self) -> int:
        """Return 0."""
        return 0

    def total_bytes(self) -> int:
        """Return 0."""
        return 0

    def free_all_blocks(self) -> None:
        """Free nothing."""


@contextmanager
def using_allocator(allocator: Any) -> Any:
    """Take arrays from another pool inside a ``with`` block."""
    capture.private_pool, before = True, capture.private_pool
    try:
        yield
    finally:
        capture.private_pool = before


ahead = 0.0  # seconds for which the device claims to have worked


class Event:
    """A point in time."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.time, self.point = 0.0, (0, -1)

    def record(self, stream: Any = None) -> None:
        """Mark the time, and all work of the stream so far."""
        self.time, self.point = time.perf_counter() + ahead, capture.now((stream or get_current_stream()).ptr)

    def synchronize(self) -> None:
        """Wait for it, which cannot be captured."""
        capture.forbid("waiting for an event")
        capture.arrive()


def get_elapsed_time(start: Event, stop: Event) -> float:
    """Return the milliseconds between two events."""
    return 1000 * (stop.time - start.time)


class Device:
    """The only device."""

    def __init__(self, device: int = 0) -> None:
        self.id = device
        self.compute_capability = "90"
        self.mem_info = (1 << 36, 1 << 37)

    def use(self) -> None:
        """Make it the current one."""

    def synchronize(self) -> None:
        """Wait for it."""
        capture.forbid("waiting for the device")


runtime = SimpleNamespace(
    getDevice=lambda: 0,
    getDeviceCount=lambda: 1,
    getDeviceProperties=lambda _: {"name": b"an emulated GPU", "multiProcessorCount": 4},
    runtimeGetVersion=lambda: 12090,
    driverGetVersion=lambda: 12090,
)
