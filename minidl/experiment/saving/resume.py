"""Goes on with a run: checks that the folder, its checkpoint and the data set belong together, and clears up."""

from pathlib import Path

from minidl.data import located
from minidl.experiment.preparation import Experiment
from minidl.experiment.saving import checkpoint, records, state
from minidl.experiment.saving.files import sweep
from minidl.experiment.saving.fingerprint import Description, difference
from minidl.experiment.sharing import check_alike
from minidl.experiment.trainer import Epoch
from minidl.kernels.errors import MinidlError
from minidl.words import counted


def resume(experiment: Experiment, folder: Path) -> list[Epoch]:
    """Bring an experiment to where the run in a folder stopped, and return the epochs that it has finished.

    A run that was killed before its result was written has nothing left to train, nor one whose log was lost later. Log
    and configuration are written anew. Raises MinidlError, before anything is written, where the files do not fit
    together, where the set is not the one that the run was trained on, and where the run has come to its end.
    """
    settings = experiment.settings
    _compare(folder, checkpoint.trained_on(folder / checkpoint.NAME), settings["data"], experiment.description)
    epochs = state.restore(experiment, folder)
    finished = len(epochs) >= settings["epochs"] and records.read_result(folder) is not None
    if finished and records.is_log_of(folder, epochs):
        raise MinidlError(
            f"the run in {folder} has finished its {counted(len(epochs), 'epoch')}; give --epochs with a larger "
            "number to go on"
        )
    check_alike(experiment.ranks, settings, experiment.description, experiment.net)
    experiment.ranks.first(lambda: _clear_up(experiment, folder, epochs))
    return epochs


def _clear_up(experiment: Experiment, folder: Path, epochs: list[Epoch]) -> None:
    settings = experiment.settings
    sweep(folder)
    records.write_config(folder, settings)
    records.remove_result(folder)
    if not records.is_log_of(folder, epochs) and not settings["quiet"]:
        print(f"{folder / records.LOG} does not say what the checkpoint says; it is written anew")
    records.write_log(folder, epochs)


def _compare(folder: Path, earlier: Description | None, data: str, description: Description) -> None:
    """Raise MinidlError for other data than the run in a folder had; where that is not known, for another name."""
    if earlier is None:
        name = located(records.read_settings(folder)["data"])
        if data != name:
            raise MinidlError(
                f"the run in {folder} has no description of its data {name!r}, so {data!r} cannot be compared with "
                "them; go on without --data, or start a new run"
            )
    elif changed := difference(earlier, description):
        raise MinidlError(
            f"the data {data!r} are not those that the run in {folder} was trained on: {changed}; put them back as "
            "they were, or start a new run"
        )
