"""Time what "WC, GC" costs: training steps, and inference of the saved nets, with and without it, in turn in one run.

WC and GC are done at the hook points, each as a separate pass over weights or gradients, or inside the update.

python benchmarks/hooks.py [--model a b c] [--rounds N]
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blas_kernels import announce
from step import CASES, batch, interleaved, ours

from minidl import checkpoint
from minidl.net import Net
from minidl.optimizers import SGD


def inference(net: Net, data: Any) -> Callable[[], Any]:
    """Return a forward pass of a net as it is loaded from its file: without hooks, and with BN folded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, checkpoint.NAME)
        checkpoint.save(path, net, SGD(net.parameters, net.kernels, learning_rate=0.1), epoch=1)
        saved = checkpoint.load(path, "cpu")
    return lambda: saved.forward(data)


def main() -> None:
    """Run the command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--model", nargs="+", default=["a", "b", "c"], choices=list(CASES), help="nets of Figure 1")
    cli.add_argument("--rounds", type=int, default=60, help="steps of each (default: 60)")
    options = cli.parse_args()
    announce()
    print(
        "net       Baseline, ms    WC, GC at the hooks, ms    in the optimizer, ms    inference, ms: Baseline  WC, GC"
    )
    for name in options.model:
        bn = ", BN" if name.startswith(("b", "d")) else ""
        cases = {place: ours(name, "WC, GC" + bn, place) for place in ("hooks", "optimizer")}
        cases["Baseline"] = ours(name, "Baseline" + bn)
        training = interleaved({case: step for case, (step, _, _) in cases.items()}, options.rounds)
        data, _ = batch(CASES[name])
        nets = {case: cases[case][1] for case in ("Baseline", "hooks")}
        resting = interleaved({case: inference(net, data) for case, net in nets.items()}, options.rounds)
        plain = training["Baseline"]
        shares = {
            place: f"{training[place]:.1f} ({training[place] / plain - 1:+.1%})" for place in ("hooks", "optimizer")
        }
        print(
            f"{name:8} {plain:13.1f} {shares['hooks']:>26} {shares['optimizer']:>23} "
            f"{resting['Baseline']:26.1f} {resting['hooks']:7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
