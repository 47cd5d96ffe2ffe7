"""Settings: what a run was asked for, complete with the recipe of its data set or with what an earlier run had."""

from pathlib import Path
from typing import Any

from minidl.data import absolute, located
from minidl.experiment.options import Options
from minidl.experiment.recipes import recipe
from minidl.experiment.records import read_settings
from minidl.kernels.errors import MinidlError
from minidl.models import best_method

Settings = dict[str, Any]
# What --resume may change.
CHANGEABLE = ("data", "data_root", "epochs", "crop", "test_every", "quiet", "device", "precision", "threads", "loops")


def complete(options: Options, given: Options) -> tuple[Settings, Path | None]:
    """Return the settings of a run, and the folder of the run to go on with, if any; see ``options.read``.

    Paths of data are absolute. ``batch_is_default`` says that nobody asked for the batch, which may be cut to the set.
    Raises MinidlError where there is no such run, or where its settings cannot be changed to those that are given.
    """
    settings = {name: value for name, value in options.items() if name != "resume"}
    if options["resume"]:
        folder = Path(options["resume"])
        return _changed(_with_absolute_paths(settings | read_settings(folder)), given, folder), folder
    return _with_recipe(_with_absolute_paths(settings)), None


def _with_recipe(settings: Settings) -> Settings:
    """Return the settings of a new run."""
    return settings | {
        "method": settings["method"] or best_method(settings["model"]),
        "batch_is_default": settings["batch_size"] is None,
        **{name: value for name, value in vars(recipe(settings["data"])).items() if settings[name] is None},
    }


def _changed(earlier: Settings, given: Options, folder: Path) -> Settings:
    """Return the settings of an earlier run with the changes that are given."""
    changes = {name: value for name, value in _with_absolute_paths(given).items() if value is not None}
    for name, value in changes.items():
        if name in earlier and name not in CHANGEABLE and value != earlier[name]:
            raise MinidlError(
                f"the run in {folder} has {name.replace('_', '-')} {earlier[name]!r}, which --resume cannot change to "
                f"{value!r}; start a new run instead"
            )
    return earlier | {name: value for name, value in changes.items() if name in CHANGEABLE}


def _with_absolute_paths(settings: Settings) -> Settings:
    data, root = settings["data"], settings["data_root"]
    return settings | {"data": data and located(data), "data_root": root and str(absolute(root))}
