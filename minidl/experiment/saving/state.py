"""The state of a run: one file from which it is resumed to the last bit, with the log and the trace beside it.

A checkpoint has the net and its optimizer, and under ``run/NAME``:

    log                       (epochs, 7): the rows of log.csv, of the epochs that have finished
    batches, seconds, totals  of the epoch after them, see Progress
    train_seconds, trained_samples
    traced/NAME               the weights before the last WC in the update, which the next row of a trace needs

The order and the augmentation of the samples depend only on the seed and the number of the epoch. So neither the state
of a random generator nor the prefetched batches need to be saved.
"""

from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

import numpy as np

from minidl.experiment.preparation import Experiment
from minidl.experiment.saving import checkpoint, records
from minidl.experiment.saving.schema import COUNT, FROM, check
from minidl.experiment.trainer import Epoch, Progress, Trainer
from minidl.kernels.errors import MinidlError
from minidl.study import trace_files

LOG, TOTALS, TRACED = "log", "totals", "traced/"
COLUMNS = [field.name for field in fields(Epoch)]
PROGRESS = {"batches": COUNT, "seconds": FROM, "train_seconds": FROM, "trained_samples": COUNT}
REMEDY = "use the checkpoint of an earlier time, or start a new run"


def save(experiment: Experiment, folder: Path, epochs: list[Epoch]) -> None:
    """Write the log, the trace and then the checkpoint, which must not be ahead of them.

    epochs: the finished ones. All ranks have the same state; the first writes it. Raises MinidlError if something
    cannot be written; then the earlier checkpoint is still there.
    """
    trainer = experiment.trainer
    if trainer.ranks.rank:
        return
    save_record(experiment, folder, epochs)
    reached = asdict(trainer.reached())
    log = np.array([astuple(epoch) for epoch in epochs], np.float64).reshape(-1, len(COLUMNS))
    arrays = {LOG: log} | {name: np.array(value, np.float64, ndmin=1) for name, value in reached.items()}
    if trainer.tracer:
        arrays |= {f"{TRACED}{name}": weights for name, weights in trainer.tracer.raw.items()}
    path = folder / checkpoint.NAME
    known = (experiment.description, arrays, experiment.settings)
    checkpoint.save(path, trainer.net, trainer.optimizer, len(epochs), *known)


def save_record(experiment: Experiment, folder: Path, epochs: list[Epoch]) -> None:
    """Write only the log and the trace, which may be ahead of the checkpoint."""
    trainer = experiment.trainer
    if trainer.ranks.rank:
        return
    records.write_log(folder, epochs)
    if trainer.tracer:
        trace_files.write(folder, trainer.tracer.trace)


def restore(experiment: Experiment, folder: Path) -> list[Epoch]:
    """Bring an experiment to the saved state of the run in a folder, and return its finished epochs.

    The log may differ, as it is written again. Raises MinidlError if there is no checkpoint, or if its contents do not
    fit together, or do not fit the net.
    """
    path, trainer = folder / checkpoint.NAME, experiment.trainer
    done = checkpoint.resume(path, trainer.net, trainer.optimizer)
    arrays = checkpoint.run_state(path)
    if not arrays:
        epochs = _of_earlier_versions(folder, done)
    else:
        epochs = _log(arrays, done, path)
        trainer.progress = _progress(arrays, trainer, path)
    if tracer := trainer.tracer:
        xp, prefix = trainer.net.kernels.xp, len(TRACED)
        raw = {name[prefix:]: xp.asarray(array) for name, array in arrays.items() if name.startswith(TRACED)}
        if not trace_files.is_traced(folder):
            raise MinidlError(f"the trace of the run in {folder} is lost; put {trace_files.TRACE} back, or start again")
        tracer.go_on(trace_files.read(folder), raw)
    return epochs


def _log(arrays: dict[str, Any], done: int, path: Path) -> list[Epoch]:
    log = _array(arrays, LOG, (done, len(COLUMNS)), path)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in log.tolist()]
    return [records.epoch_of(row, number, f"the log in {path}") for number, row in enumerate(rows, 1)]


def _progress(arrays: dict[str, Any], trainer: Trainer, path: Path) -> Progress:
    values: dict[str, Any] = {name: float(_array(arrays, name, (1,), path)[0]) for name in PROGRESS}
    check(values, PROGRESS, str(path), REMEDY)
    values |= {name: int(values[name]) for name, kind in PROGRESS.items() if kind is COUNT}
    there = len(trainer.train.sizes)
    if values["batches"] > there:
        raise MinidlError(
            f"{path} cannot be used: it has trained {values['batches']} of the {there} batches of an epoch; {REMEDY}"
        )
    return Progress(totals=_array(arrays, TOTALS, (4,), path), **values)


def _array(arrays: dict[str, Any], name: str, shape: tuple[int, ...], path: Path) -> Any:
    """Return an array; raise MinidlError if it is missing or has another shape or type."""
    array = arrays.get(name)
    if array is None or array.shape != shape or array.dtype != np.float64:
        what = "no" if array is None else f"{array.dtype} of shape {array.shape} for"
        raise MinidlError(f"{path} cannot be used: it has {what} run/{name}, of shape {shape}; {REMEDY}")
    return array


def _of_earlier_versions(folder: Path, done: int) -> list[Epoch]:
    """Return the epochs of a run that only the log has; it may be one epoch ahead of the checkpoint."""
    epochs = records.read_log(folder)
    if len(epochs) < done:
        state = f"ends with epoch {len(epochs)}" if epochs else "is missing"
        raise MinidlError(
            f"{folder / records.LOG} {state}, but the checkpoint beside it has finished {done}; put the log back, or "
            "start a new run"
        )
    return epochs[:done]
