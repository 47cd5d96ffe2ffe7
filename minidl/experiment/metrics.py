"""Metrics besides loss and accuracy: the confusion of classes."""

from typing import Any

import numpy as np

from minidl.kernels import Kernels
from minidl.kernels.errors import MinidlError
from minidl.kernels.softmax_loss import out_of_range
from minidl.losses import checked_labels

Array = Any


class Confusion:
    """How often pixels of each class were predicted as each class: counts (truth, prediction)."""

    def __init__(self, classes: int, kernels: Kernels) -> None:
        self.kernels = kernels
        self.counts = kernels.xp.zeros((classes, classes), np.int64)

    def add(self, output: Array, labels: Array) -> None:
        """Count the predictions of a batch; output: (…, classes), labels: (…), negative for pixels without a label.

        Raises MinidlError for an output with another number of classes, and for labels of another shape or type, or out
        of range.
        """
        labels, classes = checked_labels(labels, output, self.kernels.xp), len(self.counts)
        if output.shape[-1] != classes:
            raise MinidlError(f"an output of {classes} classes was expected, and not of {output.shape[-1]}")
        if wrong := int((labels >= classes).sum()):
            raise out_of_range(wrong, classes)
        labelled = labels >= 0
        pairs = labels[labelled].astype(np.int64) * classes + output.argmax(axis=-1)[labelled]
        self.counts += self.kernels.xp.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    @property
    def mean_iou(self) -> float:
        """The mean of intersection over union of truth and predictions, over the classes that occur in either."""
        counts = self.kernels.host(self.counts)
        hits = counts.diagonal()
        unions = counts.sum(axis=0) + counts.sum(axis=1) - hits
        return float(np.mean(hits[unions > 0] / unions[unions > 0])) if unions.any() else float("nan")
