"""What a stream does between begin_capture and end_capture: nothing runs, everything is written down."""

from collections.abc import Callable
from typing import Any

_tape: list[Callable[[], Any]] | None = None
private_pool = False  # whether memory is taken from another pool than the common one


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


def forbid(what: str) -> None:
    """Raise for what cannot be captured."""
    if _tape is not None:
        raise NotImplementedError(f"{what} cannot be captured")
