"""The display of a comparison: a progress bar for each method, and a line for each finished run."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from tqdm.auto import tqdm

from minidl.experiment.saving.records import read_log
from minidl.experiment.saving.result import line
from minidl.experiment.sweeps.method_run import MethodRun


class Display:
    """Shows runs of ``epochs`` each, grouped by method; shows nothing if it is quiet."""

    def __init__(self, runs: Sequence[MethodRun], epochs: int, quiet: bool) -> None:
        self.runs, self.epochs, self.quiet = runs, epochs, quiet
        self.going_on = {run.folder for run in runs if run.result is None}
        self.bars: dict[str, Any] = {}

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        if not self.quiet:
            tqdm.write(text, sys.stdout)

    def __enter__(self) -> None:
        methods = list(dict.fromkeys(run.method for run in self.runs))
        width = max(map(len, methods))
        for place, method in enumerate(methods):
            total = self.epochs * sum(run.method == method for run in self.runs)
            self.bars[method] = tqdm(
                total=total,
                desc=f"{method:{width}}",
                position=place,
                leave=False,
                disable=True if self.quiet else None,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} epochs{postfix}, {elapsed}",
            )
        self.look()

    def look(self) -> None:
        """Move the bars by the logs of the runs."""
        for method, bar in self.bars.items():
            if bar.disable:
                continue
            done = 0
            for run in (run for run in self.runs if run.method == method):
                epochs = read_log(run.folder) if run.folder in self.going_on else []
                done += len(epochs) if run.folder in self.going_on else self.epochs
                if epochs:
                    bar.set_postfix_str(f"loss {epochs[-1].train_loss:.4f}", refresh=False)
            bar.n = done
            bar.refresh()

    def ended(self, run: MethodRun) -> None:
        """Print the result of a run."""
        new = run.folder in self.going_on
        self.going_on.discard(run.folder)
        result = run.result
        if new and result is not None:
            self.say(line(run.title, result))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in self.bars.values():
            bar.close()
