"""Stop: Ctrl-C and SIGTERM are interrupts, which a command may defer until its work is saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minidl.communicator import Communicator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """An interrupt by SIGTERM, which a batch system sends before it ends a program."""


class Stop:
    """The deferred interrupt of a command, to be raised when its work is saved, or None."""

    def __init__(self) -> None:
        self.asked: KeyboardInterrupt | None = None

    def on_any(self, ranks: "Communicator") -> KeyboardInterrupt | None:
        """Return, on all ranks, the interrupt of any rank, or None."""
        number = ranks.most(_number(self.asked) if self.asked else 0)
        return interrupt(number) if number else None


def interrupt(number: int) -> KeyboardInterrupt:
    """Return the interrupt for a signal."""
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


def status_of(error: BaseException) -> int:
    """Return the exit status of a command that an error or an interrupt has ended."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 128 + _number(error) if isinstance(error, KeyboardInterrupt) else 2


def _number(interrupt: KeyboardInterrupt) -> int:
    return signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT


@contextmanager
def interrupts() -> Iterator[None]:
    """Let SIGTERM raise Terminated, as Ctrl-C raises KeyboardInterrupt."""

    def at_once(number: int, frame: FrameType | None) -> None:
        raise interrupt(number)

    with _handled(at_once):
        yield


@contextmanager
def put_off() -> Iterator[Stop]:
    """Only record the first Ctrl-C or SIGTERM; a second one ends the work inside at once."""
    stop = Stop()

    def noted(number: int, frame: FrameType | None) -> None:
        if stop.asked is not None:
            raise interrupt(number)
        stop.asked = interrupt(number)

    with _handled(noted):
        yield stop


@contextmanager
def _handled(handler: Any) -> Iterator[None]:
    """Handle the signals with this function; outside the main thread, which alone gets signals, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, handler)) for number in SIGNALS]
    try:
        yield
    finally:
        for number, earlier in before:
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)  # None: not set by Python
