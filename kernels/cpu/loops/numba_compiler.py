"""Numba's compiler: how it compiles the innermost loops and divides them among cores, and where compiled code is kept.

It is kept beside its source file or, where this folder cannot be written, in the user's cache; where neither can be
written, nothing is kept. What is damaged, or was made of other sources, is compiled anew.
Sums may be taken in any order, so that several elements are added at once; all else is computed as written. A parallel
loop has as many parts as workers (numba_parts.py), the same elements in each part every time, so that sums over parts
are repeatable to the last bit. Its threads are those of OpenMP where the machine has it. They never take the
interpreter's lock, for which Python's own threads wait a tenth of a millisecond each time.

Where several threads of a program compute, their parallel loops run one after the other: each uses all cores, and not
every kind of threads that Numba has can be started twice at a time.
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


def of_sources(folder: Path) -> str:
    """Return a checksum of all files with compiled loops, and with a number in them: each may be a part of any loop."""
    files = sorted([*folder.glob("numba_*.py"), *folder.parent.glob("cook_toom.py")])
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


_sources = of_sources(Path(__file__).parent)


class _Files(IndexDataCacheFile):
    """The files of a function's compiled forms, each with a name of its own.

    Numba counts them: two processes that compile forms for two number types at once would give both the same name.
    """

    def save(self, key: Any, data: Any) -> None:
        """Write a form, and then its name into the index, which another process may write at once and lose it."""
        name = self._data_name(int(sha256(repr(key).encode()).hexdigest()[:12], 16))
        self._save_data(name, data)
        self._save_index(self._load_index() | {key: name})


class _Kept(FunctionCache):
    """The compiled forms of a function that Numba keeps in files, without which all works as well."""

    def __init__(self, function: Callable[..., None]) -> None:
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, locator.get_source_stamp())

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """Return what a compiled form is kept under. Numba itself looks at a function's own file alone."""
        return *super()._index_key(sig, codegen), _sources

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled form for these types, or None where it must be compiled."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # unpickling a damaged file can raise any of them
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled form, where the files can be written."""
        with suppress(OSError):
            super().save_overload(sig, data)


_compile = partial(numba.njit, error_model="numpy", fastmath={"reassoc", "contract"})
inlined = _compile(inline="always")
_in_turn = Lock()


def compiled(function: Any) -> Any:
    """Have a function compiled for other compiled ones: by ``call`` and ``in_parts`` as a part of the caller."""
    return _compile(no_cfunc_wrapper=True, no_cpython_wrapper=True)(function)


def parallel(function: Callable[..., None]) -> Any:
    """Compile a function that works in parts, see ``in_parts``, for Python; keep it where there is a folder for it."""
    loop: Any = _compile(nogil=True, no_cfunc_wrapper=True)(function)
    loop.compile = _without_collecting(loop.compile)
    with suppress(RuntimeError, OSError, ValueError):  # there is no folder for it
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
    """Return the same without the garbage collector, which takes a quarter of the time in which Numba compiles."""

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
    """Let the garbage collector go on, if it waits."""
    global _collector_waits
    if _collector_waits:
        gc.enable()
    _collector_waits = False


def _after_fork() -> None:
    """Make the lock anew: a thread that held it, and may have been compiling, is not in the child of a fork."""
    global _in_turn
    _in_turn = Lock()
    _collect_again()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

# How long a thread of GNU's or LLVM's OpenMP waits in a busy loop before it sleeps: half a millisecond, which is longer
# than most of Python's work between two loops. Longer still, it would be in the way of Python's own threads.
_PATIENCE = {"GOMP_SPINCOUNT": "30000", "KMP_BLOCKTIME": "1"}
_threads = 0  # of Numba's, as many as they are set to


def parts(count: int, minimum: int = 1) -> int:
    """Return how many parts to make of ``count``, none smaller than ``minimum``, and have as many threads ready."""
    ready()
    return len(shares(count, minimum))


def ready() -> None:
    """Have a thread of Numba's ready for each worker."""
    global _threads
    if _threads != workers():
        _threads = workers()
        ours = [key for key in _PATIENCE if key not in os.environ]
        os.environ.update((key, _PATIENCE[key]) for key in ours)
        most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(_threads, most))  # the first time, it starts them
        for key in ours:  # other libraries, which bring an OpenMP of their own, are not to be told
            del os.environ[key]


@compiled
def bounds(n: Any, rows: Any, part: Any, parts: Any) -> Any:
    """Return the first and the last of n matrices that a part has, and their first and last row: some rows of one."""
    if n == 1:
        return 0, 1, rows * part // parts, rows * (part + 1) // parts
    return n * part // parts, n * (part + 1) // parts, 0, rows


@inlined
def part_of(array: Any, part: Any, parts: Any) -> Any:
    """Return what a part has of an array: some of its leading axis."""
    return array[len(array) * part // parts : len(array) * (part + 1) // parts]
