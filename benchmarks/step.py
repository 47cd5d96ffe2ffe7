"""Time a whole training step beside PyTorch's, in turn in one run, with equal threads.

    python benchmarks/step.py --model c [--json FILE]

A step is forward, loss, backward, comp_grads and the optimizer's update, on a batch that is already made. PyTorch runs
in both memory layouts, with its fused optimizer and with subnormal numbers flushed to zero; ``torch_ms`` is the faster
layout. ``ratio`` is torch_ms/ours_ms: above 1 is faster than PyTorch. All times are medians.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_nets

from minidl import models
from minidl.kernels import threads
from minidl.optimizers import OPTIMIZERS
from minidl.recipes import recipe
from minidl.trainer import Trainer

DATA = {"c": ("cifar10", (32, 32, 3), 10)}  # recipe, shape of an image, classes
LAYOUTS = ("contiguous", "channels_last")


def ours(name: str, method: str, data: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    """Return our training step."""
    source, shape, classes = DATA[name]
    settings = recipe(source)
    net = models.build(name, method=method, classes=classes, shape=shape, device="cpu")
    optimizer = OPTIMIZERS[settings.optimizer](
        net.parameters, net.kernels, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
    )
    trainer = Trainer(net, optimizer, None, None, settings.drop_every, seed=0)  # type: ignore[arg-type]
    return lambda: trainer.step(data, labels)


def theirs(name: str, layout: str, data: np.ndarray, labels: np.ndarray) -> Callable[[], Any]:
    """Return PyTorch's training step in a memory layout."""
    source, _, classes = DATA[name]
    settings = recipe(source)
    net = torch_nets.build(name, classes, layout)
    optimizer = torch_nets.optimizer(settings.optimizer, net, settings.learning_rate, settings.weight_decay)
    images = torch.tensor(data).permute(0, 3, 1, 2)
    images = images if layout == "channels_last" else images.contiguous()
    targets = torch.tensor(labels)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(images), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def interleaved(steps: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each step, after two rounds to warm up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def measure(name: str, method: str, rounds: int) -> dict[str, Any]:
    """Return the row of a net."""
    source, shape, classes = DATA[name]
    batch = recipe(source).batch_size
    random = np.random.default_rng(0)
    data = random.normal(0, 0.3, (batch, *shape)).astype(np.float32)
    labels = random.integers(0, classes, batch)
    steps = {"ours": ours(name, method, data, labels)}
    steps |= {layout: theirs(name, layout, data, labels) for layout in LAYOUTS}
    medians = interleaved(steps, rounds)
    fastest = min(medians[layout] for layout in LAYOUTS)
    return {
        "model": name,
        "method": method,
        "batch": batch,
        "threads": threads.workers(),
        "ours_ms": round(medians["ours"], 2),
        "torch_ms": round(fastest, 2),
        "torch_contiguous_ms": round(medians["contiguous"], 2),
        "torch_channels_last_ms": round(medians["channels_last"], 2),
        "ratio": round(fastest / medians["ours"], 3),
    }


def main() -> None:
    """Run the command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--model", nargs="+", default=sorted(DATA), choices=sorted(DATA), help="nets of Figure 1")
    cli.add_argument("--method", default="WC, GC, fully", help="ours; PyTorch's step has no normalization")
    cli.add_argument("--rounds", type=int, default=30, help="steps of each (default: 30)")
    cli.add_argument("--threads", type=int, help="of both (default: one for each core)")
    cli.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    options = cli.parse_args()
    if options.threads:
        threads.set_workers(options.threads)
    torch.set_num_threads(threads.workers())
    torch.set_flush_denormal(True)
    rows = []
    print(f"{'net':4} {'ours, ms':>9} {'PyTorch, ms':>12} {'channels first':>15} {'channels last':>14} {'ratio':>6}")
    for name in options.model:
        row = measure(name, options.method, options.rounds)
        rows.append(row)
        print(
            f"({name})  {row['ours_ms']:9.1f} {row['torch_ms']:12.1f} {row['torch_contiguous_ms']:15.1f} "
            f"{row['torch_channels_last_ms']:14.1f} {row['ratio']:6.2f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
