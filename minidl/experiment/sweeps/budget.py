"""The budget of a table's runs: how long each of its rows is trained, on how many images."""

import argparse
from typing import Any

from minidl.experiment.recipes import recipe
from minidl.experiment.sweeps.rows import Row

CIFAR = {"train_size": 10_000, "epochs": 15, "drop_every": 10, "test_every": 5}
SMALL: dict[str, dict[str, Any]] = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "voc2012": {"shrink": 4, "batch_size": 5, "epochs": 25, "drop_every": 20, "test_every": 5},
}
SHORTER = {"b": {"epochs": 6, "drop_every": 4}}  # a step takes seven times as long as one of net (a)


def budget(options: argparse.Namespace, row: Row) -> dict[str, Any]:
    """Return the settings of the budget for a row, for ``minidl train``; empty for the paper's recipe."""
    settings = SMALL[row.data] | SHORTER.get(row.model, {}) if options.budget == "small" else {}
    if options.train_size:
        settings["train_size"] = options.train_size
        if "batch_size" in settings:
            settings["batch_size"] = min(settings["batch_size"], options.train_size)
    if options.epochs:
        whole = vars(recipe(row.data)) | settings
        share = whole["drop_every"] / whole["epochs"]
        settings |= {"epochs": options.epochs, "drop_every": max(1, round(options.epochs * share))}
    return settings
