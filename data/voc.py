"""VOC2012 for semantic segmentation, in the official layout (Everingham et al., 2012).

A folder ``VOCdevkit/VOC2012`` with JPEGImages/ID.jpg, SegmentationClass/ID.png, whose palette indices are the labels
(0 background, 1 to 20 the classes, 255 void), and ImageSets/Segmentation/train.txt and val.txt, one ID in a line.
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from minidl.data.archive import Archive, unpack
from minidl.data.dataset import VOID, Bytes, Dataset
from minidl.kernels.errors import MinidlError

CLASSES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
FOLDER = "VOCdevkit/VOC2012"
ARCHIVE = Archive(
    name="VOCtrainval_11-May-2012.tar",
    md5="6cd6e144f989b92b3379bac3b3de84fd",
    mirrors=(
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "http://pjreddie.com/media/files/VOCtrainval_11-May-2012.tar",
    ),
)


def load(root: Path, progress: bool = True) -> tuple[Dataset, Dataset]:
    """Return the training and the validation part, with masks.

    ``root/VOCdevkit/VOC2012`` is used as it is, or ``root`` itself if it is that folder or the one above it; otherwise
    the images that have masks are unpacked there from the official archive, after a download of 2 GB if ``root`` does
    not hold it. Raises MinidlError for files that are missing, damaged or do not fit together.
    """
    places = root / FOLDER, root / "VOC2012", root
    folder = next((path for path in places if (path / "ImageSets").is_dir()), None) or places[0]
    if not folder.exists():
        unpack(ARCHIVE, FOLDER, _with_masks, root, progress)
    return _part(folder, "train", progress), _part(folder, "val", progress)


def _with_masks(names: Sequence[str]) -> list[str]:
    """Choose the files of the archive that are needed."""
    ids = [match[1] for name in names if (match := re.fullmatch(r"SegmentationClass/(\w+)\.png", name))]
    lists = [f"ImageSets/Segmentation/{part}.txt" for part in ("train", "val")]
    return [*lists, *(f"SegmentationClass/{id}.png" for id in ids), *(f"JPEGImages/{id}.jpg" for id in ids)]


def _part(folder: Path, part: str, progress: bool) -> Dataset:
    path = folder / "ImageSets" / "Segmentation" / f"{part}.txt"
    try:
        ids = path.read_text().split()
    except (OSError, ValueError) as problem:
        raise MinidlError(f"{path} cannot be read ({problem}); {_remedy(folder)}") from problem
    if not ids:
        raise MinidlError(f"{path} names no images; {_remedy(folder)}")
    pairs = [
        _read_pair(folder, path, id)
        for id in tqdm(ids, desc=f"voc2012 {part}", leave=False, disable=None if progress else True)
    ]
    return Dataset("voc2012", [image for image, _ in pairs], None, (), [mask for _, mask in pairs], CLASSES)


def _read_pair(folder: Path, path: Path, id: str) -> tuple[Bytes, Bytes]:
    """Return image (y, x, 3) and mask (y, x)."""
    files = folder / "JPEGImages" / f"{id}.jpg", folder / "SegmentationClass" / f"{id}.png"
    for file in files:
        if not file.exists():
            raise MinidlError(f"{path} names {id}, but there is no {file}; {_remedy(folder)}")
    labels = _decode(files[1])
    if labels.mode not in ("P", "L"):
        raise MinidlError(
            f"{files[1]} has no byte for each pixel's label (its mode is {labels.mode}); use the official palette image"
        )
    image, mask = np.asarray(_decode(files[0]).convert("RGB")), np.asarray(labels)
    if mask.shape != image.shape[:2]:
        raise MinidlError(
            f"{files[0]} has {image.shape[0]}×{image.shape[1]} pixels but its mask {files[1]} has "
            f"{mask.shape[0]}×{mask.shape[1]}; use a mask of the image's size"
        )
    wrong = mask[(mask >= len(CLASSES)) & (mask != VOID)]
    if wrong.size:
        raise MinidlError(
            f"{files[1]} has the label {wrong[0]}; the labels are 0 to {len(CLASSES) - 1}, and {VOID} for void"
        )
    return image, mask


def _decode(file: Path) -> Image.Image:
    try:
        picture = Image.open(file)
        picture.load()
    except Exception as problem:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise MinidlError(f"{file} cannot be decoded as an image ({problem}); replace it") from problem
    return picture


def _remedy(folder: Path) -> str:
    return f"use the official files, or move {folder} away so that they are unpacked or downloaded again"
