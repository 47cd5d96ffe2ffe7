"""Arrays of the emulated device."""

import ctypes
import math
import mmap
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from cupy import capture

ALIGNMENT = 16  # bytes that a thread reads at once, at most
PAGE = mmap.PAGESIZE
POISON = 0xFF  # in every byte: NaN, −1 or 255
LENGTH = 8  # bytes at the beginning of the memory of an array, which hold the array's size
# The names of NumPy that the real CuPy has as well, written by ../../conformance/names.py.
NAMES = frozenset(Path(__file__).with_name("names.txt").read_text().split())
_libc = ctypes.CDLL(None)
memories: WeakValueDictionary[int, np.ndarray] = WeakValueDictionary()  # all memory of the device, by address


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that only the device may touch; ``host`` is the NumPy array behind it."""

    def __init__(self, host: np.ndarray) -> None:
        self.host = host

    @cached_property
    def data(self) -> SimpleNamespace:
        """Where the array begins, as CuPy's MemoryPointer has it."""
        return SimpleNamespace(ptr=self.host.ctypes.data)

    @property
    def flags(self) -> Any:
        """NumPy's flags."""
        return self.host.flags

    def get(self, stream: Any = None, out: Any = None, blocking: bool = True) -> np.ndarray:
        """Return a copy on the host; if not blocking, it is valid as soon as a later event has been reached."""
        capture.forbid("a copy from the device to the host")
        copy = self.host.copy()
        if out is None:
            return copy
        if (out.shape, out.dtype) != (self.shape, self.dtype) or not out.flags.c_contiguous:
            raise ValueError(f"{self.shape} {self.dtype} cannot be copied to {out.shape} {out.dtype}")
        out.view(np.uint8)[...] = POISON
        capture.later.append(lambda: np.copyto(out, copy))
        if blocking:
            capture.arrive()
        return out

    def set(self, array: np.ndarray) -> None:
        """Copy from the host."""
        capture.forbid("a copy from the host to the device")
        if array.shape != self.shape or array.dtype != self.dtype:
            raise ValueError(f"{array.shape} {array.dtype} cannot be copied to {self.shape} {self.dtype}")
        self.host[...] = array

    def item(self, *index: int) -> Any:
        """Return an element as a Python number."""
        return self.get().item(*index)

    def tolist(self) -> Any:
        """Return the elements as Python numbers."""
        return self.get().tolist()

    def fill(self, value: Any) -> None:
        """Set every element."""
        self[...] = value

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def __getitem__(self, key: Any) -> Any:
        return call(np.ndarray.__getitem__, self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        value, key = _unwrap(value), _unwrap(key, indices=True)
        target, value = capture.borrowed(self.host), capture.borrowed(value)
        capture.run(lambda: target.__setitem__(key, value))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc.__name__ not in NAMES:
            raise TypeError(f"CuPy has no np.{ufunc.__name__}")
        if ufunc is np.matmul:
            capture.forbid("a call of cuBLAS")
        if options.get("out"):
            (options["out"],) = options["out"]
        return call(getattr(ufunc, method), *inputs, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        makers = {np.asarray: asarray, np.array: array}  # called with ``like``; they accept host arrays, too
        inner = function.__module__.removeprefix("numpy").lstrip(".")
        if f"{inner}.{function.__name__}".lstrip(".") not in NAMES:
            raise TypeError(f"CuPy has no np.{function.__name__}")
        return makers[function](*args, **options) if function in makers else call(function, *args, **options)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array is not allowed; use .get()")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # otherwise NumPy would read the array by __array_interface__
        if f"ndarray.{name}" not in NAMES:
            raise AttributeError(f"CuPy's arrays have no {name}")
        value = getattr(self.host, name)
        if not callable(value):
            return ndarray(value) if isinstance(value, np.ndarray) else value
        return lambda *args, **options: call(getattr(np.ndarray, name), self, *args, **options)

    def __len__(self) -> int:
        return len(self.host)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __index__(self) -> int:
        return self.get().__index__()

    def __format__(self, how: str) -> str:
        return format(self.get().item() if self.ndim == 0 else self.get(), how)

    def __repr__(self) -> str:
        return repr(self.host)


def empty(shape: Any, dtype: Any = float) -> ndarray:
    """Return an array of poison, between at least a page of poison and a page that nothing may read.

    The latter begins less than ALIGNMENT bytes after the end of the array.
    """
    dtype = np.dtype(dtype)
    size = (shape if isinstance(shape, int) else math.prod(shape)) * dtype.itemsize
    pages = 1 + -(-size // PAGE)
    mapped = mmap.mmap(-1, (pages + 1) * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory = np.frombuffer(mapped, np.uint8, pages * PAGE)
    if _libc.mprotect(ctypes.c_void_p(memory.ctypes.data + memory.size), PAGE, 0):
        raise OSError("the page after an array cannot be protected")
    memory.fill(POISON)
    capture.keep(memory)
    memories[memory.ctypes.data] = memory
    start = (memory.size - size) // ALIGNMENT * ALIGNMENT
    memory[:LENGTH].view(np.int64)[0] = size
    return ndarray(memory[start : start + size].view(dtype).reshape(shape))


def memory_of(pointer: int) -> np.ndarray:
    """Return the memory that an array's pointer points to."""
    for start, memory in list(memories.items()):
        if start <= pointer < start + memory.size:
            return memory
    raise RuntimeError(f"no array is at {pointer}")


def check_guards(memory: np.ndarray) -> None:
    """Raise an exception if something was written outside of the array that the memory was allocated for."""
    size = int(memory[:LENGTH].view(np.int64)[0])
    start = (memory.size - size) // ALIGNMENT * ALIGNMENT
    if (memory[max(LENGTH, start - PAGE) : start] != POISON).any() or (memory[start + size :] != POISON).any():
        raise RuntimeError(f"a kernel wrote outside of an array of {size} bytes")


def asarray(source: Any, dtype: Any = None) -> ndarray:
    """Return the array, or a copy of a host array on the device."""
    if isinstance(source, ndarray):
        return source if dtype is None or source.dtype == dtype else source.astype(dtype)
    capture.forbid("a copy from the host to the device")
    return _place(np.asarray(source, dtype))


def array(source: Any, dtype: Any = None) -> ndarray:
    """Return a copy on the device."""
    return source.astype(dtype or source.dtype) if isinstance(source, ndarray) else asarray(source, dtype)


def asnumpy(source: Any) -> np.ndarray:
    """Return a copy on the host."""
    return source.get() if isinstance(source, ndarray) else np.asarray(source)


def call(function: Any, *args: Any, **options: Any) -> Any:
    """Apply NumPy's function to device arrays; the result is on the device, too."""
    out = options.get("out")
    indices = function is np.ndarray.__getitem__
    hosts = [_unwrap(arg, indices) for arg in args]
    options = {name: _unwrap(value) for name, value in options.items()} if options else options
    if out is not None:
        hosts = [capture.borrowed(host) for host in hosts]
        options = {name: capture.borrowed(value) for name, value in options.items()}
        capture.run(lambda: function(*hosts, **options))
        return out
    result = function(*hosts, **options)
    if isinstance(result, tuple):
        return tuple(_place(part) for part in result)
    if not isinstance(result, np.ndarray | np.generic):
        return result
    if isinstance(result, np.ndarray) and any(
        isinstance(host, np.ndarray) and np.may_share_memory(result, host) for host in hosts
    ):
        return ndarray(result)  # a view
    placed = _place(result)
    if capture.recording():
        hosts = [capture.borrowed(host) for host in hosts]
        capture.run(lambda: np.copyto(placed.host, function(*hosts, **options)))
    return placed


def _place(host: Any) -> ndarray:
    placed = empty(np.shape(host), host.dtype)
    placed.host[...] = host
    return placed


def _unwrap(value: Any, indices: bool = False) -> Any:
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, list | tuple):
        return type(value)(_unwrap(part, indices) for part in value)
    if isinstance(value, np.ndarray) and not indices:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: a host array does not mix with device arrays")
    return value
