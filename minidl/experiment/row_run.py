"""A row's run: a training in a process of its own, begun, gone on with, or left where it has finished."""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidl.experiment.records import CONFIG, read_result
from minidl.experiment.rows import Row
from minidl.kernels.cpu.threads import available_cores
from minidl.method import parse


@dataclass(frozen=True)
class RowRun:
    """The run of a row with a seed; settings: of its budget; folder: where its record is."""

    row: Row
    seed: int
    settings: dict[str, Any]
    folder: Path

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


def run_of(out: Path, row: Row, seed: int, settings: dict[str, Any]) -> RowRun:
    """Return the run of a row, in a folder under ``out``; rows of two tables that are one training share it."""
    method = str(parse(row.method).canonical()).lower().replace(", ", "_").replace(" ", "-")
    cost = "-".join(f"{name[0]}{value}" for name, value in sorted(settings.items()) if name != "test_every") or "full"
    return RowRun(row, seed, settings, out / f"{row.data}-{row.model}-{method}-{cost}-seed{seed}")
