"""Settings: the options of a run, completed by the recipe of its data set or by the settings of the resumed run."""

from pathlib import Path
from typing import Any

from minidl.data import absolute, located
from minidl.experiment.cli import own_code
from minidl.experiment.options import Options
from minidl.experiment.recipes import recipe
from minidl.experiment.saving import checkpoint
from minidl.experiment.saving.contents import SETTINGS
from minidl.experiment.saving.records import CONFIG, PUT_BACK, read_settings
from minidl.experiment.saving.schema import check
from minidl.kernels.arguments import shown
from minidl.kernels.errors import MinidlError
from minidl.models import best_method

Settings = dict[str, Any]
# What --resume may change.
CHANGEABLE = (
    *("data", "data_root", "epochs", "crop", "test_every", "save_every"),
    *("quiet", "device", "precision", "threads", "loops"),
)


def complete(options: Options, given: Options) -> tuple[Settings, Path | None]:
    """Return the settings of a run, and the folder of the run to resume, or None; see ``options.read``.

    The files of ``--import`` are run and recorded in the settings. Paths of data are absolute. ``batch_is_default``: no
    batch size was given, so it may be reduced to the size of the set. Raises MinidlError if there is no such run, or if
    its settings cannot be changed to the given ones.
    """
    files = own_code.read(options["import"])
    settings = {name: value for name, value in options.items() if name != "resume"}
    settings["import"] = [file.record for file in files]
    folder = Path(options["resume"]) if options["resume"] else None
    if folder:
        written = read_settings(folder)
        earlier = settings | {"import": []} | written
        check(earlier, SETTINGS, str(folder / CONFIG), PUT_BACK)  # some may be missing
        _compare(folder, written)
        earlier = _with_absolute_paths(earlier)
        own_code.check_same(files, own_code.records_of(earlier, folder), folder)
        settings = _changed(earlier, given, folder) | {"import": settings["import"]}
    for file in files:
        file.run()
    return (settings if folder else _with_recipe(_with_absolute_paths(settings))), folder


def _compare(folder: Path, written: Settings) -> None:
    """Raise MinidlError if a configuration is not the one that the run's checkpoint was made with, if there is one.

    ``own_code.check_same`` compares the files of --import.
    """
    file = folder / checkpoint.NAME
    trained = (file.exists() and checkpoint.description(file).get("settings")) or {}
    for name in written:
        if name in trained and name not in (*CHANGEABLE, "import") and written[name] != trained[name]:
            raise MinidlError(
                f"{folder / CONFIG} has {name} {shown(written[name])}, but the run was trained with "
                f"{shown(trained[name])}; {PUT_BACK}"
            )


def _with_recipe(settings: Settings) -> Settings:
    """Return the settings of a new run."""
    return settings | {
        "method": settings["method"] or best_method(settings["model"]),
        "batch_is_default": settings["batch_size"] is None,
        **{name: value for name, value in vars(recipe(settings["data"])).items() if settings[name] is None},
    }


def _changed(earlier: Settings, given: Options, folder: Path) -> Settings:
    """Return the settings of an earlier run with the given changes; its files are compared before."""
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
    data, places = settings["data"], ("data_root", "init")
    return settings | {
        "data": data and located(data),
        **{name: settings[name] and str(absolute(settings[name])) for name in places},
    }
