"""Services as the reference has them; the CPU and the GPU have some of their own. contract.py says what each does."""

from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any

import numpy as np

from minidl.kernels import arrays

Array = Any


def read_later(array: Array) -> Callable[[], Array]:
    """Return a function that returns the array: nothing here makes anyone wait."""
    return lambda: array


def constant(array: Array) -> Array:
    """Return a copy, which nobody changes; no operation keeps anything of it."""
    return array.copy()


def concurrently(first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    """Call both functions one after the other, each with all cores, and return what the second returns."""
    first()
    return second()


def choose(choices: Mapping[str, str]) -> None:
    """Do nothing: each operation computes in one way, wherever it is."""


def record(function: Callable[..., Any], version: Any, total: Any = None) -> Callable[..., Any]:
    """Return the function itself: steps are not recorded."""
    return function


def tape(function: Callable[[], None]) -> None:
    """Return None: there are no compiled calls to play again."""


def describe() -> str:
    """Return in words what computes."""
    return "the reference: every operation as its equation says, in plain NumPy; slow, made for reading and debugging"


PLAIN: dict[str, Any] = {
    "xp": np,
    "array": arrays.array,
    "host": np.asarray,
    "read_later": read_later,
    "constant": constant,
    "lock": RLock,
    "concurrently": concurrently,
    "choices": dict,
    "choose": choose,
    "record": record,
    "tape": tape,
    "describe": describe,
}
