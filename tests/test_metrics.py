"""Accuracy and mean IoU over pixels, with and without labels."""

import numpy as np
import pytest

from minidl.kernels.softmax_loss import Score
from minidl.metrics import Confusion, Metrics


def test_means_are_over_labels_not_over_batches():
    metrics = Metrics()
    metrics.add(2, Score(loss=1.0, right=1, labelled=10))
    metrics.add(2, Score(loss=4.0, right=20, labelled=30))
    assert (metrics.samples, metrics.loss, metrics.accuracy) == (4, 3.25, 21 / 40)


def test_mean_iou_written_out(random):
    confusion = Confusion(6)
    truth, answers = [], []
    for size in ((2, 5, 4), (1, 7, 3)):
        labels, output = random.integers(-1, 4, size), random.standard_normal((*size, 6))
        output[..., 5] = -9  # class 4 is answered and never true, class 5 neither
        confusion.add(output, labels)
        truth.append(labels.ravel())
        answers.append(output.argmax(-1).ravel())
    truth, answers = np.concatenate(truth), np.concatenate(answers)
    truth, answers = truth[truth >= 0], answers[truth >= 0]
    ious = [np.sum((truth == c) & (answers == c)) / np.sum((truth == c) | (answers == c)) for c in range(5)]
    assert confusion.mean_iou == pytest.approx(np.mean(ious))
    assert ious[4] == 0


def test_mean_iou_of_nothing_is_not_a_number():
    assert np.isnan(Confusion(3).mean_iou)
