"""A run: prepared, begun or resumed, trained epoch by epoch, and concluded."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import join, quote

from minidl.communicator import ALONE, Communicator
from minidl.experiment import divergence
from minidl.experiment.cli.command import Command
from minidl.experiment.cli.own_code import import_options
from minidl.experiment.cli.stop import put_off
from minidl.experiment.display import Display
from minidl.experiment.introduction import introduction
from minidl.experiment.pictures import draw
from minidl.experiment.preparation import Experiment, prepare
from minidl.experiment.saving import records, run_folder, state
from minidl.experiment.saving.result import Result, result_of, sentence
from minidl.experiment.saving.resume import resume
from minidl.experiment.settings import Settings
from minidl.experiment.sharing import check_equal
from minidl.experiment.trainer import Epoch
from minidl.kernels.errors import MinidlError
from minidl.losses import SoftmaxCrossEntropy
from minidl.study import trace_files

SELDOM = 10  # between two saves, a run trains at least so many times as long as a save takes


def run(settings: Settings, resumed: Path | None, command: Command, ranks: Communicator = ALONE) -> Result:
    """Train as the settings say, or resume the run in the folder ``resumed``, and return the result.

    ranks: that train it together; only the first writes and draws. Nothing is written before everything is ready to
    train. Raises MinidlError for errors that the user can correct.
    """
    with _explained(settings, resumed, command):
        experiment = prepare(settings, resumed is None, ranks)
        epochs = resume(experiment, resumed) if resumed else []
        with put_off() as stop:
            folder = resumed or ranks.first(lambda: run_folder.make(settings, lambda new: begin(experiment, new)))
    with _explained(settings, folder, command):
        ranks.begin(_how(settings, folder, command))
        if asked := stop.on_any(ranks):
            raise _ended(ranks, asked)
        diverged = lost(experiment, folder, epochs) if train(experiment, folder, epochs) else ""
        return conclude(experiment, folder, epochs, diverged, command)


def begin(experiment: Experiment, folder: Path) -> None:
    """Write into a new folder everything that a run needs to be resumed."""
    state.save(experiment, folder, [])
    records.write_config(folder, experiment.settings)


def train(experiment: Experiment, folder: Path, epochs: list[Epoch]) -> bool:
    """Train the remaining epochs; after each, extend the list of finished epochs and the log, and save.

    After short epochs, see SELDOM, the checkpoint is not always saved, but after the last epoch it is. An interrupt
    takes effect when the step is done and saved. Returns whether the training has diverged: then it ends, and the
    checkpoint is still the one from before.
    """
    settings, trainer, ranks = experiment.settings, experiment.trainer, experiment.trainer.ranks
    saved, duration = time.monotonic(), 0.0  # when the last checkpoint was written, and how long that took
    display = Display(settings["epochs"], trainer.train.samples, settings["quiet"])
    for line in (*introduction(experiment, folder), "", Display.HEAD):
        display.say(line)
    with put_off() as stop:

        def save() -> None:
            nonlocal saved, duration
            began = time.monotonic()
            state.save(experiment, folder, epochs)
            saved = time.monotonic()
            duration = saved - began

        def between(samples: int, loss: SoftmaxCrossEntropy) -> None:
            nonlocal saved
            display.progress(samples, loss)
            asked = stop.on_any(ranks)
            if asked or time.monotonic() - saved > 60 * settings["save_every"]:
                if math.isfinite(loss.score().loss) and divergence.is_finite(trainer.net):
                    save()
                saved = time.monotonic()
            if asked:
                raise _ended(ranks, asked)

        for number in range(len(epochs) + 1, settings["epochs"] + 1):
            display.begin(number, sum(trainer.train.sizes[: trainer.progress.batches]))
            test = number % settings["test_every"] == 0 or number == settings["epochs"]
            epoch = trainer.run_epoch(number, between, test)
            if not divergence.is_finite(trainer.net):
                epoch = replace(epoch, train_loss=math.nan)
            epochs.append(epoch)
            display.end(epoch)
            if not math.isfinite(epoch.train_loss):
                return True
            check_equal(ranks, trainer.net)
            last = number == settings["epochs"]
            asked = None if last else stop.on_any(ranks)
            if last or asked or time.monotonic() - saved >= SELDOM * duration:
                save()
            else:
                state.save_record(experiment, folder, epochs)
            if asked:
                raise _ended(ranks, asked)
    return False


def _ended(ranks: Communicator, asked: KeyboardInterrupt) -> KeyboardInterrupt:
    """Return the interrupt with which all ranks end."""
    ranks.end()
    return asked


def lost(experiment: Experiment, folder: Path, epochs: list[Epoch]) -> str:
    """Write the records of a training that diverged in its last epoch, and return where it diverged."""
    state.save_record(experiment, folder, epochs)
    done = len(state.restore(experiment, folder))
    return divergence.first_fault(experiment.trainer, done, len(epochs))


def conclude(experiment: Experiment, folder: Path, epochs: list[Epoch], diverged: str, command: Command) -> Result:
    """Draw the pictures, then write the result, and print the last sentence of a run.

    diverged: where it diverged, or "". A run without a result is concluded when it is resumed.
    """
    trainer = experiment.trainer
    if trainer.test.per_pixel and not diverged and trainer.confusion is None:
        trainer.test_score()  # the run was stopped after its last epoch and before its result
    result = result_of(experiment, epochs, diverged)
    trainer.ranks.end()
    if trainer.ranks.rank:
        return result
    draw(experiment, folder, epochs, command)
    records.write_result(folder, result)
    print(sentence(result, folder))
    if trainer.tracer and not experiment.settings["quiet"]:
        print(f"trace in {folder / trace_files.TRACE}; look at it with: minidl report {quote(str(folder))}")
    return result


def _how(settings: Settings, folder: Path | None, command: Command) -> str:
    words = ["--resume", str(folder), *import_options(settings["import"])]
    return f"go on with: {command.call} {join(words)}"


@contextmanager
def _explained(settings: Settings, folder: Path | None, command: Command) -> Iterator[None]:
    """Say what to do after an interrupt, or if memory is too small."""
    begun = folder is not None and (folder / records.CONFIG).exists()
    how = _how(settings, folder, command)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(how if begun else "the run had not begun") from None
    except MemoryError:
        size = settings["batch_size"]
        smaller = f"a smaller one, such as --batch-size {max(1, size // 2)}"
        raise MinidlError(
            f"a batch of {size} images needs more memory than is free; close what else uses the device"
            + (f" and {how}, or start again with {smaller}" if begun else f", or use {smaller}")
        ) from None
