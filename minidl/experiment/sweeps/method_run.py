"""A method's run: the training with one of the compared methods and a seed, in its own process."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minidl.experiment.cli.own_code import OwnFile, begun_with, records_of
from minidl.experiment.options import Options
from minidl.experiment.saving import records
from minidl.experiment.sweeps.process_run import ProcessRun, slug


@dataclass(frozen=True)
class MethodRun(ProcessRun):
    """The run of a method with a seed."""

    method: str
    seed: int


def run_of(out: Path, method: str, seed: int, common: Options, files: Sequence[OwnFile] = ()) -> MethodRun:
    """Return the run of a method with a seed, in a folder under ``out``; common: the options of all runs.

    files: the imported ones. A resumed run imports those with which it began; raises MinidlError if one is missing.
    """
    folder = out / f"{slug(method)}-seed{seed}"
    if (folder / records.CONFIG).exists() and records.read_result(folder) is None:
        files = begun_with(files, records_of(records.read_settings(folder), folder), folder)
    options = common | {"method": method, "seed": seed, "import": [str(file.path) for file in files]}
    return MethodRun(f"{method}, seed {seed}", folder, options, method, seed)
