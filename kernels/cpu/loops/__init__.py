"""Innermost loops: functions on whole arrays that use all cores, in NumPy or, if it is installed, compiled by Numba.

An operation calls ``loops.current().NAME``; numpy_loops.py and numba_loops.py have the same functions. In NumPy, each
arithmetic operation is a separate pass over the arrays; so the workers (threads.py) take pieces that stay in a core's
cache. A compiled loop does all arithmetic in one pass, and runs on all cores by itself.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from minidl.kernels.errors import MinidlError
from minidl.words import check_known

NAMES = ("numpy", "numba")
_current: ModuleType | None = None
_unusable = ""  # why Numba is not used although it is installed


def use(name: str) -> None:
    """Use the loops "numpy" or "numba" from now on; raise MinidlError if they are unknown or cannot be imported."""
    global _current, _unusable
    check_known("library of loops", name, NAMES)
    if find_spec(name) is None:
        raise MinidlError(f"{name} is not installed; install it with: pip install {name}, or use the loops of numpy")
    try:
        _current = import_module(f"minidl.kernels.cpu.loops.{name}_loops")
    except Exception as error:  # its version may not fit NumPy's, SciPy may be missing, its settings may be odd
        raise MinidlError(f"{name} cannot be used ({error}); install it again, or use the loops of numpy") from error
    _unusable = ""


def use_best() -> None:
    """Use Numba's loops if possible, else those in NumPy."""
    global _unusable
    try:
        use("numba" if find_spec("numba") else "numpy")
    except MinidlError as error:
        use("numpy")
        _unusable = str(error)


def name() -> str:
    """Return the name of the loops in use, "numpy" or "numba"."""
    return current().__name__.rpartition(".")[2].removesuffix("_loops")


def warning() -> str:
    """Return a sentence about what makes the first step or all steps slow; "" if nothing does."""
    of_loops: str = current().warning()
    return f"NumPy computes, which is slower: {_unusable}." if _unusable else of_loops


def current() -> ModuleType:
    """Return the loops in use: Numba's, unless it is not installed or others were chosen."""
    if _current is None:
        use_best()
    assert _current is not None
    return _current
