"""A row's run: a training in a process of its own, begun, gone on with, or left where it has finished."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidl.experiment.own_code import OwnFile, import_options
from minidl.experiment.records import CONFIG, read_result
from minidl.experiment.rows import Row
from minidl.kernels.cpu.threads import available_cores
from minidl.method import parse


@dataclass(frozen=True)
class RowRun:
    """The run of a row with a seed; settings: of its budget; folder: where its record is; files: that it imports."""

    row: Row
    seed: int
    settings: dict[str, Any]
    folder: Path
    files: Sequence[OwnFile] = ()

    @property
    def result(self) -> dict[str, Any] | None:
        """The result, None where the run has not finished."""
        return read_result(self.folder)

    def carry_out(self, options: argparse.Namespace) -> str:
        """Train, unless it has finished; return what went wrong, or nothing."""
        if self.result is not None:
            return ""
        done = subprocess.run(
            self._command(options),
            env=os.environ | {"PYTHONSAFEPATH": "1"},  # Python 3.11: modules that lie where the user is stay out
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == 0:
            return ""
        said = done.stderr.strip().splitlines() or [f"its run ended with status {done.returncode} and said nothing"]
        return f"{self.row}, seed {self.seed}: {said[-1]}"

    def _command(self, options: argparse.Namespace) -> list[str]:
        command = [sys.executable, "-m", "minidl", "train", "--quiet"]
        command += ["--threads", str(max(1, available_cores() // options.jobs))]
        command += import_options([file.record for file in self.files])
        if options.data_root:
            command += ["--data-root", options.data_root]
        if (self.folder / CONFIG).exists():
            return [*command, "--resume", str(self.folder)]
        row = self.row
        command += ["--data", row.data, "--model", row.model, "--method", row.method, "--seed", str(self.seed)]
        command += ["--out", str(self.folder)]
        for name, value in self.settings.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        return command


def run_of(out: Path, row: Row, seed: int, settings: dict[str, Any], files: Sequence[OwnFile] = ()) -> RowRun:
    """Return the run of a row, in a folder under ``out``; rows of two tables that are one training share it.

    Runs that import files of one's own have folders of their own, by what is in the files.
    """
    method = str(parse(row.method).canonical()).lower().replace(", ", "_").replace(" ", "-")
    cost = "-".join(f"{name[0]}{value}" for name, value in sorted(settings.items()) if name != "test_every") or "full"
    own = "".join(f"-{file.record['sha256'][:8]}" for file in files)
    return RowRun(row, seed, settings, out / f"{row.data}-{row.model}-{method}-{cost}-seed{seed}{own}", files)
