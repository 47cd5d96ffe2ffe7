"""What is measured while a net trains or is evaluated."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.softmax_loss import Score

Array = Any


class Metrics:
    """The mean loss and the accuracy (0 … 1) of what was seen so far: of samples, or of pixels that have a label.

    confusion: counted as well, where there is one.
    """

    def __init__(self, confusion: "Confusion | None" = None) -> None:
        self.samples, self.labelled, self.right, self.total_loss = 0, 0, 0, 0.0
        self.confusion = confusion

    def add(self, samples: int, score: Score) -> None:
        """Add the score of a batch of ``samples``."""
        self.samples += samples
        self.labelled += score.labelled
        self.right += score.right
        self.total_loss += score.loss * score.labelled

    @property
    def loss(self) -> float:
        """The mean loss."""
        return self.total_loss / max(self.labelled, 1)

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.right / max(self.labelled, 1)


class Confusion:
    """How often pixels of each class were taken for each class: counts (truth, answer)."""

    def __init__(self, classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((classes, classes), np.int64)

    def add(self, output: Array, labels: Array) -> None:
        """Count the answers of a batch; output: (…, classes), labels: (…), negative where there is none."""
        labelled = labels >= 0
        classes = len(self.counts)
        pairs = labels[labelled].astype(np.int64) * classes + output.argmax(axis=-1)[labelled]
        self.counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    @property
    def mean_iou(self) -> float:
        """The mean of intersection over union of truth and answers, over the classes that either of them has."""
        hits = self.counts.diagonal()
        unions = self.counts.sum(axis=0) + self.counts.sum(axis=1) - hits
        return float(np.mean(hits[unions > 0] / unions[unions > 0])) if unions.any() else float("nan")
