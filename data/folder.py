"""Folder of images with one subfolder per class, as a data set."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from minidl.data import memory
from minidl.data.dataset import Bytes, Dataset
from minidl.data.fit import check_fit
from minidl.data.images import WHITE, Colour, constant_note, read, suffixes, to_bytes
from minidl.kernels.errors import MinidlError

TEST_SHARE = 5
"""Every fifth image is a test image where the folder does not say which are."""

ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
}
"""What a subfolder of this name, in any case, is for."""

Files = dict[str, list[Path]]


@dataclass
class _Aside:
    """Files that the user should know about."""

    unread: list[Path] = field(default_factory=list)
    beside: list[Path] = field(default_factory=list)
    deeper: list[Path] = field(default_factory=list)

    def notes(self, path: Path) -> Iterator[str]:
        """Yield a sentence for each kind that occurred."""
        for files, text in (
            (self.unread, "in the class folders left out, not being images of a kind that is read here"),
            (self.beside, "left out, lying beside the class folders and thus in no class"),
            (self.deeper, "in folders inside a class folder taken as images of that class"),
        ):
            if files:
                count = f"{len(files):,} {'file' if len(files) == 1 else 'files'}"
                yield f"{_title(path.resolve())}: {count} {text}, such as {files[0].relative_to(path)}"


def load(
    path: Path, size: int = 32, progress: bool = True, background: Colour = WHITE, fit: str = "stretch"
) -> tuple[Dataset, Dataset]:
    """Return the training and the test part of a folder, with every image fitted to ``size`` x ``size`` by ``fit``.

    The parts are the subfolders train (or training) and test (testing), or else val (valid, validation), in upper or
    lower case, each with one subfolder per class. Without them, every fifth image of a class in the order of names, or
    its last one, is a test image. The classes are numbered in the order of their names, and include the images in
    deeper folders. ``background`` shows through transparent pixels.

    Files with one value of more than 8 bits for each pixel are scaled by their values: values up to 255 count as 8
    bits; floats up to 1 are fractions of white; with larger values, white is 4,095 (12 bits) if no file of the folder
    exceeds it and otherwise 65,535, the same for all of these files.

    The notes of the training part say what was left out and what looks odd. Raises MinidlError for fewer than two
    classes, a class without images, with too few to split or with a name that cannot be printed, a part without the
    other one, an image that cannot be decoded or scaled, more images than fit into memory, and, before anything is
    read, an unknown fit.
    """
    check_fit(fit)
    aside = _Aside()
    parts, unused = _parts(path, aside)
    if parts:
        train, test = (_files(part, aside) for part in parts)
        if unknown := sorted(set(test) - set(train)):
            raise MinidlError(
                f"{parts[1]} has the class {unknown[0]!r}, which {parts[0]} has not; "
                "the test images must be of the training classes"
            )
    else:
        train, test = _split(path, _files(path, aside))
    classes = tuple(train)
    if len(classes) < 2:
        inside = f", or give {aside.deeper[0].parent.parent} if the classes are in there" if aside.deeper else ""
        raise MinidlError(
            f"{path} has only one class, {classes[0]!r}; it must hold one subfolder per class, two or more{inside}"
        )
    numbers = {label: number for number, label in enumerate(classes)}
    labelled = [(file, numbers[label]) for part in (train, test) for label in part for file in part[label]]
    name, count = _title(path.resolve()), sum(map(len, train.values()))
    images, white, odd = _read_all(name, [file for file, _ in labelled], size, background, progress, fit)
    labels = np.array([label for _, label in labelled], dtype=np.int64)
    notes = (*unused, *aside.notes(path), *odd)
    return (
        Dataset(name, images[:count], labels[:count], classes, white=white, notes=notes),
        Dataset(name, images[count:], labels[count:], classes, white=white),
    )


def _parts(path: Path, aside: _Aside) -> tuple[tuple[Path, Path] | None, list[str]]:
    """Return the folders of the training and the test images, if the folder has parts, and a note on unused ones."""
    folders = _folders(path)
    roles: dict[str, Path] = {}
    for folder in folders:
        role = ROLES.get(folder.name.lower())
        if role in roles:
            raise MinidlError(
                f"{path} has both {roles[role].name!r} and {folder.name!r}, which mean the same part; "
                "put their images into one of them"
            )
        if role:
            roles[role] = folder
    if not roles:
        return None, []
    name = _title(path.resolve())
    train, test = roles.get("train"), roles.get("test") or roles.get("val")
    if train and test:
        aside.beside += _images(path)
        unused = [folder.name for folder in folders if folder not in (train, test)]
        note = f"{name}: {', '.join(unused)} not used, the parts are {train.name} and {test.name}"
        return (train, test), [note] if unused else []
    if not train:
        names = " and ".join(folder.name for folder in roles.values())
        raise MinidlError(
            f"{path} has {names} but no training part; put the folders of the training classes into a folder 'train'"
        )
    if len(folders) > 1 and not _folders(train):
        return None, [f"{name}: {train.name} is taken as a class like the others, not as a training part"]
    raise MinidlError(
        f"{path} has {train.name} but no test part; add a folder 'test' or 'val' with one subfolder per class, or give "
        f"{train} instead, of which every fifth image then becomes a test image"
    )


def _files(path: Path, aside: _Aside) -> Files:
    """Return the image files of each class, both in the order of names."""
    folders = _folders(path)
    aside.beside += _images(path)
    barred = {place.resolve() for place in (path, *path.resolve().parents, *folders)}
    files = {}
    for folder in folders:
        _check_name(folder)
        found = list(_walk(folder, barred))
        files[folder.name] = [file for file in found if _is_image(file)]
        aside.unread += [file for file in found if not _is_image(file)]
        aside.deeper += [file for file in files[folder.name] if file.parent != folder]
    if not any(files.values()):
        raise MinidlError(
            f"{path} has no subfolders with images; it must hold one subfolder per class with files of the "
            f"kinds {' '.join(sorted(suffixes()))}"
        )
    for name, images in files.items():
        if not images:
            unread = [file.name for file in aside.unread if path / name in file.parents]
            but = f" of a kind that is read here, but {unread[0]}" if unread else ""
            raise MinidlError(f"{path / name} holds no images{but}; add some or remove this class")
    return files


def _title(folder: Path) -> str:
    """Return the name of a folder with ? for each character that cannot be printed or written in UTF-8."""
    unprintable = ("Cc", "Cs", "Zl", "Zp")  # controls, half characters, ends of lines and paragraphs
    return "".join("?" if unicodedata.category(one) in unprintable else one for one in folder.name)


def _check_name(folder: Path) -> None:
    """Raise MinidlError for a class whose name would be a command to a terminal, or cannot be written in UTF-8."""
    if _title(folder) != folder.name:
        raise MinidlError(f"{folder} has a character in its name that cannot be printed; rename this class")


def _walk(folder: Path, barred: set[Path]) -> Iterator[Path]:
    """Yield the files in a folder and below, in the order of names, each folder once.

    Links that lead to ``barred`` or further up are not followed.
    """
    seen = set(folder.resolve().parents)
    waiting = [_sorted(folder)]
    while waiting:
        for entry in waiting[-1]:
            if not os.path.isdir(entry):
                yield entry
            elif (place := entry.resolve()) not in seen and place not in barred:
                seen.add(place)
                waiting.append(_sorted(entry))
                break
        else:
            waiting.pop()


def _folders(path: Path) -> list[Path]:
    return [entry for entry in _sorted(path) if os.path.isdir(entry)]


def _images(path: Path) -> list[Path]:
    return [entry for entry in _sorted(path) if _is_image(entry) and not os.path.isdir(entry)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in suffixes()


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
        tested = set(test[name])
        train[name] = [image for image in images if image not in tested]
    return train, test


def _read_all(
    name: str, files: Sequence[Path], size: int, background: Colour, progress: bool, fit: str
) -> tuple[Bytes, int, list[str]]:
    """Return the images, uint8 (n, size, size, 3), the white of those of more than 8 bits, and notes on odd ones."""
    memory.check(name, 3 * size * size * len(files))
    images = np.empty((len(files), size, size, 3), dtype=np.uint8)
    grey: dict[int, tuple[Bytes | NDArray[np.float32], int]] = {}
    for index, file in enumerate(
        tqdm(files, desc="images", unit="image", leave=False, disable=None if progress else True)
    ):
        values, white = read(file, (size, size), background, fit)
        if values.ndim == 2:
            grey[index] = values, white
        else:
            images[index] = values
    # One white for all that have more than 8 bits, so that a dark image stays darker than the others.
    largest = max((white for _, white in grey.values()), default=255)
    for index, (values, white) in grey.items():
        images[index] = to_bytes(values, white, largest)
    notes = list(constant_note(name, files, images))
    narrow = [files[index] for index, (_, white) in grey.items() if white == 255 < largest]
    if narrow:
        notes.append(
            f"{name}: {len(narrow):,} of {len(grey):,} images of more than 8 bits have no value above 255 and were "
            f"read as images of 8 bits, such as {narrow[0]}"
        )
    return images, largest, notes
