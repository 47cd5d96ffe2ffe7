"""CUDA graphs: the kernels of a function are recorded once, and then launched by a single call."""

import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import cupy

from minidl.kernels.checked import without_reading
from minidl.kernels.gpu import products
from minidl.kernels.gpu.turn import turn

WARM_UPS = 2  # calls before the recording, which plan products, compile kernels and allocate buffers

_log = logging.getLogger(__name__)


class Recorded:
    """A function that is called many times on the same arrays, and is recorded after the first calls.

    version: returns a number that grows when the arrays change; then the recording is dropped. total: the sum of a
    number over the ranks that share the function. Either all ranks record it or none does, as NCCL requires of a sum
    over ranks (see its guide, "Using NCCL with CUDA Graphs").
    """

    def __init__(
        self, function: Callable[[], None], version: Callable[[], int], total: Callable[[int], int] = int
    ) -> None:
        self.function, self.version, self.total = function, version, total
        self.graph: Any = None
        # A deleted pool does not return its memory to the GPU. So one pool serves all recordings, and is emptied when
        # this object is deleted.
        self.pool = cupy.cuda.MemoryPool()
        weakref.finalize(self, self.pool.free_all_blocks)
        self.known = -1
        self.calls, self.refused = 0, False

    def __call__(self) -> None:
        """Run the function, at first directly, then by launching its graph."""
        with turn:  # otherwise the calls of another thread would be recorded, too
            if self.total(self.version()) != self.known:
                self.graph, self.calls = None, 0
            if self.graph is None and not self.refused and self.calls >= WARM_UPS:
                self._capture()
            if self.graph is None:
                self.function()
                self.calls += 1
                self.known = self.total(self.version())
            else:
                self.graph.launch()

    def _capture(self) -> None:
        """Record the function's kernels without running them, and remember if this is not possible.

        During the recording, the function allocates from a separate memory pool. Nothing else uses this pool as long as
        the graph exists, because each launch uses the same addresses again.
        """
        collects = gc.isenabled()
        gc.collect()  # now, because a collection during the recording might make calls that a recording forbids
        gc.disable()
        cupy.get_default_memory_pool().free_all_blocks()  # the graph needs the temporary memory of the warm-ups again
        try:
            graph, refusal = self._recorded(cupy.cuda.get_current_stream())
        finally:
            if collects:
                gc.enable()
        self.refused = bool(self.total(refusal is not None))
        if not self.refused:
            self.graph = graph
            return
        refusal = refusal or "another rank cannot record them"
        _log.warning(f"steps cannot be recorded as a CUDA graph and run one kernel at a time: {refusal}")
        self.pool.free_all_blocks()  # the steps need this memory, because they now run directly

    def _recorded(self, stream: Any) -> tuple[Any, str | None]:
        """Return the graph of the function's kernels, or why there is none."""
        graph, refusal = None, None
        try:
            stream.begin_capture()
        except RuntimeError as error:  # the default stream cannot record
            return graph, products.reason(error)
        try:
            with cupy.cuda.using_allocator(self.pool.malloc), without_reading():
                self.function()
        except (RuntimeError, MemoryError) as error:  # a call that a recording forbids, or too little memory for both
            refusal = products.reason(error)
        finally:
            try:
                graph = stream.end_capture()
            except RuntimeError as error:  # a refused call has broken the recording
                refusal = refusal or products.reason(error)
        return graph, refusal


record = Recorded
