"""Files of a trace in the folder of a run: trace.csv, carry.csv and filters.npz; written completely or not at all.

trace.py says what the columns and arrays mean. A number that is nan or infinite is written as a blank cell, and read
as nan. The members of filters.npz are named STEP/LAYER/POINT/WHEN, such as 50/conv1/grads/before.
"""

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field, fields
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minidl.data import regular_file
from minidl.experiment.saving import spreadsheet
from minidl.experiment.saving.files import as_csv, write_whole
from minidl.kernels.arguments import path_of
from minidl.kernels.errors import MinidlError
from minidl.words import meant

TRACE, CARRY, FILTERS = "trace.csv", "carry.csv", "filters.npz"
LONG = 1 << 30  # bytes of filters.npz, and of its contents
PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class Row:
    """One step in one layer with weights: a line of trace.csv; see trace.py for each column."""

    step: int
    layer: str
    data_mean: float
    alike: float
    out_std: float
    active: float
    dead: float
    w_norm: float
    w_mean: float
    w_removed: float
    e_norm: float
    e_removed: float
    g_norm: float
    g_mean: float
    g_removed: float
    flips: float
    angle: float
    bias_angle: float
    step_ratio: float
    step_mean: float
    step_lost: float


@dataclass(frozen=True)
class Carry:
    """A line of carry.csv: how much ``s`` times a step would change the loss of its batch."""

    step: int
    s: float
    loss: float


class Filters(NamedTuple):
    """The name of an array of filters.npz: of a step, a layer, a point ("weights", "grads"), "before" or "after"."""

    step: int
    layer: str
    point: str
    when: str


@dataclass
class Trace:
    """A trace: its rows and carries by their steps, and the arrays (filters, 6) of filters.npz in float32."""

    rows: list[Row] = field(default_factory=list)
    carries: list[Carry] = field(default_factory=list)
    filters: dict[Filters, NDArray[np.float32]] = field(default_factory=dict)

    def until(self, step: int) -> "Trace":
        """Return the part of the trace before a step."""
        return Trace(
            [row for row in self.rows if row.step < step],
            [carry for carry in self.carries if carry.step < step],
            {name: array for name, array in self.filters.items() if name.step < step},
        )

    @property
    def layers(self) -> list[str]:
        """The layers, in the order of the forward pass."""
        return list(dict.fromkeys(row.layer for row in self.rows))

    @property
    def steps(self) -> list[int]:
        """The traced steps, in order."""
        return list(dict.fromkeys(row.step for row in self.rows))

    def column(self, name: str) -> NDArray[np.float64]:
        """Return a column of numbers as an array (steps, layers), nan if it is not defined.

        Raises MinidlError if there is no such column.
        """
        names = [field.name for field in fields(Row) if field.name != "layer"]
        if name not in names:
            raise MinidlError(
                f"a trace has no column of numbers {name!r}{meant(str(name), names)}; use {', '.join(names)}"
            )
        return np.array([getattr(row, name) for row in self.rows]).reshape(len(self.steps), len(self.layers))


def is_traced(folder: Path) -> bool:
    """Return whether the run in a folder has a trace."""
    return (folder / TRACE).exists()


def write(folder: Path, trace: Trace) -> None:
    """Write a trace into the folder of its run, each file completely or not at all."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **{"/".join(map(str, name)): array for name, array in trace.filters.items()})  # type: ignore[arg-type]
    write_whole(folder / FILTERS, packed.getvalue())
    write_whole(folder / CARRY, _table(Carry, trace.carries))
    write_whole(folder / TRACE, _table(Row, trace.rows))


def read(folder: str | Path) -> Trace:
    """Return the trace of the run in a folder.

    Raises MinidlError if there is none, or a file is missing, damaged or incomplete.
    """
    folder = path_of("folder of read", folder)
    if not is_traced(folder):
        raise MinidlError(f"there is no trace in {folder} ({TRACE} is missing); train with --trace to get one")
    rows = [Row(step, row.values["layer"], *numbers) for row, step, *numbers in _numbers(folder / TRACE, Row)]
    _check_layers(folder / TRACE, rows)
    carries = [Carry(step, *numbers) for _, step, *numbers in _numbers(folder / CARRY, Carry)]
    return Trace(rows, carries, _read_filters(folder / FILTERS))


def _table(kind: type, lines: Iterable[Any]) -> str:
    return as_csv([[field.name for field in fields(kind)], *(list(map(_cell, astuple(line))) for line in lines)])


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return value


def _numbers(path: Path, kind: type) -> Iterable[tuple[Any, ...]]:
    """Yield each line of a table, its step and its other numbers; steps must not decrease."""
    columns = [field.name for field in fields(kind)]
    names, last = [name for name in columns if name not in ("step", "layer")], 0.0
    for row in spreadsheet.read(path, columns):
        step = row.number("step")
        if not step.is_integer() or step < last:
            raise MinidlError(
                f"line {row.line} of {path} holds step {step:g} where a whole number of at least {last:g} is expected; "
                "put the file back as it was"
            )
        last = step
        yield row, int(step), *(row.number(name, blank_is_nan=True) for name in names)


def _check_layers(path: Path, rows: Sequence[Row]) -> None:
    """Raise MinidlError if a step has not the same layers as the first step."""
    expected: list[str] = []
    for step, group in groupby(rows, lambda row: row.step):
        layers = [row.layer for row in group]
        expected = expected or layers
        if layers != expected:
            raise MinidlError(
                f"step {step} in {path} has the layers {', '.join(layers)} where {', '.join(expected)} are expected; "
                "put the file back as it was"
            )


def _read_filters(path: Path) -> dict[Filters, NDArray[np.float32]]:
    try:
        with regular_file.opened(path, LONG) as file, np.load(file, allow_pickle=False) as arrays:
            if (size := sum(member.file_size for member in arrays.zip.infolist())) > LONG:
                raise ValueError(f"it would take {size:,} bytes")
            return {_filters(name): _checked(arrays[name]) for name in arrays.files}
    except Exception as error:  # NumPy and zipfile raise OSError, ValueError, NotImplementedError, zlib.error and more
        raise MinidlError(f"{path} cannot be read ({error}); put the file back as it was") from error


def _filters(name: str) -> Filters:
    step, layer, point, when = name.split("/")
    return Filters(int(step), layer, point, when)


def _checked(array: Any) -> NDArray[np.float32]:
    if array.ndim != 2 or array.shape[1] != len(PERCENTILES) + 1 or array.dtype.kind != "f":
        raise ValueError(f"an array of {array.dtype} has the shape {array.shape}")
    return array.astype(np.float32)
