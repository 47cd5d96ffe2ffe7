"""Looking again: the net of a run sees test images once more, which are those that it was tested on."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from minidl import data, models
from minidl.data.dataset import Dataset
from minidl.experiment import sources
from minidl.experiment.saving import checkpoint
from minidl.experiment.saving.fingerprint import fingerprint
from minidl.experiment.use.prediction import probabilities
from minidl.kernels.augment import VOID
from minidl.kernels.errors import MinidlError
from minidl.net import Net
from minidl.study.report.runs import Run

Array = Any
ADAPTED = ("train_size", "test_size", "shrink", "crop", "image_size", "fit")  # settings of how a set is made
IMAGES = {False: 1000, True: 16}  # that are looked at where nothing else is said, by whether every pixel has a label


@dataclass(frozen=True)
class Looked:
    """What a net made of test images.

    images: a list of bytes (y, x, 3); truth, found: of each image its label, or labels (y, x) with VOID where there is
    none; certainty: of each image the probability of what was found, of pixels the share that is right. of: how many
    test images there are.
    """

    classes: tuple[str, ...]
    images: list[Array]
    truth: list[Array]
    found: list[Array]
    certainty: Array
    of: int
    per_pixel: bool

    @property
    def confusion(self) -> Array:
        """How often each class (line) was taken for each class (column)."""
        n = len(self.classes)
        truth, found = (
            np.concatenate([np.ravel(x) for x in part]).astype(np.int64) for part in (self.truth, self.found)
        )
        labelled = truth != VOID if self.per_pixel else truth >= 0
        return np.bincount(truth[labelled] * n + found[labelled], minlength=n * n).reshape(n, n)


def look(run: Run, root: str | None, count: int | None) -> Looked:
    """Return what the net of a run finds in ``count`` test images, or in IMAGES of them, always the same ones.

    root: where data sets lie, or None for where the run had them. Raises MinidlError where the checkpoint or the data
    are missing, where the data are not those that the run was tested on or have no labels, and where the net's output
    is no number any more. Nothing is downloaded.
    """
    settings = run.settings
    net, about = checkpoint.load(run.checkpoint, "cpu"), checkpoint.description(run.checkpoint)
    adapted = tuple(settings.get(name) for name in ADAPTED)
    test, mark = _test_set(settings["data"], root or settings.get("data_root"), adapted)
    described = (about.get("data") or {}).get("test")
    if described and described["fingerprint"] != mark:
        raise MinidlError(f"the test images of {test.name} are not those that the run was tested on")
    per_pixel = models.per_pixel(about["model"])
    seen = test.subset(min(len(test), count or IMAGES[per_pixel]))
    truth = seen.masks if per_pixel else seen.labels
    if truth is None:
        raise MinidlError(f"{test.name} has no labels that net ({about['model']}) could be compared with")
    classes = test.mask_classes if per_pixel else test.classes
    images, labels = list(seen.images), list(truth)
    if per_pixel:
        found = [_output(net, image[None])[0].argmax(axis=-1) for image in images]
        certainty = np.array([_right(a, b) for a, b in zip(labels, found, strict=True)])
    else:
        output = _output(net, np.stack(images))
        found = list(output.argmax(axis=-1))
        certainty = probabilities(output).max(axis=-1)
    looked = Looked(classes, images, labels, found, certainty, len(test), per_pixel)
    if not looked.confusion.any():
        raise MinidlError(f"none of the {len(images)} images that were predicted has a label; try more with --images")
    return looked


def _output(net: Net, images: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):  # of a net that has diverged, which is said below
        prepared = net.preprocessing.prepare(images) if net.preprocessing else images  # the set is shrunk already
        output = net.predict(prepared).astype(np.float64)
    if not np.isfinite(output).all():
        raise MinidlError("the output of the net is not a number any more")
    return output


def _right(truth: Array, found: Array) -> float:
    """Return the share of the pixels with a label that were found, nan where none has one."""
    labelled = truth != VOID
    return float((truth == found)[labelled].mean()) if labelled.any() else float("nan")


@lru_cache(maxsize=1)
def _test_set(name: str, root: str | None, adapted: tuple[Any, ...]) -> tuple[Dataset, str]:
    """Return the test set of a run and its fingerprint; runs that are compared mostly share it.

    adapted: the settings of ADAPTED.
    """
    if not data.is_here(name, root):
        where = f"the folder {name}" if name not in data.NAMES else f"{name} in {root or data.default_root()}"
        raise MinidlError(f"its data are not there: {where}; say where they are with --data-root")
    options = dict(zip(ADAPTED, adapted, strict=True))
    options["shrink"] = options["shrink"] or 1
    _, test = sources.load({"data": name, "data_root": root, "quiet": True, **options})
    return test, fingerprint(test)
