"""Print the figures of docs/findings.md, from the logs and traces in results/findings.

    python benchmarks/findings.py [FOLDER]

The folder has runs of net (c), NAME-seedN, written by "minidl compare --trace 25". Figures of several layers or seeds
are ranges. "First" is step 0, "later" the median over the traced steps from 200 on, "last" the last traced step.
"""

import argparse
import csv
import json
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

Trace = dict[tuple[str, str], list[tuple[int, float]]]  # by layer and column: steps and their values
ALL = [f"conv{i}" for i in range(1, 7)]
LATER = 200


def read(folder: Path) -> Trace:
    """Return the trace of a run."""
    trace: Trace = {}
    with open(folder / "trace.csv", newline="") as file:
        for row in csv.DictReader(file):
            for column, text in row.items():
                if text and column not in ("step", "layer"):
                    trace.setdefault((row["layer"], column), []).append((int(row["step"]), float(text)))
    return trace


def values(traces: list[Trace], column: str, layers: Iterable[str], when: str) -> list[float]:
    """Return a column of some layers, for each seed: first, later or last."""
    found = []
    for trace in traces:
        for layer in layers:
            line = trace.get((layer, column), [])
            picked = {
                "first": [value for step, value in line if step == 0],
                "later": [value for step, value in line if step >= LATER],
                "last": [value for _, value in line[-1:]],
            }[when]
            found += [statistics.median(picked)] if picked else []
    return found


def span(numbers: list[float], form: Callable[[float], str]) -> str:
    """Return the range of numbers as text."""
    if not numbers:
        return "not defined"
    low, high = form(min(numbers)), form(max(numbers))
    return low if low == high else f"{low} … {high}"


def percent(x: float) -> str:
    """Return a share as text."""
    return f"{100 * x:.1f} %" if x < 0.1 else f"{100 * x:.0f} %"


def degrees(x: float) -> str:
    """Return an angle as text."""
    return f"{x:.0f}°"


def number(x: float) -> str:
    """Return a number with three digits as text."""
    return f"{x:.3g}"


FIGURES = [  # method, column, layers, when, the function that writes it
    ("baseline", "w_mean", ["conv1"], "first", percent),
    ("baseline", "w_mean", ALL[1:], "first", percent),
    ("baseline", "g_mean", ["conv1"], "first", percent),
    ("baseline", "g_mean", ALL[1:], "first", percent),
    ("baseline", "data_mean", ALL[1:], "first", percent),
    *(
        ("gc", "g_removed", [layer], when, percent)
        for layer in ("conv1", "conv2", "conv4", "conv6")
        for when in ("first", "later")
    ),
    *(
        (method, "alike", [layer], when, number)
        for layer in ("conv6", "conv3")
        for method in ("baseline", "wc")
        for when in ("first", "last")
    ),
    ("wc", "w_removed", ["conv6"], "first", percent),
    ("wc", "step_mean", ALL, "later", percent),
    ("wc_gc", "step_mean", ALL, "later", percent),
    ("gc", "step_mean", ALL, "later", percent),
    ("gc", "w_mean", ["conv6"], "first", percent),
    ("gc", "w_mean", ["conv6"], "last", percent),
    ("baseline", "w_mean", ["conv6"], "last", percent),
    *(
        (method, column, layers, when, form)
        for method in ("eb", "el")
        for column, layers, when, form in (
            ("e_removed", ALL[1:], "first", percent),
            ("angle", ALL[:5], "first", degrees),
            ("angle", ALL[:5], "later", degrees),
            ("dead", ["conv6"], "last", percent),
            ("out_std", ["conv6"], "first", number),
            ("out_std", ["conv6"], "last", number),
        )
    ),
    ("gc", "angle", ALL, "first", degrees),
    ("gc", "flips", ALL[3:], "later", percent),
    ("gradient-global", "angle", ALL, "first", degrees),
    ("gradient-global", "angle", ALL, "later", degrees),
    ("gradient-global", "flips", ALL[3:], "later", percent),
    ("gradient-global", "w_mean", ALL[3:], "last", percent),
    ("baseline", "w_mean", ALL[3:], "last", percent),
    ("weight-channel", "alike", ["conv6"], "first", number),
    ("ws", "out_std", ["conv1"], "first", number),
    ("ws", "out_std", ["conv6"], "first", number),
    ("baseline", "dead", ["conv6"], "last", percent),
    ("wc", "dead", ALL, "last", percent),
    ("wc", "active", ALL, "last", percent),
    ("wc_gc", "dead", ["fc1"], "last", percent),
    ("wc_gc_fully", "dead", ["fc1"], "last", percent),
]


def main() -> None:
    """Print accuracies and figures."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument(
        "folder", nargs="?", type=Path, default=Path(__file__).parents[1] / "results" / "findings", help="of runs"
    )
    folder = cli.parse_args().folder
    runs: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        runs.setdefault(path.name.rsplit("-seed", 1)[0], []).append(path)
    print("| method | test accuracy, % (each seed) | mean | deviation |\n| --- | --- | ---: | ---: |")
    for paths in runs.values():
        results = [json.loads((path / "result.json").read_text()) for path in paths]
        accuracies = [100 * result["test_accuracy"] for result in results]
        each = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
        deviation = f"{statistics.stdev(accuracies):.1f}" if len(accuracies) > 1 else "·"
        name = results[0]["method"] + (", SGD" if paths[0].name.startswith("sgd-") else "")
        print(f"| {name} | {each} | {statistics.mean(accuracies):.1f} | {deviation} |")
    traces = {name: [read(path) for path in paths] for name, paths in runs.items()}
    print("\n| run | column | layers | when | |\n| --- | --- | --- | --- | --- |")
    for method, column, layers, when, form in FIGURES:
        if method in traces:
            which = layers[0] if len(layers) == 1 else f"{layers[0]} … {layers[-1]}"
            told = span(values(traces[method], column, layers, when), form)
            print(f"| {method} | {column} | {which} | {when} | {told} |")
    print("\n| run | loss of the last epochs |\n| --- | --- |")
    for name, paths in runs.items():
        with open(paths[0] / "log.csv", newline="") as file:
            losses = [f"{float(row['train_loss']):.3g}" for row in csv.DictReader(file)]
        print(f"| {name} | {', '.join(losses)} |")


if __name__ == "__main__":
    main()
