"""Columns: a table as lines of text, each column as wide as its longest word."""

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Return a line for each row; align: "<" (left) or ">" (right) for each column.

    >>> columns([("layer", "mean"), ("conv1", "8 %")], "<>")
    ['layer  mean', 'conv1   8 %']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = list(zip(align, widths, strict=True))
    lines = ("  ".join(f"{word:{side}{width}}" for word, (side, width) in zip(row, cells, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]
