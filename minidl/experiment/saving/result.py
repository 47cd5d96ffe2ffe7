"""The result of a run: the contents of result.json, and the last sentence of a run."""

import math
from pathlib import Path
from typing import Any

from minidl import __version__
from minidl.experiment.preparation import Experiment
from minidl.experiment.trainer import Epoch
from minidl.words import counted

Result = dict[str, Any]


def result_of(experiment: Experiment, epochs: list[Epoch], diverged: str) -> Result:
    """Return what was trained, where, and with what result; diverged: where the training diverged, or ""."""
    settings, trainer = experiment.settings, experiment.trainer
    kernels, done = trainer.net.kernels, trainer.progress
    return {
        **{name: settings[name] for name in ("model", "method", "mode")},
        "data": experiment.data,
        "seed": settings["seed"],
        "epochs": len(epochs),
        "device": kernels.device,
        "precision": kernels.precision,
        "machine": kernels.describe(),
        "minidl": __version__,
        "commit": experiment.commit,
        "parameters": trainer.net.parameter_count,
        "train_loss": epochs[-1].train_loss,
        "test_accuracy": epochs[-1].test_accuracy,
        **({"mean_iou": trainer.confusion.mean_iou} if trainer.confusion else {}),
        **({"diverged": diverged} if diverged else {}),
        "seconds": round(sum(epoch.seconds for epoch in epochs), 2),
        "images_per_second": round(done.trained_samples / (done.train_seconds or math.nan), 1),
    }


def accuracy(result: Result) -> float:
    """Return the test accuracy of a run's result in percent, nan if its loss became nan."""
    lost = result["train_loss"] is None or result["test_accuracy"] is None
    return math.nan if lost else 100 * result["test_accuracy"]


def divergence(title: str, result: Result) -> str:
    """Return a sentence on where one of several runs diverged, "" if it did not."""
    return f"{title}: the loss is not a number any more, first {result['diverged']}" if result.get("diverged") else ""


def line(title: str, result: Result) -> str:
    """Return the line that is printed for one of several runs."""
    reached = f"{title}: {accuracy(result):.2f} % after {counted(result['epochs'], 'epoch')}, {result['seconds']:.0f} s"
    return divergence(title, result) or reached


def sentence(result: Result, folder: Path) -> str:
    """Return what a run prints at its end, even if it is quiet."""
    if "diverged" in result:
        return (
            f"the loss is not a number any more, first {result['diverged']}, and the run ended there: {folder}, whose "
            "checkpoint is from before"
        )
    overlap = f", mean IoU {result['mean_iou']:.2%}," if "mean_iou" in result else ""
    epochs = counted(result["epochs"], "epoch")
    return (
        f"test accuracy {result['test_accuracy']:.2%}{overlap} after {epochs}, "
        f"{result['seconds']:.0f} s, {result['images_per_second']:.0f} images/s: {folder}"
    )
