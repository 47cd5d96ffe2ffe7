"""The folder of a run: it exists with its configuration and its first checkpoint, or not at all."""

import errno
import os
import shutil
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path

from minidl.experiment.pictures import CURVES, PREDICTIONS
from minidl.experiment.saving import checkpoint
from minidl.experiment.saving.files import flush_folder, hidden
from minidl.experiment.saving.records import CONFIG, LOG, RESULT
from minidl.experiment.settings import Settings
from minidl.kernels.errors import MinidlError
from minidl.study.trace_files import CARRY, FILTERS, TRACE

WRITTEN = (checkpoint.NAME, LOG, RESULT, TRACE, CARRY, FILTERS, CURVES, PREDICTIONS)  # beside the configuration


def make(settings: Settings, fill: Callable[[Path], None]) -> Path:
    """Make the folder of a new run, the given one or a new one under runs/, and return it.

    fill: writes into the folder before it gets its name. Raises MinidlError if the folder cannot be written, or already
    has a run or a file that a run would overwrite.
    """
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{settings['model']}-{Path(settings['data']).name}"
    asked, folder = bool(settings["out"]), Path(settings["out"] or Path("runs", name))
    if asked and (folder / CONFIG).exists():
        raise MinidlError(f"{folder} holds a run already; go on with it by --resume {folder}, or give another --out")
    if asked and (there := [name for name in WRITTEN if os.path.lexists(folder / name)]):
        raise MinidlError(
            f"{folder} holds {there[0]} and no {CONFIG}, and a new run would write over it; give another --out, or "
            "move it elsewhere"
        )
    into = asked and folder.is_dir()
    new = hidden(folder / "run" if into else folder)
    try:
        new.mkdir(parents=True)
        fill(new)
        return _put_into(new, folder) if into else _put(new, folder, asked)
    except OSError as error:
        raise MinidlError(
            f"the run's folder {folder} cannot be written ({error.strerror}); give another with --out"
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def check_no_run(out: Path) -> None:
    """Raise MinidlError if the folder for several runs is itself the folder of a run."""
    if (out / CONFIG).exists():
        raise MinidlError(f"{out} holds a run, and several runs need a folder of their own; give another --out")


def _put(new: Path, folder: Path, asked: bool) -> Path:
    """Give a new folder its name; if the name is taken and not the user's choice, append -2, -3 …"""
    for number in count(1):
        own = folder.with_name(f"{folder.name}-{number}") if number > 1 else folder
        try:
            os.rename(new, own)
            break
        except OSError as error:
            if asked or error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    flush_folder(own.parent)
    return own


def _put_into(new: Path, folder: Path) -> Path:
    """Move the contents of a new folder into an existing one, the configuration last, as it marks the folder of a run.

    If a file cannot be moved, those already moved are removed again; they have replaced no file of the folder.
    """
    moved = []
    try:
        for file in sorted(new.iterdir(), key=lambda file: file.name == CONFIG):
            os.replace(file, folder / file.name)
            moved.append(folder / file.name)
    except OSError:
        for file in moved:
            file.unlink()
        raise
    flush_folder(folder)
    return folder
