"""Stop: Ctrl-C, SIGTERM and SIGHUP are interrupts, which a command may defer until its work is saved."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minidl.communicator import Communicator

MOMENT = 0.05  # seconds after which an interrupt is tried again


class Terminated(KeyboardInterrupt):
    """An interrupt by SIGTERM, which a batch system sends before it ends a program."""


class HungUp(KeyboardInterrupt):
    """An interrupt by SIGHUP, which the programs of a terminal or a connection get when it is closed."""


KINDS: dict[int, type[KeyboardInterrupt]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: Terminated,
    signal.SIGHUP: HungUp,
}


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
    return KINDS[number]()


def status_of(error: BaseException) -> int:
    """Return the exit status of a command that an error or an interrupt has ended."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 128 + _number(error) if isinstance(error, KeyboardInterrupt) else 2


def _number(interrupt: KeyboardInterrupt) -> int:
    return next((number for number, kind in KINDS.items() if type(interrupt) is kind), signal.SIGINT)


@contextmanager
def interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise their exceptions, as Ctrl-C raises KeyboardInterrupt."""

    def at_once(number: int) -> None:
        raise interrupt(number)

    with _handled(at_once):
        yield


@contextmanager
def put_off() -> Iterator[Stop]:
    """Only record the first interrupt; a second one ends the work inside at once."""
    stop = Stop()

    def noted(number: int) -> None:
        if stop.asked is not None:
            raise interrupt(number)
        stop.asked = interrupt(number)

    with _handled(noted):
        yield stop


def _starts_a_library(frame: FrameType | None) -> bool:
    """Return whether compiled code of a library is being imported: an exception there may end Python in a crash."""
    while frame is not None:
        importing = frame.f_code.co_name in ("create_module", "exec_module")
        if importing and isinstance(frame.f_locals.get("self"), ExtensionFileLoader):
            return True
        frame = frame.f_back
    return False


@contextmanager
def _handled(handler: Callable[[int], None]) -> Iterator[None]:
    """Handle the signals with this function, but those that are ignored, as after nohup and by jobs of a script with &.

    A hang-up that follows another signal is ignored, as it is no second wish: when a terminal is closed, both its shell
    and the system send one, and at the end of a session, systemd sends one after SIGTERM. Outside the main thread,
    which alone gets signals, do nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    come = list[int]()

    def handle(number: int, frame: FrameType | None) -> None:
        if _starts_a_library(frame):
            threading.Timer(MOMENT, os.kill, (os.getpid(), number)).start()
        elif not come or number != signal.SIGHUP:
            come.append(number)
            handler(number)

    heard = [number for number in KINDS if signal.getsignal(number) is not signal.SIG_IGN]
    before = [(number, signal.signal(number, handle)) for number in heard]
    try:
        yield
    finally:
        for number, earlier in before:
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)  # None: not set by Python
