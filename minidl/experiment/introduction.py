"""The introduction of a run: what it prints before its first epoch."""

from pathlib import Path

from minidl.experiment.preparation import Experiment
from minidl.kernels.cpu import loops
from minidl.words import printable


def introduction(experiment: Experiment, folder: Path) -> list[str]:
    """Return the lines: the net, the device, notes for the user, the data, and where the record is."""
    settings, trainer = experiment.settings, experiment.trainer
    kernels, train = trainer.net.kernels, trainer.train
    data = (
        f"{experiment.data}: {train.samples:,} images to train on, {trainer.test.samples:,} to test on; "
        f"{settings['optimizer']}, batch {settings['batch_size']}, record in {folder}"
    )
    lines = [str(trainer.net), kernels.describe()]
    if kernels.device == "cpu" and (warning := loops.warning()):
        lines.append(warning)
    lines += map(printable, (*experiment.notes, data))
    if max(train.sizes) > settings["batch_size"]:
        lines.append("One image would be left for the last batch of an epoch; it joins the batch before.")
    return lines
