"""What a stream does between begin_capture and end_capture: nothing runs, everything is recorded."""

import ctypes
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

_tape: list[tuple[int, Callable[[], Any]]] | None = None  # the recorded calls, with their streams
_branches: dict[int, int] = {}  # other streams that are captured: the length of the tape when they joined
_origin = 0  # the stream that began to capture
_threads = threading.local()  # threads, each with its current stream
private_pool = False  # whether memory is taken from another pool than the default one


later: list[Callable[[], Any]] = []  # copies to the host that nobody has waited for


def current() -> int:
    """Return the current stream of the current thread; at first it is the default one."""
    return getattr(_threads, "stream", 0)


def compute_in(stream: int) -> None:
    """Change the current stream of the current thread."""
    _threads.stream = stream


def arrive() -> None:
    """Wait for the device."""
    while later:
        later.pop(0)()


def recording() -> bool:
    """Return whether a stream is capturing."""
    return _tape is not None


def begin() -> None:
    """Record from now on."""
    global _tape, _origin
    if _tape is not None:
        raise RuntimeError("the stream is capturing already")
    _tape, _origin = [], current()


def end() -> list[Callable[[], Any]]:
    """Return what was recorded."""
    global _tape
    if _tape is None:
        raise RuntimeError("the stream is not capturing")
    tape, _tape = _tape, None
    if _branches:
        _branches.clear()
        raise RuntimeError("the capturing stream does not wait for another one that it captures")
    return [action for _, action in tape]


def now(stream: int) -> tuple[int, int]:
    """Return a point in the work of a stream: the stream, and the length of the tape."""
    return stream, -1 if _tape is None else len(_tape)


def wait(stream: int, event: tuple[int, int]) -> None:
    """Let a stream wait for a point in what another one does: it joins the capture, or the other one leaves it.

    What the two streams do in between may run in any order. Here a branch runs last, because on one stream it would
    have run first.
    """
    other, length = event
    if _tape is None or length < 0:
        return
    if other not in _branches:
        _branches[stream] = length
        return
    start = _branches.pop(other)
    part = _tape[start:]
    _tape[start:] = [one for one in part if one[0] != other] + [one for one in part if one[0] == other]


def _note(action: Callable[[], Any]) -> None:
    assert _tape is not None
    stream = current()
    if stream != _origin and stream not in _branches:
        raise RuntimeError("while a stream is captured, another one runs at once what was to be recorded")
    _tape.append((stream, action))


def run(action: Callable[[], Any]) -> None:
    """Run something on the device, or record it."""
    if _tape is None:
        action()
    else:
        _note(action)


def keep(memory: Any) -> None:
    """Keep memory that was allocated during a capture as long as the graph, as a separate memory pool does."""
    if _tape is not None:
        if not private_pool:
            raise RuntimeError("what a capture takes from the common pool is soon given to others")
        _note(lambda: (memory, None)[1])


def watch(memory: Any) -> None:
    """Let the graph fail if this memory no longer exists: a graph has only addresses, and keeps nothing alive."""
    if _tape is None:
        return
    there = weakref.ref(memory)

    def check() -> None:
        if there() is None:
            raise RuntimeError("a graph works on memory that was freed since it was recorded")

    _note(check)


def borrowed(host: Any) -> Any:
    """Return the host array behind a device array for a recorded call, without keeping its memory alive."""
    if _tape is None or not isinstance(host, np.ndarray) or not host.size or min(host.strides, default=0) < 0:
        return host
    watch(host if host.base is None else host.base)
    reach = sum((n - 1) * step for n, step in zip(host.shape, host.strides, strict=True)) + host.itemsize
    memory = (ctypes.c_char * reach).from_address(host.ctypes.data)
    return np.ndarray(host.shape, host.dtype, memory, strides=host.strides)


def forbid(what: str) -> None:
    """Raise an exception for a call that cannot be captured."""
    if _tape is not None:
        raise NotImplementedError(f"{what} cannot be captured")
