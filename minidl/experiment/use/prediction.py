"""Predictions of a saved net for picture files, which are read one after another."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minidl.data.images import suffixes
from minidl.data.pictures import palette, png
from minidl.experiment.saving import checkpoint
from minidl.experiment.saving.files import write_whole
from minidl.kernels.errors import MinidlError
from minidl.net import Net
from minidl.words import printable

TOGETHER = 64  # pictures that go through a net at a time
OVERLAY = 0.5  # the share of a label's colour in an overlay
SIDE = 256  # pixels of the longer side of a picture that is kept for drawing

Bytes = NDArray[np.uint8]


@dataclass
class Predicted:
    """The prediction for a file.

    found: the classes with their probabilities, the most likely first, or with their shares of the pixels; error: why
    there are none. drawn: the picture, small, and what is drawn beside it, if the picture will be drawn.
    """

    path: Path
    found: list[tuple[str, float]] = field(default_factory=list)
    error: str = ""
    files: dict[str, Path] = field(default_factory=dict)
    drawn: list[Bytes] = field(default_factory=list)

    def as_fields(self, top: int) -> dict[str, Any]:
        """Return the fields that --json prints."""
        if self.error:
            return {"file": str(self.path), "error": self.error}
        classes = [{"class": name, "share" if self.files else "probability": share} for name, share in self.found[:top]]
        return {"file": str(self.path), "classes": classes} | {kind: str(path) for kind, path in self.files.items()}

    def sentence(self, top: int) -> str:
        """Return the line that is printed for it."""
        found = ", ".join(f"{name} {share:.1%}" for name, share in self.found[:top])
        labels = f" ({self.files['labels'].name})" if self.files else ""
        return printable(f"{self.path}: {self.error or found}{labels}")


def net_of(run: Path, device: str) -> Net:
    """Return the net of a run, a checkpoint or an export; raise MinidlError for one that cannot take pictures."""
    net = checkpoint.load(run, device)
    if net.preprocessing is None:
        raise MinidlError(
            f"{run} does not say how pictures are prepared for its net, which minidl 0.1.0 did not save; go on with it "
            "for an epoch by minidl train --resume, and its checkpoint will"
        )
    return net


def check_order(run: Path, pictures: Sequence[Path]) -> None:
    """Raise MinidlError if a saved net is given among the pictures, as where the two are exchanged."""
    for one in filter(checkpoint.is_saved, pictures):
        if checkpoint.is_saved(run):
            raise MinidlError(f"{one} is a saved net like {run}, not a picture; give one net and the pictures after it")
        raise MinidlError(
            f"{run} is not a saved net, but {one} is one; the net comes before the pictures: {quote(str(one))} "
            f"{quote(str(run))}"
        )


def find(places: Sequence[Path]) -> list[Path]:
    """Return the given files, and all pictures in the given folders, in the order of their names.

    Raises MinidlError for a folder without any.
    """
    files: list[Path] = []
    for place in places:
        if os.path.isdir(place):
            walked = sorted(Path(folder, name) for folder, _, names in os.walk(place) for name in names)
            inside = [path for path in walked if path.suffix.lower() in suffixes() and not path.name.startswith(".")]
            if not inside:
                raise MinidlError(f"{place} holds no pictures; give files, or a folder with some")
            files += inside
        else:
            files.append(place)
    return files


def predict(net: Net, files: Iterable[Path], out: Path, draw: int) -> Iterator[Predicted]:
    """Yield the prediction for each file, in order, or the reason why the file cannot be read.

    out: for a net that labels pixels, the folder for the labels and an overlay of each picture; draw: how many of the
    pictures are kept for drawing.
    """
    look = _segment(net, out) if len(net.output_shape) == 3 else _classify(net)
    together = 1 if len(net.output_shape) == 3 else TOGETHER
    waiting: list[tuple[Predicted, Bytes | None]] = []
    for number, path in enumerate(files):
        one = Predicted(path)
        waiting.append((one, _read(net, one, number < draw)))
        if len(waiting) == together:
            yield from _looked_at(waiting, look)
            waiting = []
    yield from _looked_at(waiting, look)


Look = Callable[[list[Predicted], list[Bytes]], None]


def _read(net: Net, one: Predicted, drawn: bool) -> Bytes | None:
    """Return the picture in a file as the net takes it, or None with the reason."""
    known = net.preprocessing
    assert known is not None
    if not os.path.exists(one.path):
        one.error = f"there is no picture {one.path}"
        return None
    try:
        picture = known.read(one.path)
        if drawn:
            one.drawn.append(_small(picture))
        return known.fitted(picture)
    except MinidlError as error:
        one.error = str(error)
    except MemoryError:
        one.error = f"{one.path} needs more memory than is free"
    return None


def _looked_at(waiting: list[tuple[Predicted, Bytes | None]], look: Look) -> Iterator[Predicted]:
    readable = [(one, picture) for one, picture in waiting if picture is not None]
    if readable:
        look([one for one, _ in readable], [picture for _, picture in readable])
    yield from (one for one, _ in waiting)


def _classify(net: Net) -> Look:
    def look(ones: list[Predicted], pictures: list[Bytes]) -> None:
        for one, row in zip(ones, probabilities(net.predict(pictures)), strict=True):
            one.found = _ranked(net.classes, row)

    return look


def _segment(net: Net, out: Path) -> Look:
    colours, taken = palette(), set[str]()

    def look(ones: list[Predicted], pictures: list[Bytes]) -> None:
        for one, picture in zip(ones, pictures, strict=True):
            try:
                labels = net.predict([picture])[0].argmax(axis=-1).astype(np.uint8)
            except MemoryError:
                one.error = f"{one.path} needs more memory than is free; make it smaller"
                continue
            overlay = ((1 - OVERLAY) * picture + OVERLAY * colours[labels]).astype(np.uint8)
            shares = np.bincount(labels.ravel(), minlength=len(net.classes)) / labels.size
            one.found = [(name, share) for name, share in _ranked(net.classes, shares) if share > 0]
            name = _new_name(one.path.stem, taken)
            one.files = {"labels": out / f"{name}-labels.png", "overlay": out / f"{name}-overlay.png"}
            write_whole(one.files["labels"], png(labels, colours))
            write_whole(one.files["overlay"], png(overlay))
            if one.drawn:
                one.drawn.append(_small(overlay))

    return look


def probabilities(logits: Any) -> NDArray[np.float64]:
    """Return the softmax of each row."""
    with np.errstate(invalid="ignore"):  # of a net that has diverged
        shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
        softmax: NDArray[np.float64] = shifted / shifted.sum(axis=-1, keepdims=True)
    return softmax


def _ranked(classes: Sequence[str], shares: Any) -> list[tuple[str, float]]:
    return [(classes[i], float(shares[i])) for i in np.argsort(-shares, kind="stable")]


def _new_name(stem: str, taken: set[str]) -> str:
    """Return a unique name for a picture's files, even on systems that ignore case."""
    name = stem = stem[:80]
    for number in count(2):
        if name.lower() not in taken:
            break
        name = f"{stem}-{number}"
    taken.add(name.lower())
    return name


def _small(picture: Bytes) -> Bytes:
    image = Image.fromarray(picture)
    image.thumbnail((SIDE, SIDE))
    return np.asarray(image)
