"""A folder of images with one subfolder per class."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from minidl.data.dataset import Dataset
from minidl.kernels.errors import MinidlError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})

TEST_SHARE = 5
"""Every fifth image is a test image where the folder does not say which are."""

Files = dict[str, list[Path]]


def load(path: Path, size: int = 32, progress: bool = True) -> tuple[Dataset, Dataset]:
    """Return the training and the test part of a folder, with every image stretched to ``size`` x ``size``.

    Subfolders ``train`` and ``test``, each with one subfolder per class, are the parts; without them every
    fifth image of a class in the order of names, or its last one, is a test image. The classes are numbered
    in the order of their names. Raises MinidlError for fewer than two classes, a class without images or with
    too few to split, and an image that cannot be decoded.
    """
    if (path / "train").is_dir() and (path / "test").is_dir():
        train, test = _files(path / "train"), _files(path / "test")
        if unknown := sorted(set(test) - set(train)):
            raise MinidlError(
                f"{path / 'test'} has the class {unknown[0]!r}, which {path / 'train'} has not; "
                "the test images must be of the training classes"
            )
    else:
        train, test = _split(path, _files(path))
    classes = tuple(train)
    if len(classes) < 2:
        raise MinidlError(
            f"{path} has only one class, {classes[0]!r}; it must hold one subfolder per class, two or more"
        )
    name = path.resolve().name
    return _decode(name, train, classes, size, progress), _decode(name, test, classes, size, progress)


def _files(path: Path) -> Files:
    """Return the image files of each class, both in the order of names."""
    folders = [folder for folder in _sorted(path) if folder.is_dir()]
    files = {folder.name: [file for file in _sorted(folder) if file.suffix.lower() in SUFFIXES] for folder in folders}
    if not any(files.values()):
        raise MinidlError(
            f"{path} has no subfolders with images; it must hold one subfolder per class with files of the "
            f"kinds {' '.join(sorted(SUFFIXES))}"
        )
    for name, images in files.items():
        if not images:
            raise MinidlError(f"{path / name} holds no images; add some or remove this class")
    return files


def _sorted(path: Path) -> Iterator[Path]:
    try:
        entries = sorted(path.iterdir(), key=lambda entry: entry.name)
    except OSError as problem:
        raise MinidlError(f"{path} cannot be read ({problem.strerror})") from problem
    return (entry for entry in entries if not entry.name.startswith("."))


def _split(path: Path, files: Files) -> tuple[Files, Files]:
    train, test = {}, {}
    for name, images in files.items():
        if len(images) < 2:
            raise MinidlError(
                f"{path / name} holds one image only, which cannot be both for training and for testing; "
                "add images to this class or remove it"
            )
        test[name] = images[TEST_SHARE - 1 :: TEST_SHARE] or images[-1:]
        train[name] = [image for image in images if image not in test[name]]
    return train, test


def _decode(name: str, files: Files, classes: Sequence[str], size: int, progress: bool) -> Dataset:
    labelled = [(file, classes.index(label)) for label, images in files.items() for file in images]
    images = np.empty((len(labelled), size, size, 3), dtype=np.uint8)
    for index, (file, _) in enumerate(
        tqdm(labelled, desc=name, unit="image", leave=False, disable=None if progress else True)
    ):
        images[index] = _read_image(file, size)
    labels = np.array([label for _, label in labelled], dtype=np.int64)
    return Dataset(name, images, labels, tuple(classes))


def _read_image(path: Path, size: int) -> NDArray[np.uint8]:
    """Return one image upright, in RGB without transparency, uint8 ``(size, size, 3)``."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                # Pillow would cut a scientific grey image's 65,536 levels off at 255.
                upright = Image.fromarray((np.asarray(upright) // 256).clip(0, 255).astype(np.uint8))
            elif "transparency" in upright.info:
                # Pillow warns where a palette's transparency is dropped on the way from P to RGB.
                upright = upright.convert("RGBA")
            square = upright.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    except Exception as problem:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise MinidlError(f"{path} cannot be decoded as an image ({problem}); replace or remove it") from problem
    return np.asarray(square)
