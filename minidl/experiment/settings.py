"""Settings: what a run was asked for, complete with the recipe of its data set or with what an earlier run had."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minidl.data import absolute, located
from minidl.experiment import own_code
from minidl.experiment.argument_types import decay, natural, positive, rate, workers
from minidl.experiment.options import Options
from minidl.experiment.recipes import recipe
from minidl.experiment.records import CONFIG, read_settings
from minidl.kernels.errors import MinidlError
from minidl.models import best_method

Settings = dict[str, Any]
# What must be a number in the configuration of an earlier run, which may have been edited.
NUMBERS: dict[str, Callable[[str], float]] = {
    **dict.fromkeys(("epochs", "batch_size", "drop_every", "test_every", "trace"), positive),
    **dict.fromkeys(("train_size", "test_size", "shrink", "crop"), positive),
    "threads": workers,
    "learning_rate": rate,
    "weight_decay": decay,
    "seed": natural,
}
# What --resume may change.
CHANGEABLE = ("data", "data_root", "epochs", "crop", "test_every", "quiet", "device", "precision", "threads", "loops")


def complete(options: Options, given: Options) -> tuple[Settings, Path | None]:
    """Return the settings of a run, and the folder of the run to go on with, if any; see ``options.read``.

    The files of ``--import`` are run, and the settings say which they were. Paths of data are absolute.
    ``batch_is_default`` says that nobody asked for the batch, which may be cut to the set. Raises MinidlError where
    there is no such run, or where its settings cannot be changed to those that are given.
    """
    files = own_code.read(options["import"])
    settings = {name: value for name, value in options.items() if name != "resume"}
    settings["import"] = [file.record for file in files]
    folder = Path(options["resume"]) if options["resume"] else None
    if folder:
        earlier = _with_absolute_paths(settings | {"import": []} | _checked(read_settings(folder), folder))
        own_code.check_same(files, own_code.records_of(earlier, folder), folder)
        settings = _changed(earlier, given, folder) | {"import": settings["import"]}
    for file in files:
        file.run()
    return (settings if folder else _with_recipe(_with_absolute_paths(settings))), folder


def _with_recipe(settings: Settings) -> Settings:
    """Return the settings of a new run."""
    return settings | {
        "method": settings["method"] or best_method(settings["model"]),
        "batch_is_default": settings["batch_size"] is None,
        **{name: value for name, value in vars(recipe(settings["data"])).items() if settings[name] is None},
    }


def _checked(read: Settings, folder: Path) -> Settings:
    """Return the settings that were read of an earlier run; raise MinidlError for one that is no number but must be."""
    numbers = {name: value for name, value in read.items() if name in NUMBERS and value is not None}
    for name, value in numbers.items():
        try:
            numbers[name] = NUMBERS[name](str(value))
        except argparse.ArgumentTypeError as error:
            raise MinidlError(
                f"{folder / CONFIG} cannot be used: {name} {error}; put it back as it was, or start a new run"
            ) from None
    return read | numbers


def _changed(earlier: Settings, given: Options, folder: Path) -> Settings:
    """Return the settings of an earlier run with the changes that are given; its files have been compared before."""
    changes = {
        name: value for name, value in _with_absolute_paths(given).items() if value is not None and name != "import"
    }
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
