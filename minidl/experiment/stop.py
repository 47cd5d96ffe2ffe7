"""Stop: Ctrl-C and SIGTERM, each an interrupt that a command may put off until what it does is saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """An interrupt by SIGTERM, as a batch system sends it before it ends a program."""


class Stop:
    """What was asked for while a command put interrupts off: an interrupt to raise when it can, or None."""

    def __init__(self) -> None:
        self.asked: KeyboardInterrupt | None = None


def interrupt(number: int) -> KeyboardInterrupt:
    """Return the interrupt that a signal stands for."""
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


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
