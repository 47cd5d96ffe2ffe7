"""Table: words in rows and columns; printed as text here, and as HTML by a page's template."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of words.

    head: of each column; align: "<" (left) or ">" (right) for each column; groups: titles above columns that belong
    together, each with its number of columns, from the first column on.

    >>> print(Table(("layer", "mean"), "<>", [("conv1", "8 %")]))
    layer  mean
    conv1   8 %
    """

    head: tuple[str, ...]
    align: str
    rows: Sequence[tuple[str, ...]]
    groups: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        rows = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        above, first = "", 0
        for title, count in self.groups:
            above = above.ljust(sum(widths[:first]) + 2 * first) + title
            first += count
            widths[first - 1] += max(0, len(above) - sum(widths[:first]) - 2 * (first - 1))  # space for the title
        cells = list(zip(self.align, widths, strict=True))
        lines = ["  ".join(f"{word:{side}{n}}" for word, (side, n) in zip(row, cells, strict=True)) for row in rows]
        return "\n".join(line.rstrip() for line in ([above] if above else []) + lines)
