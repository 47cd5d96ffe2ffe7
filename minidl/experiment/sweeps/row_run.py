"""A row's run: the training of a row of a table with a seed, in its own process."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minidl.experiment.cli.own_code import OwnFile
from minidl.experiment.options import Options
from minidl.experiment.recipes import recipe
from minidl.experiment.sweeps.process_run import ProcessRun, slug
from minidl.experiment.sweeps.rows import Row


@dataclass(frozen=True)
class RowRun(ProcessRun):
    """The run of a row with a seed."""

    row: Row
    seed: int

    @property
    def epochs(self) -> int:
        """The number of epochs of the run."""
        return int(self.options.get("epochs", recipe(self.row.data).epochs))

    @property
    def budget(self) -> str:
        """The settings of its budget, such as "epochs 15, train_size 10000", or "the paper's recipe"."""
        own = {"data", "model", "method", "seed", "import", "test_every"}
        return ", ".join(f"{k} {v}" for k, v in sorted(self.options.items()) if k not in own) or "the paper's recipe"


def run_of(out: Path, row: Row, seed: int, budget: Options, files: Sequence[OwnFile] = ()) -> RowRun:
    """Return the run of a row, in a folder under ``out``; rows of two tables share it if they are the same training.

    budget: options for the length of the training and the amount of data. Runs that import user-defined files have
    separate folders, which depend on the files' contents.
    """
    cost = "-".join(f"{name[0]}{value}" for name, value in sorted(budget.items()) if name != "test_every") or "full"
    own = "".join(f"-{file.record['sha256'][:8]}" for file in files)
    folder = out / f"{row.data}-{row.model}-{slug(row.method)}-{cost}-seed{seed}{own}"
    options = {"data": row.data, "model": row.model, "method": row.method, "seed": seed, **budget}
    options["import"] = [str(file.path) for file in files]
    return RowRun(f"{row}, seed {seed}", folder, options, row, seed)


def trained_seeds(out: Path) -> set[int]:
    """Return the seeds with runs under ``out``, as runs of earlier calls are part of a table."""
    names = (path.name.rpartition("-seed")[2].partition("-")[0] for path in out.glob("*-seed*"))
    return {int(name) for name in names if name.isdecimal()}
