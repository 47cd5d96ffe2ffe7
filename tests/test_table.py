"""Tables of words as text."""

import doctest

from minidl.study import table
from minidl.study.table import Table


def test_the_example():
    assert doctest.testmod(table) == (0, 1)


def test_titles_stand_over_their_columns():
    groups = (("", 1), ("what comes in", 2), ("what goes out", 1))
    text = str(Table(("layer", "mean", "norm", "mean"), "<>>>", [("conv1", "8 %", "1", "10 %")], groups))
    assert text.splitlines() == [
        "       what comes in  what goes out",
        "layer  mean     norm           mean",
        "conv1   8 %        1           10 %",
    ]
