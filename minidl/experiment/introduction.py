"""The introduction of a run: what it prints before its first epoch."""

from pathlib import Path

from minidl.experiment.preparation import Experiment
from minidl.kernels.cpu import loops
from minidl.words import printable


def introduction(experiment: Experiment, folder: Path) -> list[str]:
    """Return the lines: the net, the device, notes for the user, the data, and where the record is."""
    kernels = experiment.net.kernels
    loops_note = loops.warning() if kernels.device == "cpu" else ""
    return [
        str(experiment.net),
        kernels.describe(),
        *filter(None, [loops_note]),
        *map(printable, experiment.notes),
        printable(_data(experiment, folder)),
        *_last_batch(experiment),
    ]


def _data(experiment: Experiment, folder: Path) -> str:
    settings = experiment.settings
    return (
        f"{experiment.data}: {experiment.train.samples:,} images to train on, {experiment.test.samples:,} to test on; "
        f"{settings['optimizer']}, batch {settings['batch_size']}, record in {folder}"
    )


def _last_batch(experiment: Experiment) -> list[str]:
    if max(experiment.train.sizes) <= experiment.settings["batch_size"]:
        return []
    return ["One image would be left for the last batch of an epoch; it joins the batch before."]
