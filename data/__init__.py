"""Data sets by name: each is a training and a test part held in memory as bytes.

The module of a set is imported when the set is loaded, so that ``import minidl.data`` stays fast.
"""

import os
from pathlib import Path

from minidl.data.dataset import Dataset, of_one_size
from minidl.kernels.arguments import whole
from minidl.kernels.errors import MinidlError
from minidl.words import meant

__all__ = ["NAMES", "Dataset", "absolute", "check_sizes", "default_root", "is_here", "load", "located"]

NAMES = ("shapes", "cifar10", "cifar100", "voc2012")


def load(
    name: str,
    root: str | os.PathLike[str] | None = None,
    progress: bool = True,
    size: int | None = None,
    fit: str | None = None,
) -> tuple[Dataset, Dataset]:
    """Return the training and the test part of a data set.

    ``name`` is one of ``NAMES`` or the path of a folder of images with one subfolder per class. ``root`` is
    the folder for downloaded sets (default: ``default_root()``). ``progress`` shows a progress bar for what takes
    long. ``size`` and ``fit`` are for a folder of images: the pixels of a side (32), and how images get that size, see
    ``minidl.data.fit`` ("stretch"). Raises MinidlError if there is no such set or its files cannot be used.
    """
    check_sizes(name, size, fit)
    if name == "shapes":
        from minidl.data.shapes import load as load_shapes

        return load_shapes()
    if name in ("cifar10", "cifar100"):
        from minidl.data.cifar import load as load_cifar

        return load_cifar(name, default_root() if root is None else _path(root), progress)

    if name == "voc2012":
        from minidl.data.voc import load as load_voc

        return load_voc(default_root() if root is None else _path(root), progress)

    path = _path(name) if isinstance(name, str | os.PathLike) else None
    if path is None or not os.path.isdir(path):
        guess = meant(name, NAMES) if isinstance(name, str) and not _is_spelt_as_a_path(name) else ""
        found = "a file, and " if path is not None and os.path.exists(path) else ""
        raise MinidlError(
            f"{name!r} is {found}neither a data set nor a folder{guess}; the data sets are {', '.join(NAMES)}, "
            "and a folder must hold one subfolder of images per class"
        )
    from minidl.data.folder import load as load_folder

    return load_folder(path, size or 32, progress, fit=fit or "stretch")


def check_sizes(
    name: str, size: int | None = None, fit: str | None = None, shrink: int = 1, crop: int | None = None
) -> None:
    """Raise MinidlError for sizes that the images of a set cannot get, before it is read or downloaded.

    size, fit: see ``load``; shrink, crop: see ``Dataset.shrunk`` and ``Dataset.cropped``.
    """
    if size is not None:
        whole("the size of the images", size)
    if name in NAMES and (size or fit):
        raise MinidlError(
            f"the images of {name} have their sizes already; --image-size and --fit are for a folder of images"
        )
    for option, given in (("--shrink", shrink != 1), ("--crop", crop is not None)):
        if given and name != "voc2012":
            raise of_one_size(name, option)


def is_here(name: str, root: str | os.PathLike[str] | None = None) -> bool:
    """Return whether ``load`` would find the set, or the archive that it unpacks, without a download."""
    if name == "shapes":
        return True
    folder = default_root() if root is None else _path(root)
    if name in ("cifar10", "cifar100"):
        from minidl.data.cifar import is_here as cifar_is_here

        return cifar_is_here(name, folder)
    if name == "voc2012":
        from minidl.data.voc import is_here as voc_is_here

        return voc_is_here(folder)
    return os.path.isdir(_path(name))


def default_root() -> Path:
    """Return the folder for downloaded sets: ``minidl`` in ``$XDG_CACHE_HOME``, or else in ``~/.cache``.

    Raises MinidlError where the user has no home.
    """
    return _path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "minidl"


def located(name: str) -> str:
    """Return the name of a set as it is, and the path of a folder as an absolute path."""
    return name if name in NAMES or not os.path.isdir(_path(name)) else str(absolute(name))


def absolute(path: str) -> Path:
    """Return an absolute path; raise MinidlError if it begins with an unknown home."""
    return Path(os.path.abspath(_path(path)))


def _is_spelt_as_a_path(name: str) -> bool:
    return name.startswith((".", "~")) or any(mark in name for mark in (os.sep, os.altsep) if mark)


def _path(text: str | os.PathLike[str]) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise MinidlError(
            f"it is not known where {os.fspath(text)} is, as its user has no home; write the path in full, that of the "
            "folder for data sets after --data-root"
        ) from error
