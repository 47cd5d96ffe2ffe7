"""Predictions: which classes are taken for which, and the pictures of which a net was surest, right and wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.data.pictures import palette
from minidl.kernels.augment import VOID
from minidl.kernels.errors import MinidlError
from minidl.study.report.blocks import Matrix, Picture, Pictures, Section
from minidl.study.report.images import address
from minidl.study.report.looked import Looked, look
from minidl.study.report.runs import Group

Array = Any
SHOWN = 6  # pictures in a row
OVERLAID = 2  # best and worst images whose every pixel has a label
WIDTH, OVERLAY = 96, 112  # pixels of the page for a picture, and for one with every pixel labelled


def predictions(groups: Sequence[Group], root: str | None, count: int | None) -> Section:
    """Return the section; see ``look`` for where the images come from."""
    section = Section(
        "Predictions",
        "The predictions of each run's net for test images; of several seeds, the first. A row of the matrix is a true "
        "class, a column a predicted class. Below it are the images of which the net was surest.",
    )
    section.notes += [group.divergence for group in groups if group.divergence]
    for group in groups:
        try:
            looked = look(group.first, root, count)
        except MinidlError as error:
            section.notes.append(f"{group.label}: its predictions cannot be shown, because {error}.")
            continue
        section.blocks.append(_matrix(group, looked))
        section.blocks += _overlays(group, looked) if looked.per_pixel else _surest(group, looked)
    return section


def _matrix(group: Group, looked: Looked) -> Matrix:
    counts, classes = looked.confusion, looked.classes
    wrong = counts - np.diag(counts.diagonal())
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    what = "pixels" if looked.per_pixel else "images"
    number = f"{len(looked.images):,}" + (f" of the {looked.of:,}" if len(looked.images) < looked.of else "")
    right = 100 * counts.diagonal().sum() / counts.sum()
    sentence = f"In {number} test images, {right:.1f} % of the {what} are right."
    if wrong[i, j]:
        sentence += f" Most often, {classes[i]} is taken for {classes[j]}: {wrong[i, j]:,} times."
    lines = [(name, line.tolist()) for name, line in zip(classes, counts, strict=True) if line.sum()]
    return Matrix(f"{group.net}: what is taken for what", sentence, classes, lines, group.label)


def _surest(group: Group, looked: Looked) -> list[Pictures]:
    """Return the images that were right and those that were wrong, those of which the net was surest first."""
    hit = np.array(looked.truth) == np.array(looked.found)
    found = []
    for which, chosen in (("right", hit), ("wrong", ~hit)):
        order = [i for i in np.argsort(-looked.certainty, kind="stable") if chosen[i]][:SHOWN]
        pictures = [_one(looked, i, right=which == "right") for i in order]
        sentence = (
            f"The net gave these a probability of {100 * looked.certainty[order[0]]:.1f} to "
            f"{100 * looked.certainty[order[-1]]:.1f} %."
            if order
            else f"None of the images is {which}."
        )
        found.append(Pictures(f"{group.net}: surest and {which}", sentence, pictures, group.label))
    return found


def _one(looked: Looked, i: int, right: bool) -> Picture:
    truth, found = looked.classes[looked.truth[i]], looked.classes[looked.found[i]]
    said = f"{truth}" if right else f"{truth}, taken for {found}"
    return Picture(address(looked.images[i], WIDTH), f"Test image: {said}", said, WIDTH)


def _overlays(group: Group, looked: Looked) -> list[Pictures]:
    """Return the images with most and with fewest pixels right, with the true classes and with those found on them."""
    order = [i for i in np.argsort(-looked.certainty, kind="stable") if np.isfinite(looked.certainty[i])]
    chosen = [*order[:OVERLAID], *order[-OVERLAID:]] if len(order) > 2 * OVERLAID else order
    pictures = []
    for i in chosen:
        image, truth, found = looked.images[i], looked.truth[i], looked.found[i]
        share = f"{100 * looked.certainty[i]:.0f} % right"
        pictures += [
            Picture(address(image, 2 * WIDTH), "Test image", share, OVERLAY),
            _overlay(looked, image, truth, "truth"),
            _overlay(looked, image, found, "found"),
        ]
    sentence = "The images with most and with fewest pixels right: the image, with the truth, and with the prediction."
    return [Pictures(f"{group.net}: best and worst", sentence, pictures, group.label)]


def _overlay(looked: Looked, image: Array, labels: Array, what: str) -> Picture:
    """Return an image under the colours of its classes; the first class, which is background, has none."""
    coloured = (labels > 0) & (labels != VOID)
    mixed = np.where(coloured[..., None], image // 3 + palette()[labels] // 3 * 2, image).astype(np.uint8)
    names = [looked.classes[label] for label in np.unique(labels) if label not in (0, VOID)]
    said = f"{what}: {', '.join(names) or looked.classes[0]}"
    return Picture(address(mixed, 2 * WIDTH), said, said, OVERLAY)
