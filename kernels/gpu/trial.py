"""Trial: find the fastest of several ways to compute something, among those with correct results.

The ways are timed as CUDA graphs, because Python takes longer to launch a small product than the GPU to compute it.
They run in a separate stream, because the thread's current stream may be one that cannot record.

A way is correct if its result for random numbers differs from that of another library by at most a given bound. The
numbers of a run are not used, because they may hide an error: they may be zeros, or numbers that rounding does not
change. On an H200, cuDNN 9.19 had a plan for float32 that rounded its operands to tf32 and did not say so.
"""

from collections.abc import Callable, Mapping
from functools import cache
from math import prod
from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu import bias

Array = Any
Way = Callable[[Array], None]  # computes; its argument is a workspace

TIMES = 10  # runs of a way in its graph, one after another
LONG = 1 << 30  # multiplications; with as many, a single run takes longer than a launch, and is enough
ROUNDS = 3  # launches of each graph, of which the fastest counts, after one to warm up
MOST_MEMORY = 1 << 30  # bytes of workspace that a way may need, unless all need more
SAMPLE = 1_000_003  # random numbers; a longer array repeats them


def fastest(ways: Mapping[str, tuple[Way, int]], out: Array, wanted: Array, bound: float, multiplications: int) -> str:
    """Return the name of the fastest way among those that write ``wanted`` into ``out``; of equals, the first.

    ways: by their names, each with the bytes of workspace that it needs; out: float32, or the bits of bfloat16; bound:
    the largest error that is allowed, relative to the largest number of ``wanted``. Raises RuntimeError if no way is
    correct, and MemoryError if there is too little memory. The host waits for the device only before the trial
    and after all ways have run, because each wait takes long if other processes use the device as well.
    """
    if not ways:
        raise RuntimeError("none of its plans runs")
    least = min(memory for _, memory in ways.values())
    ways = {name: way for name, way in ways.items() if way[1] <= max(MOST_MEMORY, least)}
    memory = cupy.empty(max(1, *(memory for _, memory in ways.values())), np.uint8)
    times = TIMES if multiplications < LONG else 1
    tried: dict[str, tuple[Any, Array, list[tuple[Any, Any]]]] = {}
    cupy.cuda.get_current_stream().synchronize()  # otherwise its kernels would run at the same time as the trial
    with _stream() as stream:
        for name, (way, _) in ways.items():
            out.fill(np.nan if out.dtype == np.float32 else 0x7FFF)  # nan: an element that is not written is an error
            try:
                way(memory)  # the first run loads code, which cannot be recorded
                graph = _recorded(way, memory, times, stream)
            except Exception as error:  # of types that the library defines: this way does not run
                check_memory(error)
            else:
                tried[name] = graph, abs(_wide(out) - wanted).max(), []
        for graph, _, marks in tried.values() if len(tried) > 1 else ():
            graph.launch()
            for _ in range(ROUNDS):
                start, stop = cupy.cuda.Event(), cupy.cuda.Event()
                start.record()
                graph.launch()
                stop.record()
                marks.append((start, stop))
        stream.synchronize()
    if not tried:
        raise RuntimeError("none of its plans runs")
    largest = float(abs(wanted).max()) or 1.0
    off = {name: float(error) / largest for name, (_, error, _) in tried.items()}
    right = [name for name, error in off.items() if error <= bound]
    if not right:
        raise RuntimeError(f"none of its plans is right: {', '.join(f'{error:.0e}' for error in off.values())} off")
    elapsed = cupy.cuda.get_elapsed_time
    return min(right, key=lambda name: min((elapsed(*pair) for pair in tried[name][2]), default=0))


def check_memory(error: Exception) -> None:
    """Raise MemoryError if an error says that there is too little memory, which may only be so at this moment."""
    if isinstance(error, MemoryError) or "ALLOC_FAILED" in str(error):
        raise MemoryError(f"there is too little memory: {error}") from error


def random(shape: tuple[int, ...], seed: int) -> Array:
    """Return an array of normal random numbers, the same for the same shape and seed."""
    sample, size = _sample(seed), prod(shape)
    return cupy.tile(sample, -(-size // len(sample)))[:size].reshape(shape)


@cache
def _sample(seed: int) -> Array:
    return cupy.asarray(np.random.default_rng(seed).standard_normal(SAMPLE, np.float32))


def _wide(out: Array) -> Array:
    if out.dtype == np.float32:
        return out
    wide = cupy.empty(out.shape, np.float32)
    bias.widen(out, None, wide)
    return wide


def _recorded(way: Way, memory: Array, times: int, stream: Any) -> Any:
    """Return a CUDA graph of ``times`` runs, one after another."""
    stream.begin_capture()
    try:
        for _ in range(times):
            way(memory)
    finally:
        graph = stream.end_capture()
    return graph


@cache
def _stream() -> Any:
    """Return the stream in which ways are tried."""
    return cupy.cuda.Stream(non_blocking=True)
