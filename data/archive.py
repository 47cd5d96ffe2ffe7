"""Archives: unpack a data set's files into a folder, from a tar file that was downloaded or copied there."""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from minidl.data import regular_file
from minidl.kernels.errors import MinidlError

Choice = Callable[[list[str]], Sequence[str]]
MOST_BYTES = 1 << 32
"""Of all files that are unpacked."""


@dataclass(frozen=True)
class Archive:
    """A tar file, its size in bytes, its SHA-256 checksum, and its download addresses, the official one first."""

    name: str
    size: int
    sha256: str
    mirrors: tuple[str, ...]


def unpack(archive: Archive, folder: str, files: Sequence[str] | Choice, root: Path, progress: bool) -> Path:
    """Return ``root/folder`` after writing these files of the archive's ``folder`` there.

    ``files`` are paths in that folder, or a function that chooses them from all paths of the archive. If ``root`` has
    no archive, it is downloaded into ``root``. The folder appears only when it is complete. Only the content of the
    named files is taken from the archive: no path, no link, no permission. Raises MinidlError if the archive cannot be
    downloaded, is damaged or lacks one of the files.
    """
    path = root / archive.name
    if not os.path.exists(path):
        from minidl.data import download

        download.fetch(archive.mirrors, path, archive.size, archive.sha256, progress)
    with _checked(archive, path) as file:
        try:
            with tempfile.TemporaryDirectory(dir=root, prefix=archive.name) as scratch:
                whole = Path(scratch, "whole")
                _write(file, folder, files, whole)
                (root / folder).parent.mkdir(parents=True, exist_ok=True)
                os.replace(whole, root / folder)
        except Exception as problem:  # the formats of archives raise OSError, EOFError, ValueError, zlib.error and more
            raise MinidlError(f"{path} could not be unpacked into {root}: {problem}") from problem
    return root / folder


@contextmanager
def _checked(archive: Archive, path: Path) -> Iterator[BinaryIO]:
    """Open an archive, and check its size and checksum."""
    advice = "delete it so that it is downloaded again, or replace it with the official file"
    try:
        file = regular_file.opened(path, archive.size)
    except OSError as problem:
        raise MinidlError(f"{path} cannot be used ({problem.strerror}); {advice}") from problem
    with file:
        if (found := regular_file.checksum(file)) != archive.sha256:
            raise MinidlError(
                f"{path} is damaged: its SHA-256 checksum is {found} instead of {archive.sha256}; {advice}"
            )
        file.seek(0)
        yield file


def _write(archive: BinaryIO, folder: str, files: Sequence[str] | Choice, whole: Path) -> None:
    """Write these files of an archive's ``folder`` into the folder ``whole``."""
    left = MOST_BYTES
    with tarfile.open(fileobj=archive) as content:
        members = {member.name: member for member in content.getmembers()}
        if callable(files):
            files = files([name.removeprefix(f"{folder}/") for name in members if name.startswith(f"{folder}/")])
        for file in files:
            member = members.get(f"{folder}/{file}")
            if member is None or not member.isfile():
                raise ValueError(f"there is no file {folder}/{file} in it")
            left -= member.size
            if left < 0:
                raise ValueError(f"its files have more than {MOST_BYTES:,} bytes")
            (whole / file).parent.mkdir(parents=True, exist_ok=True)
            with (whole / file).open("xb") as target:
                shutil.copyfileobj(content.extractfile(member), target)  # type: ignore[arg-type]
