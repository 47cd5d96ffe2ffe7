"""One's own code: Python files that a command imports, and that name normalizations and models there.

A file is imported because the command line says so, never because a configuration or a checkpoint names it.
"""

import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from shlex import join
from types import ModuleType
from typing import Any

Record = dict[str, str]  # of a file: its path and the hash of what is in it, as a run's configuration has them


def add_option(cli: Any) -> None:
    """Add ``--import FILE``, which may be repeated, to a parser or a group of it."""
    cli.add_argument(
        "--import",
        action="append",
        metavar="FILE",
        help="import a Python file of your own, such as my_norm.py, which names normalizations (minidl.normalization) "
        "or models (minidl.model); may be repeated",
    )


def import_files(paths: Sequence[str] | None) -> list["OwnFile"]:
    """Import the files of ``--import``, if any, and return them.

    Raises MinidlError where one is missing, and where one fails, with the line.
    """
    files = read(paths)
    for file in files:
        file.run()
    return files


def read(paths: Sequence[str] | None) -> list["OwnFile"]:
    """Read the files of ``--import``, none of which is run yet."""
    return [OwnFile.read(Path(path)) for path in paths or ()]


@dataclass(frozen=True)
class OwnFile:
    """A file that was read, to be run as a module of its own name."""

    path: Path
    content: bytes

    @classmethod
    def read(cls, path: Path) -> "OwnFile":
        """Return the file at a path; raise MinidlError where it cannot be read."""
        try:
            return cls(path.resolve(), path.read_bytes())
        except OSError as error:
            raise _error(
                f"the file {path} cannot be imported ({error.strerror}); --import takes a file in Python"
            ) from error

    @property
    def record(self) -> Record:
        """What a run remembers of the file."""
        return {"file": str(self.path), "sha256": sha256(self.content).hexdigest()}

    def run(self) -> None:
        """Run the file as a module; raise MinidlError, with the line, where it fails or has the name of another one."""
        module = ModuleType(self._name())
        module.__file__ = str(self.path)
        earlier = sys.modules.get(module.__name__)
        sys.modules[module.__name__] = module
        try:
            exec(compile(self.content, str(self.path), "exec"), vars(module))
        except Exception as error:
            if earlier is None:
                del sys.modules[module.__name__]
            else:
                sys.modules[module.__name__] = earlier
            raise _error(f"{self.path}, line {self._line(error)}: {_said(error)}") from error

    def _name(self) -> str:
        """Return the module's name, which no other module may have."""
        name = self.path.stem
        if self.path.suffix != ".py" or not name.isidentifier():
            raise _error(f"the file {self.path.name} cannot be a module; give it a name such as my_norm.py")
        known = sys.modules.get(name)
        spec = find_spec(name) if known is None else known.__spec__  # None for what came by --import
        if spec is not None and (spec.origin is None or Path(spec.origin).resolve() != self.path):
            raise _error(f"{self.path} has the name of another module; rename it, such as my_{name}.py")
        return name

    def _line(self, error: Exception) -> int:
        """Return the last line of the file that took part in an error."""
        if isinstance(error, SyntaxError) and error.filename == str(self.path):
            return error.lineno or 1
        lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == str(self.path)]
        return (lines and lines[-1]) or 1


def import_options(records: Sequence[Record]) -> list[str]:
    """Return the words of a command line by which the same files are imported."""
    return [word for record in records for word in ("--import", record["file"])]


def records_of(settings: Mapping[str, Any], folder: Path) -> list[Record]:
    """Return what the run in a folder has imported; raise MinidlError where its settings do not say it as they should.

    Runs of minidl 0.1.0 could import nothing, and say nothing of it.
    """
    try:
        return [{name: str(record[name]) for name in ("file", "sha256")} for record in settings.get("import", ())]
    except (TypeError, KeyError):
        raise _error(
            f"the configuration of the run in {folder} does not say by file and sha256 what it imports; put it back as "
            "it was, or start a new run"
        ) from None


def check_same(given: Sequence[OwnFile], earlier: Sequence[Record], folder: Path) -> None:
    """Raise MinidlError unless the files that are given now are those that the run in a folder was begun with.

    earlier: their records, as ``records_of`` returns them.
    """
    names = join(import_options(earlier))
    if len(given) < len(earlier):
        raise _error(
            f"the run in {folder} was begun with {names}, and nothing is imported that you do not name; add that"
        )
    if len(given) > len(earlier):
        said = f"with {names} alone" if earlier else "without --import"
        raise _error(f"the run in {folder} was begun {said}; go on with it in the same way, or start a new run")
    for file, record in zip(given, earlier, strict=True):
        if file.record["sha256"] != record["sha256"]:
            raise _error(
                f"{file.path} is not what the run in {folder} was begun with (its SHA-256 was {record['sha256'][:12]}… "
                f"and is {file.record['sha256'][:12]}…); put it back as it was, or start a new run"
            )


def _said(error: Exception) -> str:
    from minidl.kernels.errors import MinidlError

    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return text if isinstance(error, MinidlError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def _error(text: str) -> Exception:
    from minidl.kernels.errors import MinidlError  # here, as --help does not wait for NumPy

    return MinidlError(text)
