"""Regular file: open a path without waiting, and read it only if it is a file of limited length.

A path that somebody else has chosen may lead to a device, a pipe or a sparse file, where reading does not end.
"""

import errno
import os
import stat
from hashlib import sha256
from typing import BinaryIO

Path = str | os.PathLike[str]
BLOCK = 1 << 20  # bytes


def opened(path: Path, limit: int) -> BinaryIO:
    """Return a file of at most ``limit`` bytes, opened to be read as bytes.

    Raises OSError as ``open`` does, and also if the path does not lead to a file, if the file is longer, and if no file
    can have such a name; ``strerror`` says which.
    """
    try:
        # O_NONBLOCK: otherwise, opening a pipe would wait for a writer.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:  # a NUL, or a character that names of files cannot have
        raise OSError(errno.EINVAL, "no file can have such a name", os.fspath(path)) from None
    try:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a file, but a folder, a pipe or a device", os.fspath(path))
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"{found.st_size:,} bytes, more than {limit:,}", os.fspath(path))
        return os.fdopen(number, "rb")
    except OSError:
        os.close(number)
        raise


def read(path: Path, limit: int) -> bytes:
    """Return the content of a file of at most ``limit`` bytes; raises OSError as ``opened`` does."""
    with opened(path, limit) as file:
        content = file.read(limit + 1)
    if len(content) > limit:  # it has grown since, or is one of those of /proc, which say that they are empty
        raise OSError(errno.EFBIG, f"more than {limit:,} bytes", os.fspath(path))
    return content


def checksum(file: BinaryIO) -> str:
    """Return the SHA-256 checksum of a whole file in hexadecimal digits."""
    digest = sha256()
    file.seek(0)
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()
