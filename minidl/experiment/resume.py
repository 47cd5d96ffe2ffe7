"""Goes on with a run: checks that the folder, its log and its checkpoint, and the data set belong together."""

from pathlib import Path

from minidl.data import located
from minidl.experiment import checkpoint, records
from minidl.experiment.fingerprint import Description, difference
from minidl.experiment.trainer import Epoch
from minidl.kernels.errors import MinidlError
from minidl.net import Net
from minidl.optimizers import Optimizer


def resume(folder: Path, net: Net, optimizer: Optimizer, data: str, description: Description) -> list[Epoch]:
    """Bring a net and its optimizer to where the run in a folder stopped; return the epochs that it has finished.

    data: the name or path of the set; description: what describes it. The log may be an epoch ahead of the checkpoint,
    which is written after it. Raises MinidlError where they do not fit together, or where the set is not the one that
    the run was trained on.
    """
    path = folder / checkpoint.NAME
    epochs = records.read_log(folder)
    begun = len(epochs) > 1 or path.exists()
    _compare(folder, checkpoint.trained_on(path) if begun else None, data, description)
    done = checkpoint.resume(path, net, optimizer) if begun else 0
    if len(epochs) < done:
        state = f"ends with epoch {len(epochs)}" if epochs else "is missing"
        raise MinidlError(
            f"{folder / records.LOG} {state}, but the checkpoint beside it has finished {done}; put the log back, or "
            "start a new run"
        )
    return epochs[:done]


def _compare(folder: Path, earlier: Description | None, data: str, description: Description) -> None:
    """Raise MinidlError for other data than the run in a folder had; where that is not known, for another name."""
    if earlier is None:
        name = located(records.read_settings(folder)["data"])
        if data != name:
            raise MinidlError(
                f"the run in {folder} does not say what its data {name!r} were like, so that {data!r} cannot be "
                "compared with them; go on without --data, or start a new run"
            )
    elif changed := difference(earlier, description):
        raise MinidlError(
            f"the data {data!r} are not those that the run in {folder} was trained on: {changed}; put them back as "
            "they were, or start a new run"
        )
