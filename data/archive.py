"""Archives: a data set's files are unpacked from a tar file, downloaded or put there by hand, into a folder."""

import os
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minidl.kernels.errors import MinidlError

Choice = Callable[[list[str]], Sequence[str]]


@dataclass(frozen=True)
class Archive:
    """A tar file, its md5 checksum, and where it can be had, the official place first."""

    name: str
    md5: str
    mirrors: tuple[str, ...]


def unpack(archive: Archive, folder: str, files: Sequence[str] | Choice, root: Path, progress: bool) -> Path:
    """Return ``root/folder`` after writing these files of the archive's ``folder`` there.

    ``files`` are paths in that folder, or a function that chooses them from all those of the archive. An archive in
    ``root`` is used, otherwise it is downloaded into it. The folder appears only when it is whole. Nothing but the
    content of the files named is taken from the archive: no path, no link, no permission. Raises MinidlError if the
    archive cannot be had, is damaged or does not hold the files.
    """
    path = root / archive.name
    _provide(archive, path, progress)
    try:
        with tempfile.TemporaryDirectory(dir=root, prefix=archive.name) as scratch, tarfile.open(path) as content:
            whole = Path(scratch, "whole")
            if callable(files):
                names = (name for name in content.getnames() if name.startswith(f"{folder}/"))
                files = files([name.removeprefix(f"{folder}/") for name in names])
            for file in files:
                member = content.extractfile(f"{folder}/{file}")
                if member is None:
                    raise KeyError(f"{folder}/{file} is not a file")
                (whole / file).parent.mkdir(parents=True, exist_ok=True)
                (whole / file).write_bytes(member.read())
            (root / folder).parent.mkdir(parents=True, exist_ok=True)
            os.replace(whole, root / folder)
    except (OSError, KeyError, tarfile.TarError) as problem:
        raise MinidlError(f"{path} could not be unpacked into {root}: {problem}") from problem
    return root / folder


def _provide(archive: Archive, path: Path, progress: bool) -> None:
    """Download the archive, or check the one that is there."""
    from minidl.data import download

    if not path.exists():
        download.fetch(archive.mirrors, path, archive.md5, progress)
    elif (found := download.md5_of(path)) != archive.md5:
        raise MinidlError(
            f"{path} is damaged: its md5 checksum is {found} instead of {archive.md5}; delete it so that it is "
            "downloaded again, or replace it with the official file"
        )
