"""A run: prepared, begun or gone on with, trained epoch by epoch, and concluded."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import join, quote

from minidl.experiment import checkpoint, records
from minidl.experiment.command import Command
from minidl.experiment.display import Display
from minidl.experiment.introduction import introduction
from minidl.experiment.own_code import import_options
from minidl.experiment.pictures import draw
from minidl.experiment.preparation import Experiment, prepare
from minidl.experiment.result import Result, result_of, sentence
from minidl.experiment.resume import resume
from minidl.experiment.run_folder import folder_for
from minidl.experiment.settings import Settings
from minidl.experiment.trainer import Epoch
from minidl.kernels.errors import MinidlError
from minidl.study import trace_files
from minidl.words import counted


def run(settings: Settings, resumed: Path | None, command: Command) -> Result:
    """Train as the settings say, go on with the run in the folder ``resumed``, if any, and return the result.

    Nothing is written before all is ready to train. Raises MinidlError for what the user can change.
    """
    with _explained(settings, resumed, command):
        experiment = prepare(settings, begins=not (resumed and (resumed / checkpoint.NAME).exists()))
        epochs = finished_epochs(experiment, resumed)
        folder = resumed or folder_for(settings)
    with _explained(settings, folder, command):
        records.write_config(folder, settings)
        train(experiment, folder, epochs)
        result = result_of(experiment, epochs)
        records.write_result(folder, result)
        draw(experiment, folder, epochs, command)
        print(sentence(result, folder))
        if experiment.trainer.tracer and not settings["quiet"]:
            print(f"trace in {folder / trace_files.TRACE}; look at it with: minidl report {quote(str(folder))}")
    return result


def finished_epochs(experiment: Experiment, resumed: Path | None) -> list[Epoch]:
    """Bring the net to where an earlier run stopped and return its epochs, of which some must be left to train."""
    if resumed is None:
        return []
    settings = experiment.settings
    epochs = resume(resumed, experiment.net, experiment.optimizer, settings["data"], experiment.description)
    if len(epochs) >= settings["epochs"]:
        raise MinidlError(
            f"the run in {resumed} has finished its {counted(len(epochs), 'epoch')}; give --epochs with a larger "
            "number to go on"
        )
    if epochs and experiment.trainer.tracer:
        experiment.trainer.tracer.go_on(trace_files.read(resumed))
    return epochs


def train(experiment: Experiment, folder: Path, epochs: list[Epoch]) -> None:
    """Train the epochs that are left, and append each to those that are finished, to the log and to the checkpoint."""
    settings = experiment.settings
    display = Display(settings["epochs"], experiment.train.samples, settings["quiet"])
    for line in (*introduction(experiment, folder), "", Display.HEAD):
        display.say(line)
    for number in range(len(epochs) + 1, settings["epochs"] + 1):
        display.begin(number)
        test = number % settings["test_every"] == 0 or number == settings["epochs"]
        epochs.append(experiment.trainer.run_epoch(number, display.progress, test))
        display.end(epochs[-1])
        save(experiment, folder, epochs)
        if not math.isfinite(epochs[-1].train_loss):
            break  # the result's sentence says so


def save(experiment: Experiment, folder: Path, epochs: list[Epoch]) -> None:
    """Write the log, the trace and the checkpoint, which comes last as it must not know of an epoch that they lack."""
    records.write_log(folder, epochs)
    if experiment.trainer.tracer:
        trace_files.write(folder, experiment.trainer.tracer.trace)
    path = folder / checkpoint.NAME
    checkpoint.save(path, experiment.net, experiment.optimizer, len(epochs), experiment.description)


@contextmanager
def _explained(settings: Settings, folder: Path | None, command: Command) -> Iterator[None]:
    """Say what can be done after an interrupt, and where memory is too small."""
    try:
        yield
    except KeyboardInterrupt:
        begun = folder and (folder / records.CONFIG).exists()
        words = ["--resume", str(folder), *import_options(settings["import"])]
        advice = f"go on with: {command.call} {join(words)}" if begun else "the run had not begun"
        raise KeyboardInterrupt(advice) from None
    except MemoryError:
        size = settings["batch_size"]
        raise MinidlError(
            f"a batch of {size} images needs more memory than is free; use a smaller one, such as "
            f"--batch-size {max(1, size // 2)}, or close what else uses the device"
        ) from None
