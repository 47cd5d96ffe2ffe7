"""A method's run: the training with one of the methods that are compared and a seed, in a process of its own."""

from dataclasses import dataclass
from pathlib import Path

from minidl.experiment.options import Options
from minidl.experiment.process_run import ProcessRun, slug


@dataclass(frozen=True)
class MethodRun(ProcessRun):
    """The run of a method with a seed."""

    method: str
    seed: int


def run_of(out: Path, method: str, seed: int, common: Options) -> MethodRun:
    """Return the run of a method with a seed, in a folder under ``out``; common: the options that all runs have."""
    options = common | {"method": method, "seed": seed}
    return MethodRun(f"{method}, seed {seed}", out / f"{slug(method)}-seed{seed}", options, method, seed)
