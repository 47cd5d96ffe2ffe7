"""Numba's compiler: how it compiles the innermost loops and divides them among cores, and where compiled code is kept.

Compiled code is kept beside its source file or, if this folder cannot be written, in the user's cache; if neither can
be written, nothing is kept. Code that is damaged, or was compiled from other sources, is compiled again.

The compiler may change the order of sums, so that several elements are added at once, and may join a product and a sum
into one instruction; everything else is computed as written. A parallel loop has as many parts as there are workers
(numba_parts.py). A part has the same elements every time, so that sums over parts are repeatable to the last bit. The
threads are those of OpenMP, if the machine has it. They never take the interpreter's lock (GIL), for which Python's own
threads wait a tenth of a millisecond each time.

If several threads of a program compute, their parallel loops run one after another, because each loop uses all cores,
and not all of Numba's threading layers can run two loops at the same time.
"""

import gc
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from minidl.kernels.cpu.calls import add_call
from minidl.kernels.cpu.threads import shares, workers
from minidl.kernels.errors import MinidlError

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise ImportError("NUMBA_DISABLE_JIT is set, so that it compiles nothing")


def of_sources(folder: Path) -> str:
    """Return a checksum of all files that a compiled loop can depend on: those with loops, and with their constants."""
    files = sorted([*folder.glob("numba_*.py"), *folder.parent.glob("cook_toom.py")])
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


_sources = of_sources(Path(__file__).parent)


class _Files(IndexDataCacheFile):
    """The files of a function's compiled forms, named by a checksum of their key.

    Numba itself numbers them. Two processes that compile forms for two number types at the same time would give both
    the same name.
    """

    def save(self, key: Any, data: Any) -> None:
        """Write a form, and then its name into the index.

        If another process writes the index at the same time, the name may be lost; the form is then compiled again.
        """
        name = self._data_name(int(sha256(repr(key).encode()).hexdigest()[:12], 16))
        self._save_data(name, data)
        self._save_index(self._load_index() | {key: name})


class _Kept(FunctionCache):
    """The compiled forms of a function that Numba keeps in files; everything also works without these files."""

    def __init__(self, function: Callable[..., None]) -> None:
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, locator.get_source_stamp())

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """Return the key of a compiled form, with a checksum of all sources; Numba checks only the function's file."""
        return *super()._index_key(sig, codegen), _sources

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled form for these types, or None if it must be compiled."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # unpickling a damaged file can raise exceptions of any type
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled form, if the files can be written."""
        with suppress(OSError):
            super().save_overload(sig, data)


_compile = partial(numba.njit, error_model="numpy", fastmath={"reassoc", "contract"})
inlined = _compile(inline="always")
_in_turn = Lock()


def compiled(function: Any) -> Any:
    """Compile a function that only compiled functions call; ``call`` and ``in_parts`` compile it into the caller."""
    return _compile(no_cfunc_wrapper=True, no_cpython_wrapper=True)(function)


def parallel(function: Callable[..., None]) -> Any:
    """Compile a function that Python calls and that works in parts (``in_parts``); keep it if there is a folder."""
    loop: Any = _compile(nogil=True, no_cfunc_wrapper=True)(function)
    loop.compile = _without_collecting(loop.compile)
    with suppress(RuntimeError, OSError, ValueError):  # no folder can be written
        loop._cache = _Kept(function)

    @wraps(function)
    def run(*args: Any) -> None:
        add_call(run, *args)
        with _in_turn:
            loop(*args)

    run.__dict__["compiled"] = loop
    return run


_collector_waits = False


def _without_collecting(compile_it: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that compiles with the garbage collector off, as that takes a quarter of the compile time."""

    def run(signature: Any) -> Any:
        global _collector_waits
        _collector_waits = gc.isenabled()
        gc.disable()
        try:
            return compile_it(signature)
        finally:
            _collect_again()

    return run


def _collect_again() -> None:
    """Turn the garbage collector on again, if ``_without_collecting`` has turned it off."""
    global _collector_waits
    if _collector_waits:
        gc.enable()
    _collector_waits = False


def _after_fork() -> None:
    """Make a new lock: a thread that held it, and may have been compiling, does not exist in the child of a fork."""
    global _in_turn
    _in_turn = Lock()
    _collect_again()


os.register_at_fork(after_in_child=_after_fork)

# How long a thread of GNU's or LLVM's OpenMP waits in a busy loop before it sleeps: half a millisecond, which is longer
# than most of Python's work between two loops. If it waited much longer, it would take cores from Python's own threads.
_PATIENCE = {"GOMP_SPINCOUNT": "30000", "KMP_BLOCKTIME": "1"}
_threads = 0  # the number of threads that Numba is set to


def parts(count: int, minimum: int = 1) -> int:
    """Return into how many parts to divide ``count``, none smaller than ``minimum``; start Numba's threads for them."""
    ready()
    return len(shares(count, minimum))


def ready() -> None:
    """Set Numba to one thread for each worker; the first call starts the threads."""
    global _threads
    if _threads != workers():
        _threads = workers()
        ours = [key for key in _PATIENCE if key not in os.environ]
        os.environ.update((key, _PATIENCE[key]) for key in ours)
        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        try:
            numba.set_num_threads(min(_threads, most))  # the first time, it starts them
        except ValueError as error:  # NUMBA_NUM_THREADS=0, or a NUMBA_THREADING_LAYER that is not there
            _threads = 0
            raise MinidlError(
                f"Numba cannot start its threads ({' '.join(str(error).split())}); unset what begins with NUMBA_ in "
                "the environment, or use the loops of numpy (--loops numpy)"
            ) from error
        finally:
            for key in ours:  # so that other libraries with a separate OpenMP do not read them
                del os.environ[key]


@compiled
def bounds(n: Any, rows: Any, part: Any, parts: Any) -> Any:
    """Return for a part its first matrix, the one after its last, its first row, and the one after its last.

    A part is some of n matrices with all their rows or, if n is 1, some rows of the one.
    """
    if n == 1:
        return 0, 1, rows * part // parts, rows * (part + 1) // parts
    return n * part // parts, n * (part + 1) // parts, 0, rows


@inlined
def part_of(array: Any, part: Any, parts: Any) -> Any:
    """Return a part of an array: a slice of its leading axis."""
    return array[len(array) * part // parts : len(array) * (part + 1) // parts]
