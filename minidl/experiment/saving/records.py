"""The record of a run: its settings, the results of each epoch, and the final result."""

import platform
import sys
from dataclasses import astuple, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from minidl import __version__
from minidl.data import regular_file
from minidl.experiment.saving import contents, formats, mistaken, spreadsheet
from minidl.experiment.saving.files import LONG, as_csv, as_json, read_json, write_whole
from minidl.experiment.saving.schema import check
from minidl.experiment.trainer import Epoch
from minidl.kernels.cpu.threads import workers
from minidl.kernels.errors import MinidlError

CONFIG, LOG, RESULT = "config.json", "log.csv", "result.json"
PUT_BACK = "put it back as it was, or start a new run"
REPEAT = "delete it and run it again"
LOG_BACK = "put the log back as it was, or start a new run"
ALWAYS = ("epochs", "train_loss", "test_accuracy", "seconds")  # in every result


def write_config(folder: Path, settings: dict[str, Any]) -> None:
    """Write every setting, and the versions and the machine that the run used."""
    packages = ("numpy", "pillow", "safetensors", "matplotlib")
    config = {
        "format": formats.FORMAT,
        "settings": settings,
        "versions": {"python": platform.python_version(), "minidl": __version__, **dict(map(_version, packages))},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "threads": workers()},
        "command": sys.argv,
    }
    write_whole(folder / CONFIG, as_json(config))


def _version(package: str) -> tuple[str, str | None]:
    try:
        return package, version(package)
    except PackageNotFoundError:
        return package, None


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of the run in a folder; raise MinidlError if there is none, or it has a later format."""
    path = folder / CONFIG
    config = read_json(path, {"settings": dict}, "start the run again")
    if config is None:
        raise MinidlError(_no_run(folder))
    settings: dict[str, Any] = config["settings"]
    check(settings, contents.SETTINGS, str(path), PUT_BACK)
    return settings


def _no_run(folder: Path) -> str:
    """Return a sentence on a path that is not the folder of a run."""
    if folder.is_file():
        beside = (folder.parent / CONFIG).exists()
        return f"{folder} is a file, not the folder of a run; give {folder.parent if beside else 'the folder of a run'}"
    remedy = mistaken.instead(folder, CONFIG, "give the folder of a run")
    return f"there is no run in {folder}, or it had not begun ({CONFIG} is missing); {remedy}"


def write_log(folder: Path, epochs: list[Epoch]) -> None:
    """Write one line for each epoch."""
    write_whole(folder / LOG, _log_of(epochs))


def is_log_of(folder: Path, epochs: list[Epoch]) -> bool:
    """Return whether a run's log has the lines of these epochs, and at most one more."""
    try:
        written = regular_file.read(folder / LOG, LONG)
    except OSError:
        return False
    expected = _log_of(epochs).encode()
    return written.startswith(expected) and written[len(expected) :].count(b"\n") <= 1


def _log_of(epochs: list[Epoch]) -> str:
    rows = [[*astuple(epoch)[:-1], f"{epoch.seconds:.2f}"] for epoch in epochs]
    return as_csv([[field.name for field in fields(Epoch)], *rows])


def read_log(folder: Path) -> list[Epoch]:
    """Return the epochs of a run's log, none if there is no log yet.

    A spreadsheet may have saved it, if the values are the same; else raises MinidlError, which names the line.
    """
    path = folder / LOG
    if not path.exists():
        return []
    epochs: list[Epoch] = []
    for row in spreadsheet.read(path, [field.name for field in fields(Epoch)]):
        values = {name: row.number(name, blank_is_nan=name.startswith("test_")) for name in row.values}
        epochs.append(epoch_of(values, len(epochs) + 1, f"line {row.line} of {path}"))
    return epochs


def epoch_of(values: dict[str, Any], number: int, where: str) -> Epoch:
    """Return the epoch with these numbers, given by name; raise MinidlError if they are wrong, or of another epoch.

    where: the file and its line, for messages.
    """
    if values["epoch"] != number:
        raise MinidlError(f"{where} holds epoch {values['epoch']:g} where epoch {number} is expected; {LOG_BACK}")
    check(values, contents.LOG, where, LOG_BACK)
    return Epoch(**values | {"epoch": number})


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write the run's result."""
    write_whole(folder / RESULT, as_json(result))


def remove_result(folder: Path) -> None:
    """Remove a run's result, as the run is resumed."""
    (folder / RESULT).unlink(missing_ok=True)


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return the result of the run in a folder, or None if it has not finished."""
    path = folder / RESULT
    result = read_json(path, dict.fromkeys(ALWAYS, object), REPEAT)
    if result is not None:
        check(result, contents.RESULT, str(path), REPEAT)
    return result


def divergence_of(run: Path) -> str:
    """Return a sentence on a diverged run, whose net is an earlier one; "" for other runs, and for a single file.

    run: the folder, or its checkpoint.
    """
    try:
        where = (read_result(run if run.is_dir() else run.parent) or {}).get("diverged")
    except MinidlError:  # only those who read the result need to know
        return ""
    return f"the training of {run} diverged, first {where}; the net is the one that was saved before" if where else ""
