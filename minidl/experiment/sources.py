"""The data of a run: the sets that its settings name, and the batches made of them."""

from pathlib import Path

from minidl import data, models
from minidl.communicator import Communicator
from minidl.data.batches import Batches
from minidl.data.dataset import Dataset
from minidl.data.pixel_batches import PixelBatches
from minidl.experiment.saving import checkpoint
from minidl.experiment.settings import Settings
from minidl.kernels import Kernels
from minidl.kernels.errors import MinidlError


def load(settings: Settings) -> tuple[Dataset, Dataset]:
    """Return the training and the test set, cut and shrunk as the settings say.

    Raises MinidlError if they cannot be loaded; it says so if a saved net was given in place of data.
    """
    name, root, size, fit = (settings[name] for name in ("data", "data_root", "image_size", "fit"))
    try:
        train, test = data.load(name, root, progress=not settings["quiet"], size=size, fit=fit)
    except MinidlError as error:
        if checkpoint.is_saved(Path(name)):
            raise MinidlError(
                f"{name} is a saved net, which --init and --resume take; --data takes images to train on"
            ) from error
        raise
    return _adapted(train, "train", settings), _adapted(test, "test", settings)


def _adapted(part: Dataset, purpose: str, settings: Settings) -> Dataset:
    size = settings[f"{purpose}_size"]
    check_size(part, purpose, size)
    return (part.subset(size) if size else part).shrunk(settings["shrink"]).cropped(settings["crop"])


def check_size(part: Dataset, purpose: str, size: int | None) -> None:
    """Raise MinidlError if more images are asked for than the part of a set has; purpose: "train" or "test"."""
    if size and size > len(part):
        raise MinidlError(
            f"--{purpose}-size asks for {size:,} images, and {part.name} has {len(part):,} to {purpose} on; give at "
            "most that"
        )


def cut_batch(settings: Settings, train: Dataset) -> tuple[str, ...]:
    """Reduce a default batch size to the size of the training set; return a note if it was reduced."""
    asked, images = settings["batch_size"], len(train)
    if not settings.pop("batch_is_default", False) or asked <= images:
        return ()
    settings["batch_size"] = images
    return (f"The batch of {asked} is cut to the {images} images that there are to train on.",)


def batches(
    settings: Settings, train: Dataset, test: Dataset, operations: Kernels, ranks: Communicator
) -> tuple[Batches, Batches]:
    """Return the training and test batches, with a label for each image or each pixel, as the net needs.

    Each rank gets its share of them. Raises MinidlError for a batch with fewer images than ranks.
    """
    kind = PixelBatches if models.per_pixel(settings["model"]) else Batches
    size = settings["batch_size"]
    made = kind(train, size, operations, "float32", ranks.share)
    if min(made.sizes) < ranks.size:
        raise MinidlError(
            f"a batch of {min(made.sizes)} images in an epoch of {len(train):,} cannot be shared by {ranks.size} "
            "ranks; use fewer ranks, or another --batch-size or --train-size"
        )
    return made, kind(test, min(size, len(test)), operations, "float32", ranks.share)
