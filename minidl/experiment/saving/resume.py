"""Resume a run: check that the folder, its checkpoint and the data set belong together, and clean up."""

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
    """Bring an experiment to the point where the run in a folder stopped, and return its finished epochs.

    A run that was killed just before its result was written, or whose log was lost later, has nothing left to train.
    Log and configuration are written again. Raises MinidlError, before anything is written, if the files do not fit
    together, if the run was trained on another set, or if the run is complete.
    """
    settings, trainer = experiment.settings, experiment.trainer
    _compare(folder, checkpoint.trained_on(folder / checkpoint.NAME), settings["data"], experiment.description)
    epochs = state.restore(experiment, folder)
    finished = len(epochs) >= settings["epochs"] and records.read_result(folder) is not None
    if finished and records.is_log_of(folder, epochs):
        raise MinidlError(
            f"the run in {folder} has finished its {counted(len(epochs), 'epoch')}; give --epochs with a larger "
            "number to go on"
        )
    check_alike(trainer.ranks, settings, experiment.description, trainer.net)
    trainer.ranks.first(lambda: _clear_up(experiment, folder, epochs))
    return epochs


def _clear_up(experiment: Experiment, folder: Path, epochs: list[Epoch]) -> None:
    settings = experiment.settings
    sweep(folder)
    records.write_config(folder, settings)
    records.remove_result(folder)
    if not records.is_log_of(folder, epochs) and not settings["quiet"]:
        print(f"{folder / records.LOG} does not say what the checkpoint says; it is written again")
    records.write_log(folder, epochs)


def _compare(folder: Path, earlier: Description | None, data: str, description: Description) -> None:
    """Raise MinidlError for other data than those of the run in a folder; if these are unknown, for another name."""
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
