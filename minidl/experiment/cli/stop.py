"""Stop: Ctrl-C and SIGTERM, each an interrupt that a command may put off until what it does is saved."""

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
    """An interrupt by SIGTERM, as a batch system sends it before it ends a program."""


class Stop:
    """What was asked for while a command put interrupts off: an interrupt to raise when it can, or None."""

    def __init__(self) -> None:
        self.asked: KeyboardInterrupt | None = None

    def on_any(self, ranks: "Communicator") -> KeyboardInterrupt | None:
        """Return what was asked for on any of the ranks, or None on all of them."""
        number = ranks.most(_number(self.asked) if self.asked else 0)
        return interrupt(number) if number else None


def interrupt(number: int) -> KeyboardInterrupt:
    """Return the interrupt that a signal stands for."""
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
    """Only note the first Ctrl-C or SIGTERM; a second one ends what runs inside at once."""
    stop = Stop()

    def noted(number: int, frame: FrameType | None) -> None:
        if stop.asked is not None:
            raise interrupt(number)
        stop.asked = interrupt(number)

    with _handled(noted):
        yield stop


@contextmanager
def _handled(handler: Any) -> Iterator[None]:
    """Handle the signals so; outside of the main thread, which alone gets them, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, handler)) for number in SIGNALS]
    try:
        yield
    finally:
        for number, earlier in before:
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)  # None: not set by Python
