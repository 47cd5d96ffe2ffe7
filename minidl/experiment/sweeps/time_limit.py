"""Time limit of several runs: a run begins only if it will end before the limit."""

import math
import statistics
import time
from collections.abc import Sequence

from minidl.experiment.sweeps.row_run import RowRun


class TimeLimit:
    """A limit of so many minutes from now, or none; table: runs whose results tell how long a run of a net takes."""

    def __init__(self, minutes: float | None, table: Sequence[RowRun]) -> None:
        self.end = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self.table = table
        self.left_out: list[RowRun] = []

    def fits(self, run: RowRun) -> bool:
        """Return whether a run will end in time, and remember it if not.

        The estimate is the median time of the finished runs of its net; if there is none, any remaining time is enough.
        """
        alike = [other for other in self.table if other.row.model == run.row.model]
        seconds = [result["seconds"] for other in alike if (result := other.result)]
        fits = run.result is not None or time.monotonic() + statistics.median(seconds or [0.0]) < self.end
        if not fits:
            self.left_out.append(run)
        return fits
