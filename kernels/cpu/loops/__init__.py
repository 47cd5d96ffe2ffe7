"""Innermost loops: an operation on whole arrays by all cores, by NumPy or, where it is installed, by Numba.

An operation calls ``loops.current().NAME``; numpy_loops.py and numba_loops.py have the same functions. NumPy makes one
pass over its arrays for each arithmetic operation, in pieces that stay in a core's cache, and hands these to the
workers (threads.py); a compiled loop makes one pass for all of them, and runs on all cores by itself.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from minidl.kernels.errors import MinidlError
from minidl.words import check_known

NAMES = ("numpy", "numba")
_current: ModuleType | None = None
_unusable = ""  # why Numba, though it is installed, does not compute


def use(name: str) -> None:
    """Compute by "numpy" or "numba" from now on; raise MinidlError where it is not known or cannot be imported."""
    global _current, _unusable
    check_known("library of loops", name, NAMES)
    if find_spec(name) is None:
        raise MinidlError(f"{name} is not installed; install it with: pip install {name}, or use the loops of numpy")
    try:
        _current = import_module(f"minidl.kernels.cpu.loops.{name}_loops")
    except ImportError as error:  # its version may not fit NumPy's, or SciPy may be missing
        raise MinidlError(f"{name} cannot be used ({error}); install it anew, or use the loops of numpy") from error
    _unusable = ""


def use_best() -> None:
    """Compute by Numba where it can be used, else by NumPy."""
    global _unusable
    try:
        use("numba" if find_spec("numba") else "numpy")
    except MinidlError as error:
        use("numpy")
        _unusable = str(error)


def name() -> str:
    """Return which loops are in use."""
    return current().__name__.rpartition(".")[2].removesuffix("_loops")


def warning() -> str:
    """Return a sentence on what makes the first step slow, or all of them; nothing if nothing does."""
    of_loops: str = current().warning()
    return f"NumPy computes, which is slower: {_unusable}." if _unusable else of_loops


def current() -> ModuleType:
    """Return the loops in use: Numba's, unless it is not installed or others were chosen."""
    if _current is None:
        use_best()
    assert _current is not None
    return _current
