"""Context: what all layers of a net share."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from threading import local
from typing import Any
from weakref import WeakSet

import numpy as np

from minidl.functions import is_built_in
from minidl.kernels import Kernels
from minidl.kernels.errors import MinidlError

Array = Any  # numpy.ndarray or cupy.ndarray
Shape = tuple[int, ...]


class Buffers(local):
    """The arrays that the layers of a net have for the running thread, by layer and name.

    Each thread has its own arrays, so an output stays valid until the same thread's next forward. replays: recorded
    forward passes of a frozen net by the shape of their data, see replay.py; output: the result of the thread's last
    forward.
    """

    def __init__(self) -> None:
        self.of: defaultdict[Any, dict[str, Array]] = defaultdict(dict)
        self.replays: dict[Shape, Any] = {}
        self.output: Array = None


@dataclass(eq=False)
class Context:
    """What all layers of a net share: the device's kernels, the number type, and the source of random weights.

    lock: held by the thread that runs the net. error_memory: the pool that the errors of all layers come from. saved:
    the shapes of the parameters that will be loaded, by name, or None if they are not known.
    """

    kernels: Kernels
    dtype: Any
    random: np.random.Generator
    names: Counter[str] = field(default_factory=Counter)
    allocations: int = 0
    saved: Mapping[str, Shape] | None = None
    error_memory: Any = field(init=False)
    buffers: Buffers = field(default_factory=Buffers, init=False)
    lock: Any = field(init=False)

    def __post_init__(self) -> None:
        self.error_memory = self.kernels.memory_pool.MemoryPool()
        self.lock = self.kernels.lock()
        _contexts.add(self)

    def kernels_of(self, layer: Any) -> Kernels:
        """Return the operations for a layer: they check the arrays that a user-defined one gives them."""
        return self.kernels.unchecked if is_built_in(layer) else self.kernels

    def __deepcopy__(self, memo: Any) -> "Context":
        """Return a context for the copies of the layers, with the same names and its own memory."""
        return Context(self.kernels, self.dtype, deepcopy(self.random, memo), self.names.copy())

    def name(self, kind: str) -> str:
        """Return the next free name of a kind: conv1, conv2, …"""
        self.names[kind] += 1
        return f"{kind}{self.names[kind]}"

    def expect(self, name: str, shape: Shape) -> None:
        """Raise NotSaved, before memory is allocated, for a parameter whose shape is not the saved one."""
        if self.saved is not None:
            check_saved(self.saved, name, shape)


class NotSaved(MinidlError):
    """A net does not have the parameters that were saved."""


def check_saved(saved: Mapping[str, Shape], name: str, shape: Shape) -> None:
    """Raise NotSaved unless the saved shapes, by name, have a parameter of this name and shape."""
    if name not in saved:
        raise NotSaved(f"the saved net has no {name}; it belongs to another model or method")
    if saved[name] != shape:
        raise NotSaved(
            f"the saved {name} has shape {saved[name]} where this net expects {shape}; it belongs to another model"
        )


_contexts: WeakSet[Context] = WeakSet()


def _after_fork() -> None:
    """Unlock all nets in the child of a fork, where the thread that ran a net does not exist."""
    for context in _contexts:
        context.lock = context.kernels.lock()


os.register_at_fork(after_in_child=_after_fork)
