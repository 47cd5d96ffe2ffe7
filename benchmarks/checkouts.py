"""Compare the training step of this checkout with that of another one, such as the commit before a change.

    git worktree add ../earlier COMMIT
    python benchmarks/checkouts.py ../earlier [--model a b c] [--pairs 60] [--json FILE]

Each checkout trains in a separate process. They take steps in turn, and every second pair begins with the other one.
After 50 pairs both processes are started again, because the addresses of a process's memory can change its speed by
one or two percent. The row of a net has the median of the ratios now/earlier of all pairs, with its 95 % confidence
interval (by order statistics, without assumptions on the distribution), and the peak memory of both processes in MB.
A ratio above 1 means that this checkout is slower.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from math import comb
from pathlib import Path
from typing import Any

from blas_kernels import announce

HERE = Path(__file__).resolve().parents[1]
METHODS = {"a": "WC, GC, fully", "b": "WC, GC, BN", "b-cifar": "WC, GC, BN", "c": "WC, GC, fully"}
REST = 0.002  # seconds between steps: threads of the other process may still wait in a busy loop
WARM_UPS = 5
PAIRS = 50  # steps by the same two processes


def as_package(checkout: Path, folder: Path) -> None:
    """Lay out a checkout's folders as the package that a wheel installs."""
    package = folder / "minidl"
    package.mkdir()
    for path in (checkout / "minidl").iterdir():
        (package / path.name).symlink_to(path)
    for name in ("kernels", "models", "data"):
        (package / name).symlink_to(checkout / name)


def serve(name: str) -> None:
    """Do a step for each line that is received, and answer with its milliseconds; "memory" asks for the peak in MB.

    This runs on either checkout, and so it calls only what earlier versions have as well.
    """
    import numpy as np

    from minidl import models
    from minidl.losses import SoftmaxCrossEntropy
    from minidl.optimizers import Adam

    random = np.random.default_rng(0)
    data = random.normal(0, 0.3, (50, 32, 32, 3)).astype(np.float32)
    labels = random.integers(0, 10, 50)
    place: dict[str, Any] = {"place": "optimizer"}
    try:
        net = models.build(name, method=METHODS[name], device="cpu", **place)
    except TypeError:  # an earlier version, with Optimizer.take_over
        net = models.build(name, method=METHODS[name], device="cpu")
    optimizer = Adam(net.parameters, net.kernels, learning_rate=1e-3, weight_decay=5e-5)
    if hasattr(optimizer, "take_over"):
        optimizer.take_over(net.layers)
    loss = SoftmaxCrossEntropy(net.kernels)
    net.train()
    for line in sys.stdin:
        if line.strip() == "memory":
            status = Path("/proc/self/status").read_text()
            print(int(status.split("VmHWM:")[1].split()[0]) / 1024, flush=True)
            continue
        start = time.perf_counter()
        loss(net.forward(data), labels)
        net.backpropagate(loss.error)
        optimizer.step()
        print(1000 * (time.perf_counter() - start), flush=True)


def interval(ratios: list[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the narrowest pair of order statistics that contains the median with at least this confidence."""
    ordered, n = sorted(ratios), len(ratios)
    outside, low = 0.0, 0
    while low < n // 2 and outside + 2 * comb(n, low) / 2**n <= 1 - confidence:
        outside += 2 * comb(n, low) / 2**n
        low += 1
    low = max(low - 1, 0)
    return ordered[low], ordered[n - 1 - low]


def alternate(name: str, earlier: Path, pairs: int) -> tuple[list[float], list[float], dict[str, float]]:
    """Return the milliseconds of a net's steps in two new processes, now and earlier, and their peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[str, subprocess.Popen[str]] = {}
        for side, checkout in (("now", HERE), ("earlier", earlier)):
            package = Path(folder, side)
            package.mkdir()
            as_package(checkout, package)
            sides[side] = subprocess.Popen(
                [sys.executable, __file__, "--serve", name],
                env={**os.environ, "PYTHONPATH": str(package)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

        def ask(side: str, what: str = "step") -> float:
            process = sides[side]
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(what + "\n")
            process.stdin.flush()
            answer = float(process.stdout.readline())
            time.sleep(REST)
            return answer

        times: dict[str, list[float]] = {"now": [], "earlier": []}
        for pair in range(-WARM_UPS, pairs):
            for side in sorted(sides, reverse=pair % 2 == 0):
                taken = ask(side)
                if pair >= 0:
                    times[side].append(taken)
        peaks = {side: ask(side, "memory") for side in sides}
        for process in sides.values():
            process.communicate()
    return times["now"], times["earlier"], peaks


def measure(name: str, earlier: Path, pairs: int) -> dict[str, Any]:
    """Return a net's row."""
    now: list[float] = []
    before: list[float] = []
    while len(now) < pairs:
        one, other, peaks = alternate(name, earlier, min(PAIRS, pairs - len(now)))
        now, before = now + one, before + other
    ratios = [a / b for a, b in zip(now, before, strict=True)]
    low, high = interval(ratios)
    return {
        "model": name,
        "pairs": pairs,
        "now_ms": round(statistics.median(now), 2),
        "earlier_ms": round(statistics.median(before), 2),
        "ratio": round(statistics.median(ratios), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "now_mb": round(peaks["now"]),
        "earlier_mb": round(peaks["earlier"]),
    }


def main() -> None:
    """Run the command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("earlier", nargs="?", type=Path, help="the folder of the other checkout")
    cli.add_argument("--model", nargs="+", default=["a", "b", "c"], choices=METHODS)
    cli.add_argument("--pairs", type=int, default=60, help="of steps (default: 60)")
    cli.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    cli.add_argument("--serve", metavar="MODEL", help=argparse.SUPPRESS)
    options = cli.parse_args()
    if options.serve:
        serve(options.serve)
        return
    if options.earlier is None or not (options.earlier / "minidl").is_dir():
        cli.error("name the folder of another checkout of minidl")
    rows = []
    announce()
    print("net       now, ms  earlier, ms  now/earlier  95 % interval    memory, MB  earlier, MB")
    for name in options.model:
        row = measure(name, options.earlier.resolve(), options.pairs)
        rows.append(row)
        print(
            f"{name:<8}{row['now_ms']:9.2f}{row['earlier_ms']:13.2f}{row['ratio']:13.4f}"
            f"  {row['low']:.4f} … {row['high']:.4f}{row['now_mb']:12}{row['earlier_mb']:13}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
