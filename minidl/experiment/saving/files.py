"""Files: written completely or not at all; JSON and comma-separated values."""

import csv
import errno
import io
import json
import math
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from minidl.data import regular_file
from minidl.experiment.cli.system import MORE_FILES, too_many_files
from minidl.experiment.saving import formats
from minidl.kernels.errors import MinidlError
from minidl.words import either

PART = ".part"  # the ending of an incomplete file's name
BRIEF = 1 << 20  # bytes, the most in a configuration or a result
LONG = 1 << 28  # bytes, the most in a table


def make_folder(folder: Path) -> None:
    """Create a folder for what a command writes; raise MinidlError if nothing can be written there, before any work."""
    trial = hidden(folder / "trial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise MinidlError(
            f"the folder {folder} cannot be written ({error.strerror}); give another with --out"
        ) from error


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file completely or not at all, text in UTF-8; raise MinidlError if it cannot be written."""
    with whole(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a new file to write to, which replaces the one at ``path`` when the block has ended.

    The file is on the disk before it gets its name; until then it has a temporary name, which cannot be an existing
    link. If the block fails, the file at ``path`` stays. Raises MinidlError if the file cannot be written, and if a
    folder, a pipe or a device is there.
    """
    part = hidden(path)
    try:
        _check_kind(path)
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        mode = stat.S_IMODE(os.fstat(file).st_mode)
        os.close(file)
        yield part
        os.chmod(part, mode)  # a library may have replaced the file
        _flush(part, os.O_RDWR)
        os.replace(part, path)
        flush_folder(path.parent)
    except OSError as error:
        remedy = MORE_FILES if too_many_files(error) else "its folder must be there, writable and with room left"
        raise MinidlError(f"{path} cannot be written ({error.strerror or error}); {remedy}") from error
    finally:
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)


def _check_kind(path: Path) -> None:
    """Raise MinidlError if there is something at a path that a file must not replace."""
    try:
        mode = path.stat().st_mode  # of what a link leads to, such as /dev/stdout
    except FileNotFoundError:
        return
    except ValueError:  # a NUL, or a character that names of files cannot have
        raise OSError(errno.EINVAL, "no file can have such a name") from None
    if stat.S_ISDIR(mode):
        raise MinidlError(f"{path} is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise MinidlError(f"{path} is not a file, but a pipe or a device, which a file would replace; name another")


def check_ending(path: Path, *endings: str) -> None:
    """Raise MinidlError for a file that a user has named without one of the endings, as it may hold something else."""
    if path.suffix.lower() not in endings and not path.is_dir():
        raise MinidlError(f"{path} does not end in {either(endings)}, as such a file must; choose another name")


def hidden(path: Path) -> Path:
    """Return a unique name in the folder of a path, for a file that replaces it when it is complete."""
    return path.parent / f".{path.name[:40]}.{secrets.token_hex(4)}{PART}"


def flush_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, if the system can."""
    with suppress(OSError):
        _flush(folder, os.O_RDONLY)


def _flush(path: Path, how: int) -> None:
    file = os.open(path, how)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def taking_turns(folder: Path) -> Iterator[None]:
    """Let only one program at a time write into a folder, if its file system has locks."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            flock(opened, LOCK_EX)
        yield
    finally:
        os.close(opened)


def sweep(folder: Path) -> None:
    """Remove from a folder the incomplete files of a killed run."""
    for part in (*folder.glob(f".*{PART}"), *folder.glob(".tmp??????")):  # the second are those of safetensors
        with suppress(OSError):
            part.unlink()


def as_json(value: Any) -> str:
    """Return JSON, with null for infinite numbers and nan."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: finite(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [finite(part) for part in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(value), indent=2, allow_nan=False) + "\n"


def read_json(path: Path, needed: Mapping[str, type], remedy: str) -> dict[str, Any] | None:
    """Return the fields of a JSON file, or None if there is no such file.

    needed: the types of the fields that it must have; remedy: what to do if it cannot be read. Raises MinidlError then,
    and for a later format.
    """
    try:
        fields = {**json.loads(regular_file.read(path, BRIEF).decode("utf-8-sig"))}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise MinidlError(f"{path} cannot be read ({error}); {remedy}") from error
    formats.check(path, fields)
    if missing := [name for name, kind in needed.items() if name not in fields or not isinstance(fields[name], kind)]:
        raise MinidlError(f"{path} cannot be read (it does not say {missing[0]}); {remedy}")
    return fields


def as_csv(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as comma-separated values."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
