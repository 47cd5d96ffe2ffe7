"""Data sets by name: each is a training and a test part held in memory as bytes.

A set's own module is imported when the set is asked for, so that ``import minidl.data`` stays cheap.
"""

import os
from pathlib import Path

from minidl.data.dataset import Dataset
from minidl.kernels.errors import MinidlError

__all__ = ["NAMES", "Dataset", "default_root", "load"]

NAMES = ("shapes", "cifar10", "cifar100", "voc2012")


def load(name: str, root: str | os.PathLike[str] | None = None, progress: bool = True) -> tuple[Dataset, Dataset]:
    """Return the training and the test part of a data set.

    ``name`` is one of ``NAMES`` or the path of a folder of images with one subfolder per class. ``root`` is
    the folder where downloaded sets are, or are put (default: ``default_root()``). ``progress`` shows a
    progress bar where something takes long. Raises MinidlError if there is no such set or its files cannot be
    used.
    """
    if name == "shapes":
        from minidl.data.shapes import load as load_shapes

        return load_shapes()
    if name in ("cifar10", "cifar100"):
        from minidl.data.cifar import load as load_cifar

        return load_cifar(name, default_root() if root is None else Path(root).expanduser(), progress)

    if name == "voc2012":
        from minidl.data.voc import load as load_voc

        return load_voc(default_root() if root is None else Path(root).expanduser(), progress)

    path = Path(name).expanduser()
    if not path.is_dir():
        raise MinidlError(
            f"{name!r} is neither a data set nor a folder; the data sets are {', '.join(NAMES)}, "
            "and a folder must hold one subfolder of images per class"
        )
    from minidl.data.folder import load as load_folder

    return load_folder(path, progress=progress)


def default_root() -> Path:
    """Return the folder for downloaded sets: ``minidl`` in ``$XDG_CACHE_HOME``, or else in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minidl"
