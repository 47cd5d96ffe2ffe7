"""The result of a run: what result.json holds, and the sentence that a run ends with."""

import math
from pathlib import Path
from typing import Any

from minidl.experiment.preparation import Experiment
from minidl.experiment.trainer import Epoch
from minidl.words import counted

Result = dict[str, Any]


def result_of(experiment: Experiment, epochs: list[Epoch]) -> Result:
    """Return what was trained, where, and what came of it."""
    settings, trainer, kernels = experiment.settings, experiment.trainer, experiment.net.kernels
    return {
        **{name: settings[name] for name in ("model", "method", "mode")},
        "data": experiment.data,
        "seed": settings["seed"],
        "epochs": len(epochs),
        "device": kernels.device,
        "precision": kernels.precision,
        "machine": kernels.describe(),
        "parameters": experiment.net.parameter_count,
        "train_loss": epochs[-1].train_loss,
        "test_accuracy": epochs[-1].test_accuracy,
        **({"mean_iou": trainer.confusion.mean_iou} if trainer.confusion else {}),
        "seconds": round(sum(epoch.seconds for epoch in epochs), 2),
        "images_per_second": round(trainer.trained_samples / trainer.train_seconds, 1),
    }


def accuracy(result: Result) -> float:
    """Return the test accuracy of a run's result in percent, nan where its loss became nan."""
    return math.nan if result["train_loss"] is None else 100 * result["test_accuracy"]


def sentence(result: Result, folder: Path) -> str:
    """Return what a run prints at its end, be it quiet or not."""
    overlap = f", mean IoU {result['mean_iou']:.2%}," if "mean_iou" in result else ""
    epochs = counted(result["epochs"], "epoch")
    lost = "" if math.isfinite(result["train_loss"]) else "; the loss is not a number any more, and the run ended there"
    return (
        f"test accuracy {result['test_accuracy']:.2%}{overlap} after {epochs}, "
        f"{result['seconds']:.0f} s, {result['images_per_second']:.0f} images/s: {folder}{lost}"
    )
