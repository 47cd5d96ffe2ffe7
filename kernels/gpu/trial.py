"""Trial: find the fastest of several ways to compute something, among those with correct results.

The ways are tried as graphs, because a small product takes less time than Python needs to launch it, in a stream of
their own, as a thread's may be one that cannot record. Each must make what another library makes of random numbers, up
to a bound: a run's own numbers may hide what a way does, for they may be zeros, or have a mean that rounding leaves as
it is. On an H200, cuDNN 9.19 had a plan for float32 that rounded its operands as tf32 does and did not say so.
"""

from collections.abc import Callable, Mapping
from functools import cache
from math import prod
from typing import Any

import cupy
import numpy as np

from minidl.kernels.gpu import bias

Array = Any
Way = Callable[[Array], None]  # computes, with that much memory beside its arrays

TIMES = 10  # that each is run in a graph, in a row
LONG = 1 << 30  # multiplications that take longer than a launch by themselves, and are run once
ROUNDS = 3  # of which the fastest counts, after one to warm up
MOST_MEMORY = 1 << 30  # bytes beside its arrays that a way may want, unless all want more
SAMPLE = 1_000_003  # random numbers, of which a longer array has all again


def fastest(ways: Mapping[str, tuple[Way, int]], out: Array, wanted: Array, bound: float, multiplications: int) -> str:
    """Return the name of the fastest way, of those that write what is wanted into ``out``; the first of equals.

    ways: by their names, each with the bytes that it needs; out: float32, or the bits of bfloat16; bound: how far off a
    result may be, in parts of the largest number that is wanted. Raises RuntimeError where none is right, and
    MemoryError where there is no memory for any. The device is waited for when all have run, as it makes others wait
    that have a share of it.
    """
    if not ways:
        raise RuntimeError("none of its plans runs")
    least = min(memory for _, memory in ways.values())
    ways = {name: way for name, way in ways.items() if way[1] <= max(MOST_MEMORY, least)}
    memory = cupy.empty(max(1, *(memory for _, memory in ways.values())), np.uint8)
    times = TIMES if multiplications < LONG else 1
    tried: dict[str, tuple[Any, Array, list[tuple[Any, Any]]]] = {}
    cupy.cuda.get_current_stream().synchronize()  # what is tried runs beside it
    with _stream() as stream:
        for name, (way, _) in ways.items():
            out.fill(np.nan if out.dtype == np.float32 else 0x7FFF)  # what is left unwritten, is not a number
            try:
                way(memory)  # what is loaded at the first time, is not recorded
                graph = _recorded(way, memory, times, stream)
            except Exception as error:  # of the library's own kinds: it does not run after all
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
    """Raise MemoryError where an error says that there is too little memory, which may be for a moment alone."""
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
    """Return a graph of so many runs in a row."""
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
