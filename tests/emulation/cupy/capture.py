"""What a stream does between begin_capture and end_capture: nothing runs, everything is written down."""

import ctypes
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

_tape: list[Callable[[], Any]] | None = None
private_pool = False  # whether memory is taken from another pool than the common one


later: list[Callable[[], Any]] = []  # copies to the host that nobody has waited for


def arrive() -> None:
    """Wait for the device."""
    while later:
        later.pop(0)()


def recording() -> bool:
    """Return whether a stream is capturing."""
    return _tape is not None


def begin() -> None:
    """Write down from now on."""
    global _tape
    if _tape is not None:
        raise RuntimeError("the stream is capturing already")
    _tape = []


def end() -> list[Callable[[], Any]]:
    """Return what was written down."""
    global _tape
    if _tape is None:
        raise RuntimeError("the stream is not capturing")
    tape, _tape = _tape, None
    return tape


def run(action: Callable[[], Any]) -> None:
    """Run something on the device, or write it down."""
    if _tape is None:
        action()
    else:
        _tape.append(action)


def keep(memory: Any) -> None:
    """Keep memory that was taken while capturing as long as the graph; only a pool of the graph's own does that."""
    if _tape is not None:
        if not private_pool:
            raise RuntimeError("what a capture takes from the common pool is soon given to others")
        _tape.append(lambda: (memory, None)[1])


def watch(memory: Any) -> None:
    """Have the graph fail where this memory is not there any more: it knows addresses, and keeps nothing."""
    if _tape is None:
        return
    there = weakref.ref(memory)

    def check() -> None:
        if there() is None:
            raise RuntimeError("a graph works on memory that was freed since it was recorded")

    _tape.append(check)


def borrowed(host: Any) -> Any:
    """Return the array behind one of the device for what is recorded: the same elements, which it does not keep."""
    if _tape is None or not isinstance(host, np.ndarray) or not host.size or min(host.strides, default=0) < 0:
        return host
    watch(host if host.base is None else host.base)
    reach = sum((n - 1) * step for n, step in zip(host.shape, host.strides, strict=True)) + host.itemsize
    memory = (ctypes.c_char * reach).from_address(host.ctypes.data)
    return np.ndarray(host.shape, host.dtype, memory, strides=host.strides)


def forbid(what: str) -> None:
    """Raise for what cannot be captured."""
    if _tape is not None:
        raise NotImplementedError(f"{what} cannot be captured")
