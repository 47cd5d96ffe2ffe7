"""Compare the time of a training step with the weights and moments of a trained net with that of new ones.

    python benchmarks/aged.py runs/NAME --data-root DIR

Weight decay drives the weights of units that are never active towards zero. When they become subnormal numbers, many
processors slow down from epoch to epoch; the bounds in kernels/subnormal.py prevent this. Both steps train on the run's
own images, in turn.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from step import interleaved

from minidl import checkpoint, data, models
from minidl.data.batches import Batches
from minidl.experiment.saving import records
from minidl.experiment.trainer import Trainer
from minidl.optimizers import OPTIMIZERS


def subnormals(arrays: list[np.ndarray]) -> int:
    """Return how many numbers are subnormal."""
    return sum(int(np.count_nonzero((a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny))) for a in arrays)


def main() -> None:
    """Run the command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("run", type=Path, help="the folder of a run")
    cli.add_argument("--data-root", help="where data sets lie")
    cli.add_argument("--rounds", type=int, default=100, help="steps of each (default: 100)")
    options = cli.parse_args()
    settings = records.read_settings(options.run)
    images, _ = data.load(settings["data"], options.data_root)
    steps: dict[str, Callable[[], Any]] = {}
    for name in ("fresh", "aged"):
        net = models.build(settings["model"], method=settings["method"], classes=len(images.classes), device="cpu")
        optimizer = OPTIMIZERS[settings["optimizer"]](
            net.parameters,
            net.kernels,
            learning_rate=settings["learning_rate"],
            weight_decay=settings["weight_decay"],
        )
        if name == "aged":
            epochs = checkpoint.resume(options.run / checkpoint.NAME, net, optimizer)
            arrays = [p.value for p in net.parameters] + list(optimizer.moments().values())
            print(f"after {epochs} epochs {subnormals(arrays)} of the weights and moments are subnormal")
        batches = Batches(images, settings["batch_size"], net.kernels, net.dtype)
        trainer = Trainer(net, optimizer, batches, batches, settings["drop_every"], seed=0)
        batches.shuffle(np.random.default_rng(1))
        steps[name] = partial(trainer.next_step, settings["batch_size"])
    medians = interleaved(steps, options.rounds)
    fresh, aged = medians["fresh"], medians["aged"]
    print(f"fresh {fresh:.1f} ms, aged {aged:.1f} ms, ratio {aged / fresh:.3f}")


if __name__ == "__main__":
    main()
