"""Time what the hooks cost: training steps and inference with and without "WC, GC", in turn in one run.

python benchmarks/hooks.py [--model a b c] [--rounds N]
"""

import argparse
from collections.abc import Callable
from typing import Any

from step import CASES, batch, interleaved, ours

from minidl.net import Net


def inference(net: Net, data: Any) -> Callable[[], Any]:
    """Return a forward pass of a net that is ready for inference."""
    net.eval()
    return lambda: net.forward(data)


def main() -> None:
    """Run the command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--model", nargs="+", default=["a", "b", "c"], choices=list(CASES), help="nets of Figure 1")
    cli.add_argument("--rounds", type=int, default=60, help="steps of each (default: 60)")
    options = cli.parse_args()
    print("net       Baseline, ms  WC, GC, ms  share of the step    inference, ms: Baseline  WC, GC")
    for name in options.model:
        bn = ", BN" if name.startswith(("b", "d")) else ""
        nets = {method: ours(name, method + bn) for method in ("Baseline", "WC, GC")}
        training = interleaved({method: step for method, (step, _, _) in nets.items()}, options.rounds)
        data, _ = batch(CASES[name])
        resting = interleaved({method: inference(net, data) for method, (_, net, _) in nets.items()}, options.rounds)
        plain, hooked = training["Baseline"], training["WC, GC"]
        print(
            f"{name:8} {plain:13.1f} {hooked:11.1f} {(hooked - plain) / plain:18.1%} "
            f"{resting['Baseline']:26.1f} {resting['WC, GC']:7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
