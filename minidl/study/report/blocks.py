"""What a page is made of: sections of blocks, each drawn by the macro of its kind in page.html."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

Rows = list[dict[str, Any]]


@dataclass
class Chart:
    """A chart by Vega-Lite, with its sentence and its numbers.

    sentence: what it shows, computed; spec: of Vega-Lite, drawn from data that are named "rows". They are ``rows``, or
    those of ``cube``, which gives the fields of a row the names of quantities of the trace. ``at`` says what is cut out
    of them: "step" for what holds at the chosen step, "layer" for what is in the chosen layer, or both. ``picks`` is
    which of the two a click sets, by its place along an axis: {"x": "layer"}. unit: stands after the numbers at an axis
    whose labels are ``charts.WITH_UNIT``. The table has a line for each value of the field ``line``, and columns for
    each combination of the fields ``columns`` and each of ``values``, which has fields and their titles. wide: over the
    whole page; run: the label of the run that it is of, which the chips may hide.
    """

    kind: ClassVar[str] = "chart"
    title: str
    sentence: str
    spec: dict[str, Any]
    line: str
    columns: Sequence[str]
    values: dict[str, str]
    rows: Rows = field(default_factory=list)
    cube: dict[str, str] = field(default_factory=dict)
    at: str = ""
    unit: str = ""
    picks: dict[str, str] = field(default_factory=dict)
    wide: bool = False
    run: str = ""
    key: str = ""


@dataclass
class Table:
    """A table of text; run: the label of the run that it is of, which the chips may hide."""

    kind: ClassVar[str] = "table"
    title: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    run: str = ""


@dataclass
class Matrix:
    """A confusion matrix; lines: of each true class, how often it was taken for each of the classes."""

    kind: ClassVar[str] = "matrix"
    title: str
    sentence: str
    classes: Sequence[str]
    lines: Sequence[tuple[str, list[int]]]
    run: str = ""


@dataclass
class Picture:
    """A picture with what a screen reader says of it, and what stands below it; width: in pixels of the page."""

    source: str
    said: str
    caption: str
    width: int


@dataclass
class Pictures:
    """Pictures in a row."""

    kind: ClassVar[str] = "pictures"
    title: str
    sentence: str
    pictures: Sequence[Picture]
    run: str = ""


@dataclass
class Hooked:
    """A hook at a point, and the labels of the runs in which it hangs there."""

    name: str
    runs: list[str]


@dataclass
class Stop:
    """A layer on the way of data, errors and gradients; a point that the layer does not have is None."""

    name: str
    what: str
    output: str
    parameters: str
    weights: list[Hooked] | None
    grads: list[Hooked] | None
    error: list[Hooked] | None


@dataclass
class Diagram:
    """A net with its hook points; runs: that have this net."""

    kind: ClassVar[str] = "diagram"
    title: str
    sentence: str
    stops: Sequence[Stop]


@dataclass
class Section:
    """A section of the page; notes: sentences on what could not be shown; narrow: with more blocks in a row."""

    title: str
    text: str
    blocks: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    narrow: bool = False
