"""The filters of the first layer, as training began and as it left them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.experiment import checkpoint
from minidl.kernels.errors import MinidlError
from minidl.net import Net
from minidl.study.quantities import mean_share
from minidl.study.report.blocks import Picture, Pictures, Section
from minidl.study.report.diagram import rebuilt
from minidl.study.report.images import address, filters
from minidl.study.report.runs import Group

ACROSS = 8  # filters in a row
ENLARGED = 8  # pixels of the page for a weight


def first_filters(groups: Sequence[Group]) -> Section:
    """Return the section: for each group the filters of its first run before and after."""
    section = Section(
        "The first layer's filters",
        "Each small square is a filter; its red, green and blue are its weights for red, green and blue. Grey is 0, "
        "and the largest weight of the picture is white or black, so that the brightness of a filter is its mean.",
    )
    for group in groups:
        try:
            section.blocks.append(_pictures(group))
        except MinidlError as error:
            section.notes.append(f"{group.label}: the filters cannot be shown, because {error}.")
    return section


def _pictures(group: Group) -> Pictures:
    before, after = _weights(rebuilt(group.first)), _weights(checkpoint.load(group.first.checkpoint, "cpu"))
    if not np.isfinite(after).all():
        raise MinidlError("training has left weights that are not numbers")
    shares = [100 * mean_share(weights, "tensor") for weights in (before, after)]
    largest = [float(np.abs(weights).max()) for weights in (before, after)]
    pictures = [
        Picture(
            address(filters(weights, ACROSS)),
            f"{len(weights)} filters of {group.label}, {when} training",
            f"{when} training, largest weight {most:.2g}",
            ENLARGED * (ACROSS * (weights.shape[2] + 1) - 1),
        )
        for weights, when, most in zip((before, after), ("before", "after"), largest, strict=True)
    ]
    sentence = (
        f"{len(before)} filters. Their means have {shares[0]:.1f} % of the weights' energy before training and "
        f"{shares[1]:.1f} % after it."
    )
    return Pictures(group.label, sentence, pictures, group.label)


def _weights(net: Net) -> Any:
    """Return the weights (filters, y, x, 3) of the first layer; raise MinidlError where it has no filters of images."""
    weights = next(layer.weights.value for layer in net.layers if layer.weights is not None)
    weights = net.kernels.host(weights)
    if weights.ndim != 4 or weights.shape[-1] != 3:
        raise MinidlError(f"the first layer's weights have the shape {weights.shape}, which is no picture")
    return weights
