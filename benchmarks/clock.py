"""Timers of work on a device, by CUDA events on a GPU, otherwise by the clock, and the file of the results."""

import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from minidl.kernels import Kernels

Work = Callable[[], Any]
Timer = Callable[[Work], float]  # returns milliseconds


def timer(kernels: Kernels) -> Timer:
    """Return a timer for our work on a device."""
    if kernels.device != "gpu":
        return by_clock
    cuda = kernels.xp.cuda

    def by_events(work: Work) -> float:
        start, stop = cuda.Event(), cuda.Event()
        start.record()
        work()
        stop.record()
        stop.synchronize()
        return float(cuda.get_elapsed_time(start, stop))

    return by_events


def torch_timer() -> Timer:
    """Return a timer for PyTorch's work on a GPU."""
    import torch

    def by_events(work: Work) -> float:
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        stop.record()
        stop.synchronize()
        return float(start.elapsed_time(stop))

    return by_events


def by_clock(work: Work) -> float:
    """Measure work that is finished when the call returns."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def in_a_row(work: Work, times: int) -> None:
    """Do some work several times."""
    for _ in range(times):
        work()


def interleaved(
    works: dict[str, tuple[Work, Timer]], rounds: int, times: int = 1, warm_ups: int = 2
) -> dict[str, float]:
    """Return the median milliseconds of each work; in each round, each is done ``times`` times in a row."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(warm_ups + rounds):
        for name, (work, measure) in works.items():
            found[name].append(measure(partial(in_a_row, work, times)) / times)
    return {name: statistics.median(values[warm_ups:]) for name, values in found.items()}


def write(rows: list[dict[str, Any]], path: Path | None) -> None:
    """Write the rows so far, if there is a file for them; in one go, as a process that takes too long is killed."""
    if path:
        part = path.with_suffix(".part")
        part.write_text(json.dumps(rows, indent=2) + "\n")
        os.replace(part, path)
