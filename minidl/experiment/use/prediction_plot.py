"""A figure of predictions: the first pictures with their predicted classes."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from minidl.data.pictures import palette
from minidl.experiment.plots import drawable, png
from minidl.experiment.use.prediction import Predicted

COLUMNS = 4
LISTED = 6  # classes that a legend names


def grid(predicted: Sequence[Predicted], classes: Sequence[str], top: int) -> bytes:
    """Draw pictures with their most likely classes or, for labels of pixels, with an overlay and a legend."""
    labelled = bool(predicted[0].files)
    columns = min(COLUMNS // 2 if labelled else COLUMNS, len(predicted))
    rows = -(-len(predicted) // columns)
    figure = Figure(figsize=((5.4 if labelled else 2.4) * columns, (2.9 + 0.1 * min(top, LISTED)) * rows))
    figure.set_layout_engine("constrained")
    cells = figure.subplots(rows, columns * (2 if labelled else 1), squeeze=False).ravel().tolist()
    for cell in cells:
        cell.axis("off")
    for place, one in enumerate(predicted):
        if labelled:
            _labelled(cells[2 * place : 2 * place + 2], one, classes)
        else:
            found = "\n".join(f"{name} {share:.1%}" for name, share in one.found[: min(top, LISTED)])
            cells[place].imshow(one.drawn[0])
            cells[place].set_title(drawable(found), fontsize=8, parse_math=False)
            cells[place].text(
                0.5, -0.02, drawable(one.path.name), fontsize=6, **_BELOW, transform=cells[place].transAxes
            )
    return png(figure, dpi=100)


_BELOW: dict[str, Any] = {"ha": "center", "va": "top", "parse_math": False}


def _labelled(cells: Sequence[Any], one: Predicted, classes: Sequence[str]) -> None:
    picture, overlay = one.drawn
    cells[0].imshow(picture)
    cells[0].set_title(drawable(one.path.name), fontsize=6, parse_math=False)
    cells[1].imshow(overlay)
    patches = [
        Patch(color=palette()[classes.index(name)] / 255, label=drawable(f"{name} {share:.1%}"))
        for name, share in one.found[:LISTED]
    ]
    legend = cells[1].legend(handles=patches, fontsize=6, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2)
    for text in legend.get_texts():
        text.set_parse_math(False)
