"""The filters of the first layer, as training began and as it left them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.experiment.saving import checkpoint
from minidl.kernels.errors import MinidlError
from minidl.net import Net
from minidl.study.quantities import mean_share
from minidl.study.report.blocks import Picture, Pictures, Section
from minidl.study.report.diagram import rebuilt
from minidl.study.report.images import address, filters
from minidl.study.report.runs import Group, first_of
from minidl.words import counted

ACROSS = 8  # filters in a row
ENLARGED = 8  # pixels of the page for a weight


def first_filters(groups: Sequence[Group]) -> Section:
    """Return the section: for each group the filters of its first run before and after."""
    section = Section(
        "The first layer's filters",
        "Each small square is a filter; its red, green and blue are its weights for red, green and blue. Grey is 0, "
        "and the largest weight of the picture is white or black, so that the brightness of a filter is its mean.",
    )
    section.notes += [group.divergence for group in groups if group.divergence]
    for group in groups:
        try:
            section.blocks.append(_pictures(group))
        except MinidlError as error:
            section.notes.append(f"{group.label}: the filters cannot be shown, because {error}.")
    return section


def _pictures(group: Group) -> Pictures:
    run, label = group.first, group.label
    after = _weights(checkpoint.load(run.checkpoint, "cpu", folded=False))  # BN folded in would scale each filter
    if not np.isfinite(after).all():
        raise MinidlError("training has left weights that are not numbers")
    share, init = f"{100 * mean_share(after, 'tensor'):.1f} %", run.settings.get("init")
    if init:
        pictures = []
        said = (
            f"{share} of the weights' energy after training. The initial weights were those of {init}. They are not "
            "shown, as another net may be there now."
        )
    else:
        before = _weights(rebuilt(run))
        pictures = [_picture(before, label, "before")]
        said = (
            f"{100 * mean_share(before, 'tensor'):.1f} % of the weights' energy before training (after the hook, if "
            f"there is one), and {share} after training."
        )
    pictures.append(_picture(after, label, "after"))
    sentence = f"{counted(len(after), 'filter')}. The means have {said} {first_of(label, group.runs)}"
    return Pictures(group.net, sentence.rstrip(), pictures, label)


def _picture(weights: Any, label: str, when: str) -> Picture:
    return Picture(
        address(filters(weights, ACROSS)),
        f"{counted(len(weights), 'filter')} of {label}, {when} training",
        f"{when} training, largest weight {float(np.abs(weights).max()):.2g}",
        ENLARGED * (ACROSS * (weights.shape[2] + 1) - 1),
    )


def _weights(net: Net) -> Any:
    """Return the weights (filters, y, x, 3) that the first layer filters with, those that its hook has normalized.

    Raises MinidlError where it has no filters of images.
    """
    names = [layer.weights.name for layer in net.layers if layer.weights is not None]
    if not names:
        raise MinidlError("the net has no layer with weights")
    weights = net.kernels.host(net.effective_weights()[names[0]])
    if weights.ndim != 4 or weights.shape[-1] != 3:
        raise MinidlError(f"the first layer's weights have the shape {weights.shape}, which is no picture")
    return weights
