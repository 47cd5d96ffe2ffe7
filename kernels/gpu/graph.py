"""CUDA graphs: a function's kernels are recorded once, then launched by a single call without Python in between."""

import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import cupy

from minidl.kernels.gpu import products
from minidl.kernels.gpu.turn import turn

WARM_UPS = 2  # calls before the recording: plans are made, kernels compiled and buffers grown in them

_log = logging.getLogger(__name__)


class Recorded:
    """A function that is recorded, to be called again and again on the same arrays.

    version: of those arrays, a number that grows; where it does, what was recorded before is forgotten. total: the sum
    of a number over the ranks that have a share of the function. They record it together, or none does: NCCL wants a
    sum over ranks to be recorded by all of them, or by none (its guide, "Using NCCL with CUDA Graphs").
    """

    def __init__(
        self, function: Callable[[], None], version: Callable[[], int], total: Callable[[int], int] = int
    ) -> None:
        self.function, self.version, self.total = function, version, total
        self.graph: Any = None
        # A pool that is dropped gives no memory back to the card: one serves all recordings, and is emptied at the end.
        self.pool = cupy.cuda.MemoryPool()
        weakref.finalize(self, self.pool.free_all_blocks)
        self.known = -1
        self.calls, self.refused = 0, False

    def __call__(self) -> None:
        """Do what the function does: by itself at first, then by launching its graph."""
        with turn:  # or what another thread asks for would be recorded, too
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
        """Record the function's kernels, which are not run, and remember where this is refused.

        What the function allocates meanwhile comes from a pool of memory that nobody else gets any of, for as long as
        the graph lives: each launch works in the same places again.
        """
        collects = gc.isenabled()
        gc.collect()  # now, as what it would free later may ask for what a stream that records cannot do
        gc.disable()
        cupy.get_default_memory_pool().free_all_blocks()  # what the warm-ups had for a while, the graph needs again
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
        self.pool.free_all_blocks()  # which the steps need, now that they run by themselves

    def _recorded(self, stream: Any) -> tuple[Any, str | None]:
        """Return the graph of the function's kernels, or why there is none."""
        graph, refusal = None, None
        try:
            stream.begin_capture()
        except RuntimeError as error:  # the default stream cannot
            return graph, products.reason(error)
        try:
            with cupy.cuda.using_allocator(self.pool.malloc):
                self.function()
        except (RuntimeError, MemoryError) as error:  # what a stream that records cannot do, or no memory for both
            refusal = products.reason(error)
        finally:
            try:
                graph = stream.end_capture()
            except RuntimeError as error:  # the recording was broken by what it refused
                refusal = refusal or products.reason(error)
        return graph, refusal


record = Recorded
