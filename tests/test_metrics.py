"""Accuracy and mean IoU over pixels, with and without labels."""

import numpy as np
import pytest

from minidl.experiment.metrics import Confusion
from minidl.losses import SoftmaxCrossEntropy


def test_means_are_over_labels_not_over_batches(backend):
    loss, xp = SoftmaxCrossEntropy(backend), backend.xp
    sure, unsure = xp.asarray([[50.0, 0.0]]), xp.zeros((3, 2))
    loss(sure, xp.asarray([1]))
    loss(unsure, xp.asarray([0, 1, -1]))
    assert loss.score() == pytest.approx(((50 + 2 * np.log(2)) / 3, 1 / 3))
    loss.reset()
    assert loss.score() == (0, 0)


def test_mean_iou_written_out(backend, random):
    confusion = Confusion(6, backend)
    truth, answers = [], []
    for size in ((2, 5, 4), (1, 7, 3)):
        labels, output = random.integers(-1, 4, size), random.standard_normal((*size, 6))
        output[..., 5] = -9  # class 4 is predicted but never true, class 5 is neither
        confusion.add(backend.xp.asarray(output), backend.xp.asarray(labels))
        truth.append(labels.ravel())
        answers.append(output.argmax(-1).ravel())
    truth, answers = np.concatenate(truth), np.concatenate(answers)
    truth, answers = truth[truth >= 0], answers[truth >= 0]
    ious = [np.sum((truth == c) & (answers == c)) / np.sum((truth == c) | (answers == c)) for c in range(5)]
    assert confusion.mean_iou == pytest.approx(np.mean(ious))
    assert ious[4] == 0


def test_mean_iou_of_nothing_is_nan(backend):
    assert np.isnan(Confusion(3, backend).mean_iou)
