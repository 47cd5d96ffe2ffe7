"""A row's run: the training of a row of a table with a seed, in a process of its own."""

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
        """How many epochs the run takes."""
        return int(self.options.get("epochs", recipe(self.row.data).epochs))

    @property
    def budget(self) -> str:
        """What its budget sets for the training, such as "epochs 15, train_size 10000", or "the paper's recipe"."""
        own = {"data", "model", "method", "seed", "import", "test_every"}
        return ", ".join(f"{k} {v}" for k, v in sorted(self.options.items()) if k not in own) or "the paper's recipe"


def run_of(out: Path, row: Row, seed: int, budget: Options, files: Sequence[OwnFile] = ()) -> RowRun:
    """Return the run of a row, in a folder under ``out``; rows of two tables that are one training share it.

    budget: options that say for how long it is trained, on how much. Runs that import files of one's own have folders
    of their own, by what is in the files.
    """
    cost = "-".join(f"{name[0]}{value}" for name, value in sorted(budget.items()) if name != "test_every") or "full"
    own = "".join(f"-{file.record['sha256'][:8]}" for file in files)
    folder = out / f"{row.data}-{row.model}-{slug(row.method)}-{cost}-seed{seed}{own}"
    options = {"data": row.data, "model": row.model, "method": row.method, "seed": seed, **budget}
    options["import"] = [str(file.path) for file in files]
    return RowRun(f"{row}, seed {seed}", folder, options, row, seed)


def trained_seeds(out: Path) -> set[int]:
    """Return the seeds of which there are runs under ``out``: what earlier calls have trained is part of a table."""
    names = (path.name.rpartition("-seed")[2].partition("-")[0] for path in out.glob("*-seed*"))
    return {int(name) for name in names if name.isdecimal()}
