"""Time what a trace costs: plain, traced and detailed training steps, in turn in one run.

The cost of a run of N steps follows from the numbers of each kind in the schedule of the trace. A traced step counts
together with the step before it, in which the optimizer's WC is observed.

python benchmarks/trace.py [--model c] [--methods "WC, GC" EB] [--every 50] [--rounds N]
"""

import argparse

from step import CASES, batch, interleaved, ours

from minidl.losses import SoftmaxCrossEntropy
from minidl.study.schedule import detailed, traced
from minidl.study.trace import Tracer

LENGTHS = (600, 5_000, 50_000, 300_000)  # steps of runs; the last number is that of the recipe's 300 epochs


def times(model: str, method: str, every: int, rounds: int) -> tuple[float, float, float]:
    """Return the milliseconds of a plain step, and the additional ones of a traced and of a detailed step."""
    step, net, optimizer = ours(model, method)
    data, labels = batch(CASES[model])
    loss, tracer = SoftmaxCrossEntropy(net.kernels), Tracer(net, optimizer, every, {})

    def look(number: int) -> float:
        for n in (number - 1, number):
            if tracer.due(n):
                tracer.step(n, loss, data, labels)
            else:
                step()
        return 0.0

    works = {"plain": step, "traced": lambda: look(1003 * every), "detailed": lambda: look(1000 * every)}
    found = interleaved(works, rounds)
    return found["plain"], found["traced"] - 2 * found["plain"], found["detailed"] - 2 * found["plain"]


def cost(length: int, every: int, plain: float, of_traced: float, of_detailed: float) -> float:
    """Return the share by which a trace makes a run of that many steps longer."""
    close = sum(detailed(step, every) for step in range(length))
    looks = sum(traced(step, every) for step in range(length))
    return (of_traced * (looks - close) + of_detailed * close) / (plain * length)


def main() -> None:
    """Run the command line."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--model", default="c", choices=list(CASES), help="net of Figure 1 (default: c)")
    cli.add_argument("--methods", nargs="+", default=["WC, GC", "EB"], help='(default: "WC, GC" EB)')
    cli.add_argument("--every", type=int, default=50, help="steps from one traced step to the next (default: 50)")
    cli.add_argument("--rounds", type=int, default=30, help="steps of each (default: 30)")
    options = cli.parse_args()
    print("method      plain, ms  traced, more  detailed, more", *(f"{n:,} steps".rjust(14) for n in LENGTHS))
    for method in options.methods:
        found = times(options.model, method, options.every, options.rounds)
        shares = (f"{cost(length, options.every, *found):+.1%}".rjust(14) for length in LENGTHS)
        print(f"{method:10}  {found[0]:9.1f}  {found[1]:12.1f}  {found[2]:14.1f}", *shares, flush=True)


if __name__ == "__main__":
    main()
