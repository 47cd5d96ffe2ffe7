"""The display of a table's runs: a progress bar of their epochs, and a line for each finished run."""

import sys
from collections.abc import Sequence
from types import TracebackType

from tqdm.auto import tqdm

from minidl.experiment.saving.records import read_log
from minidl.experiment.saving.result import line
from minidl.experiment.sweeps.row_run import RowRun


class Display:
    """Shows how many runs are done, how many epochs are left, and how long these take if all take equally long."""

    def __init__(self, runs: Sequence[RowRun]) -> None:
        self.runs = runs
        self.left = [run for run in runs if run.result is None]

    def __enter__(self) -> "Display":
        self.bar = tqdm(
            total=sum(run.epochs for run in self.runs),
            initial=self._done(),
            leave=False,
            disable=None,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt} epochs, {elapsed}, {remaining} left",
        )
        self.look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def _done(self) -> int:
        return sum(len(read_log(run.folder)) if run in self.left else run.epochs for run in self.runs)

    def look(self) -> None:
        """Move the bar by the logs of the runs."""
        if not self.bar.disable:
            self.bar.set_description_str(f"{len(self.runs) - len(self.left)} of {len(self.runs)} runs", refresh=False)
            self.bar.n = self._done()
            self.bar.refresh()

    def ended(self, run: RowRun) -> None:
        """Print the result of a run."""
        if run not in self.left or (result := run.result) is None:
            return
        self.left.remove(run)
        done = len(self.runs) - len(self.left)
        tqdm.write(f"{line(run.title, result)}; {done} of {len(self.runs)} runs done", sys.stderr)
