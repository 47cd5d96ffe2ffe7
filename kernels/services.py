"""Services as the reference has them; the CPU and the GPU have some of their own. contract.py says what each does."""

from collections.abc import Callable, Mapping
from functools import partial
from threading import RLock
from typing import Any

import numpy as np

from minidl.kernels import arrays

Array = Any


def read_later(array: Array) -> Callable[[], Array]:
    """Return a function that returns the array: there is no device to wait for."""
    return partial(np.asarray, array)  # unlike a lambda, it is copied together with the array by copy.deepcopy


def constant(array: Array) -> Array:
    """Return a copy that does not change; no operation here keeps anything that it computes from it."""
    return array.copy()


def concurrently(first: Callable[[], Any], second: Callable[[], Any]) -> Any:
    """Call both functions one after the other, each with all cores, and return what the second returns."""
    first()
    return second()


def choose(choices: Mapping[str, str]) -> None:
    """Do nothing: each operation has only one way to compute."""


def record(function: Callable[..., Any], version: Any, total: Any = None) -> Callable[..., Any]:
    """Return the function itself: steps are not recorded."""
    return function


def tape(function: Callable[[], None]) -> None:
    """Return None: there are no compiled calls to replay."""


def describe() -> str:
    """Return a description of the device."""
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
