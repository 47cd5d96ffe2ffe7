"""Measure the effect of methods for weights on a net that was trained without them (--init), before and after an epoch.

    python benchmarks/fine_tuning.py runs/baseline runs/wc --methods "Baseline; WC; WS; WN" --epochs 1

For each run and method: loss and error on the test images after the method has normalized the saved weights, before any
step; then after each epoch of training with it. Data and net are those of the run.
"""

import argparse
from pathlib import Path

from minidl.experiment.cli.argument_types import positive, rate
from minidl.experiment.preparation import prepare
from minidl.experiment.saving.records import read_settings
from minidl.experiment.sweeps.comparison import read_methods
from minidl.experiment.trainer import evaluate


def main() -> None:
    """Print a line of a table for each run and method."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="what training begins with")
    cli.add_argument("--methods", default="Baseline; WC; WS; WN", metavar="TEXT", help="two or more, with ; between")
    cli.add_argument("--epochs", type=positive, default=1, metavar="N")
    cli.add_argument("--learning-rate", type=rate, default=1e-4, metavar="X", help="(default: 1e-4)")
    cli.add_argument("--train-size", type=positive, metavar="N", help="train on N images (default: as the run)")
    cli.add_argument("--test-size", type=positive, metavar="N", help="test on N images (default: as the run)")
    cli.add_argument("--threads", type=positive, metavar="N")
    options = cli.parse_args()
    print("| trained with | goes on with | loss before | error before, % | loss after | error after, % |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for run in options.runs:
        earlier = read_settings(run)
        for method in read_methods(options.methods):
            changes = {"method": method, "init": str(run), "quiet": True, "learning_rate": options.learning_rate}
            sizes = {name: vars(options)[name] or earlier[name] for name in ("train_size", "test_size")}
            experiment = prepare(earlier | changes | sizes | {"threads": options.threads, "trace": None})
            trainer = experiment.trainer
            before = evaluate(trainer.net, trainer.test_loss, trainer.test)
            for number in range(1, options.epochs + 1):
                after = trainer.run_epoch(number, test=number == options.epochs)
            errors = [f"{100 - 100 * accuracy:.1f}" for accuracy in (before.accuracy, after.test_accuracy)]
            cells = (earlier["method"], method, f"{before.loss:.3f}", errors[0], f"{after.test_loss:.3f}", errors[1])
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
