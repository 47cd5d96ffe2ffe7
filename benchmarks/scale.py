"""Measure the cost of the exchange between ranks on this machine, and predict how a step scales on a given network.

    python benchmarks/scale.py --measure [--overlap] [--model a|b|c] [--pairs N]
    python benchmarks/scale.py [--link NAME] [--picture FILE]

Measured, in turns: net (c) with a batch of 50, in one process with two threads and on two ranks with one thread each;
the sum of the gradients alone; and (--overlap) two ranks that begin to sum a layer's gradients while the layers before
it still compute theirs. Predicted: the efficiency of N ranks, T(1)/T(N), for the measured steps of SINGLE.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BESIDE = Path(sys.executable).parent / "mpiexec"
MPIEXEC = str(BESIDE) if BESIDE.exists() else "mpiexec"
RANKS = [1 << power for power in range(1, 11)]
STEPS, WARM_UPS = 16, 4


class Net(NamedTuple):
    """A net: its parameters, and the milliseconds of a step with ``images`` images on one rank (docs/results.md)."""

    parameters: int
    images: int
    milliseconds: float


class Link(NamedTuple):
    """A network between ranks: its latency in seconds, and bytes per second, as specified."""

    latency: float
    bandwidth: float


SINGLE = {
    "(c), two cores": Net(1_341_226, 50, 46),
    "(b), two cores": Net(21_123_594, 50, 228),
    "(d), two cores": Net(40_130_133, 10, 3931),
    "(c), an H100": Net(1_341_226, 50, 0.446),
    "(b), an H100": Net(21_123_594, 50, 2.65),
}
LINKS = {
    "1 Gbit/s Ethernet": Link(50e-6, 0.117e9),
    "10 Gbit/s Ethernet": Link(30e-6, 1.17e9),
    "100 Gbit/s InfiniBand": Link(2e-6, 12e9),
    "400 Gbit/s InfiniBand": Link(2e-6, 48e9),
}


def seconds_of_a_sum(size: float, ranks: int, link: Link) -> float:
    """Return the time of an Allreduce by halving and doubling: 2·log2(N) messages, and 2·(N − 1)/N of the bytes."""
    return 2 * math.log2(ranks) * link.latency + 2 * (ranks - 1) / ranks * size / link.bandwidth


def step_seconds(net: Net, ranks: int, link: Link, images: float) -> float:
    """Return the seconds of a step with ``images`` images on each rank: computing, the gradients, two small sums."""
    small = 2 * seconds_of_a_sum(32, ranks, link) if ranks > 1 else 0
    exchange = seconds_of_a_sum(4 * net.parameters, ranks, link) + small if ranks > 1 else 0
    return net.milliseconds / 1000 * images / net.images + exchange


def efficiency(net: Net, ranks: int, link: Link, images: float | None = None) -> float:
    """Return T(1)/T(N) with ``images`` images on each rank, by default those of the measured step."""
    images = images or net.images
    return step_seconds(net, 1, link, images) / step_seconds(net, ranks, link, images)


def hiding_batch(net: Net, ranks: int, link: Link, share: float = 0.9) -> int:
    """Return the images on each rank from which on computing has at least this share of the time."""
    exchange = step_seconds(net, ranks, link, 0)
    return math.ceil(share / (1 - share) * exchange / (net.milliseconds / 1000 / net.images))


def table(link: Link) -> Iterator[str]:
    """Yield the lines of a table of efficiencies."""
    shown = [2, 8, 64, 1024]
    yield f"| net and step | bytes a step | {' | '.join(f'{n:,} ranks' for n in shown)} | batch for 90 % at 64 |"
    yield f"| --- | ---: |{' ---: |' * (len(shown) + 1)}"
    for name, net in SINGLE.items():
        values = " | ".join(f"{efficiency(net, n, link):.0%}" for n in shown)
        yield f"| {name} | {4 * net.parameters / 1e6:.1f} MB | {values} | {hiding_batch(net, 64, link):,} |"


def draw(path: Path) -> None:
    """Draw the efficiency of each net by the number of ranks, a panel for each link."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(LINKS), figsize=(13, 3.6), sharey=True, layout="constrained")
    for axis, (title, link) in zip(axes, LINKS.items(), strict=True):
        for name, net in SINGLE.items():
            axis.plot(RANKS, [100 * efficiency(net, n, link) for n in RANKS], marker=".", label=name)
        axis.set(title=title, xlabel="ranks", xscale="log", ylim=(0, 103))
        axis.set_xticks(RANKS[::3], [f"{n:,}" for n in RANKS[::3]])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("efficiency, %")
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


# -- measurements on this machine -------------------------------------------------------------------------------------


def child(model: str, overlap: bool) -> dict[str, Any] | None:
    """Return the milliseconds of steps on this rank, and of the sum of the gradients alone; None on other ranks."""
    from minidl.experiment.cli.command import Command
    from minidl.experiment.ranks.job import job

    with job(Command("scale.py", "scale.py")) as (ranks, _):
        ranks.settle(None)
        import numpy as np

        from minidl import models
        from minidl.data.batches import Batches
        from minidl.data.dataset import Dataset
        from minidl.exchange import Exchange
        from minidl.experiment.trainer import Trainer
        from minidl.optimizers import Adam

        random = np.random.default_rng(0)
        images = random.integers(0, 256, (500, 32, 32, 3), np.uint8)
        data = Dataset("noise", images, random.integers(0, 10, 500), tuple("abcdefghij"))
        net = models.build(model, method=models.best_method(model), device="cpu", place="optimizer")
        exchange = Exchange(net, ranks) if ranks.size > 1 else None
        batches = Batches(data, 50, net.kernels, net.dtype, ranks.share)
        trainer = Trainer(net, Adam(net.parameters, net.kernels, 1e-3), batches, batches, 100, 0, ranks=ranks)
        if exchange and overlap:
            begin_early(net, exchange, ranks)
        steps: list[float] = []
        epoch = 0
        while len(steps) < WARM_UPS + STEPS:
            epoch += 1
            for size in trainer.begin(epoch):
                started = time.perf_counter()
                trainer.next_step(size)
                ranks.most(0)  # as in a run, which exchanges interrupts here
                steps.append(1000 * (time.perf_counter() - started))
        sums = []
        for _ in range(STEPS if exchange else 0):
            ranks.most(0)
            started = time.perf_counter()
            ranks.sum(exchange.flat)  # type: ignore[union-attr]
            sums.append(1000 * (time.perf_counter() - started))
        found = {"step": statistics.median(steps[WARM_UPS:]), "sum": statistics.median(sums) if sums else 0.0}
        return None if ranks.rank else found


def begin_early(net: Any, exchange: Any, ranks: Any) -> None:
    """Sum each layer's gradients as soon as they are computed, while the layers before it compute theirs."""
    requests: list[Any] = []
    for layer in net.layers:
        if layer.parameters():
            compute = layer.comp_grads

            def comp_grads(error: Any, layer: Any = layer, compute: Any = compute) -> None:
                compute(error)
                for p in layer.parameters():
                    requests.append(ranks.world.Iallreduce(ranks.mpi.IN_PLACE, p.grads))

            layer.comp_grads = comp_grads

    def finish() -> None:
        ranks.mpi.Request.Waitall(requests)
        requests.clear()

    net.exchange = finish


def measure(model: str, pairs: int, overlap: bool) -> None:
    """Measure all cases in turns, and print medians."""
    itself = [sys.executable, __file__, "--model", model, "--child"]
    ways = {
        "1 process, 2 threads": itself,
        "2 ranks, 1 thread each": [MPIEXEC, "-n", "2", *itself],
    }
    if overlap:
        ways["2 ranks, overlapped"] = [MPIEXEC, "-n", "2", *itself, "--overlap"]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(pairs):
        for name, command in ways.items():
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{name}: {found[name][-1]}", file=sys.stderr, flush=True)
    first = [values["step"] for values in found["1 process, 2 threads"]]
    for name, values in found.items():
        steps, sums = [value["step"] for value in values], [value["sum"] for value in values]
        ratios = [step / one for step, one in zip(steps, first, strict=True)]
        shares = [100 * value["sum"] / value["step"] for value in values]
        print(
            f"net ({model}), {name}, {pairs} times: step {spread(steps, 1)} ms, {spread(ratios, 2)} times the first; "
            f"the sum alone {spread(sums, 1)} ms, {spread(shares, 1)} % of a step"
        )


def spread(values: list[float], digits: int) -> str:
    """Return the median of some figures, and their range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} … {max(values):.{digits}f})"


def main() -> None:
    """Read the command line and do what it asks for."""
    cli = argparse.ArgumentParser(description="What the exchange between ranks costs, measured here and predicted.")
    cli.add_argument("--measure", action="store_true", help="measure on this machine, which must be quiet")
    cli.add_argument("--model", default="c", choices=("a", "b", "c"), help="which net is measured (default: c)")
    cli.add_argument("--pairs", type=int, default=5, metavar="N", help="times that each way is measured (default: 5)")
    cli.add_argument("--link", default="10 Gbit/s Ethernet", choices=LINKS, help="of the table that is printed")
    cli.add_argument("--picture", type=Path, metavar="FILE", help="draw the efficiencies on all links")
    cli.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    cli.add_argument("--overlap", action="store_true", help="measure also what begins with its sums early")
    options = cli.parse_args()
    if options.child:
        if found := child(options.model, options.overlap):
            print(json.dumps(found))
    elif options.measure:
        measure(options.model, options.pairs, options.overlap)
    else:
        print("\n".join(table(LINKS[options.link])))
        if options.picture:
            draw(options.picture)


if __name__ == "__main__":
    main()
