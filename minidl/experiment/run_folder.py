"""The folder of a run: where the record of a new one is written."""

from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from minidl.experiment.records import CONFIG
from minidl.experiment.settings import Settings
from minidl.kernels.errors import MinidlError


def folder_for(settings: Settings) -> Path:
    """Create the folder of a new run, the one that was asked for or one of its own under runs/, and return it.

    Raises MinidlError where it cannot be written or holds a run already.
    """
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{settings['model']}-{Path(settings['data']).name}"
    folder = Path(settings["out"] or Path("runs", name))
    try:
        if settings["out"]:
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = _new_folder(folder)
        probe = folder / ".part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MinidlError(
            f"the run's folder {folder} cannot be written ({error.strerror}); give another with --out"
        ) from error
    if (folder / CONFIG).exists():
        raise MinidlError(f"{folder} holds a run already; go on with it by --resume {folder}, or give another --out")
    return folder


def _new_folder(folder: Path) -> Path:
    """Create a folder that was not there: this one, or that with -2, -3 … after its name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        own = folder.with_name(f"{folder.name}-{number}") if number > 1 else folder
        with suppress(FileExistsError):  # another run has begun in the same second
            own.mkdir()
            break
    return own
