"""User-defined code: Python files that a command imports, and that define normalizations and models.

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
from typing import Any, TypeVar

from minidl.experiment.cli.argument_types import place

Kind = TypeVar("Kind")
RUN: set[str] = set()  # the files that have been run
MOST_BYTES = 1 << 24  # of one file
Record = dict[str, str]  # of a file: its path and the hash of its contents, as in a run's configuration


def add_option(cli: Any) -> None:
    """Add ``--import FILE``, which may be repeated, to a parser or a group of it."""
    cli.add_argument(
        "--import",
        action="append",
        type=place,
        metavar="FILE",
        help="import your own Python file, such as my_norm.py, which defines normalizations (minidl.normalization) or "
        "models (minidl.model); may be repeated",
    )


def import_files(paths: Sequence[str] | None) -> list["OwnFile"]:
    """Import the files of ``--import``, if any, and return them.

    Raises MinidlError if one is missing, or fails; then the message has the line.
    """
    files = read(paths)
    for file in files:
        file.run()
    return files


def read(paths: Sequence[str] | None) -> list["OwnFile"]:
    """Read the files of ``--import`` without running them."""
    return [OwnFile.read(Path(path)) for path in paths or ()]


@dataclass(frozen=True)
class OwnFile:
    """A file that has been read; it runs as a module with the file's name."""

    path: Path
    content: bytes

    @classmethod
    def read(cls, path: Path) -> "OwnFile":
        """Return the file at a path; raise MinidlError if it cannot be read."""
        from minidl.data import regular_file  # here, as --help does not wait for NumPy

        try:
            return cls(path.resolve(), regular_file.read(path, MOST_BYTES))
        except OSError as error:
            raise _error(
                f"the file {path} cannot be imported ({error.strerror}); --import takes a file in Python"
            ) from error

    @property
    def record(self) -> Record:
        """The path and the hash of the file, for a run's configuration."""
        return {"file": str(self.path), "sha256": sha256(self.content).hexdigest()}

    def run(self) -> None:
        """Run the file as a module, unless it has already run with the same contents.

        Raises MinidlError, with the line, if it fails or ends the program, or if it has the name of another module.
        """
        module = ModuleType(self._name())
        module.__file__ = str(self.path)
        vars(module)["__own_file__"] = self
        earlier = sys.modules.get(module.__name__)
        if getattr(earlier, "__own_file__", None) == self:
            return
        sys.modules[module.__name__] = module
        RUN.add(str(self.path))
        try:
            exec(compile(self.content, str(self.path), "exec"), vars(module))
        except (Exception, SystemExit) as error:
            if earlier is None:
                del sys.modules[module.__name__]
            else:
                sys.modules[module.__name__] = earlier
            raise _error(mistake(error, str(self.path)) or f"{self.path}, line 1: {said(error)}") from error

    def classes(self, base: type[Kind]) -> list[type[Kind]]:
        """Return the subclasses of ``base`` that the file defined when it ran, in order."""
        known = vars(sys.modules[self.path.stem]).values()
        defined = [one for one in known if isinstance(one, type) and one.__module__ == self.path.stem]
        return [one for one in dict.fromkeys(defined) if issubclass(one, base)]

    def _name(self) -> str:
        """Return the module's name, which no other module may have."""
        name = self.path.stem
        if self.path.suffix != ".py" or not name.isidentifier():
            raise _error(f"the file {self.path.name} cannot be a module; give it a name such as my_norm.py")
        known = sys.modules.get(name)
        spec = find_spec(name) if known is None else known.__spec__  # None for a module of --import
        if spec is not None and (spec.origin is None or Path(spec.origin).resolve() != self.path):
            raise _error(f"{self.path} has the name of another module; rename it, such as my_{name}.py")
        return name


def mistake(error: BaseException, *files: str) -> str:
    """Return an error as a sentence that begins with the last line of an imported file in its traceback.

    files: those to search for, by default all imported ones. Without such a line, return "".
    """
    places = [(at.filename, at.lineno) for at in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((str(error.filename), error.lineno))
    blamed = [f"{file}, line {line or 1}" for file, line in places if file in (files or RUN)]
    return f"{blamed[-1]}: {said(error)}" if blamed else ""


def import_options(records: Sequence[Record]) -> list[str]:
    """Return the command-line arguments that import the same files."""
    return [word for record in records for word in ("--import", record["file"])]


def records_of(settings: Mapping[str, Any], folder: Path) -> list[Record]:
    """Return the files that the run in a folder imported; raise MinidlError if its settings are damaged there.

    Runs of minidl 0.1.0 could not import files, and their settings do not mention them.
    """
    try:
        return [{name: str(record[name]) for name in ("file", "sha256")} for record in settings.get("import", ())]
    except (TypeError, KeyError):
        raise _error(
            f"the configuration of the run in {folder} does not say by file and sha256 what it imports; put it back as "
            "it was, or start a new run"
        ) from None


def check_same(given: Sequence[OwnFile], earlier: Sequence[Record], folder: Path) -> None:
    """Raise MinidlError unless the given files are those with which the run in a folder began.

    earlier: their records, as ``records_of`` returns them; the files may have moved since.
    """
    if len(begun_with(given, earlier, folder)) < len(given):
        said = f"with {_names(earlier)} alone" if earlier else "without --import"
        raise _error(f"the run in {folder} was begun {said}; go on with it in the same way, or start a new run")


def begun_with(given: Sequence[OwnFile], earlier: Sequence[Record], folder: Path) -> list[OwnFile]:
    """Return those files with which the run in a folder began; raise MinidlError if one is missing."""
    check_unchanged(given, earlier, folder)
    known = {file.record["sha256"]: file for file in given}
    if any(record["sha256"] not in known for record in earlier):
        raise _error(
            f"the run in {folder} was begun with {_names(earlier)}; minidl imports only files that you name, so add "
            "that option"
        )
    return [known[record["sha256"]] for record in earlier]


def check_unchanged(given: Sequence[OwnFile], earlier: Sequence[Record], folder: Path) -> None:
    """Raise MinidlError if a file has the name of one with which the run in a folder began, but other contents.

    Files of the same name define the same names, wherever they are, so they could be confused.
    """
    before = {Path(record["file"]).name: record["sha256"] for record in earlier}
    for file in given:
        was, now = before.get(file.path.name), file.record["sha256"]
        if was not in (None, now):
            raise _error(
                f"{file.path} is not what the run in {folder} was begun with (its SHA-256 was {was[:12]}… and is "
                f"{now[:12]}…); put it back as it was, or start a new run in another folder"
            )


def _names(records: Sequence[Record]) -> str:
    return join(import_options(records))


def said(error: BaseException) -> str:
    """Return the message of an error in user-defined code, with its type unless that is MinidlError."""
    from minidl.kernels.errors import MinidlError

    if isinstance(error, SystemExit):
        return 'it ends the program here; remove that, or put it under: if __name__ == "__main__"'
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return text if isinstance(error, MinidlError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def _error(text: str) -> Exception:
    from minidl.kernels.errors import MinidlError  # here, as --help does not wait for NumPy

    return MinidlError(text)
