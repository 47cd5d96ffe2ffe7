"""Trains a net for an epoch, and measures it."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from minidl.kernels.softmax_loss import Score
from minidl.losses import SoftmaxCrossEntropy
from minidl.metrics import Confusion, Metrics
from minidl.net import Net
from minidl.optimizers import Optimizer, stepped

Array = Any


class BatchSource(Protocol):
    """Where batches (data, labels) come from; see data/batches.py and data/pixel_batches.py.

    classes: their names; per_pixel: whether each pixel has a label, or each sample one.
    """

    classes: tuple[str, ...]
    per_pixel: bool

    @property
    def samples(self) -> int:
        """How many samples there are."""

    def shuffled(self, random: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """Iterate over a random epoch."""

    def in_order(self) -> Iterator[tuple[Array, Array]]:
        """Iterate over all samples, unchanged."""


@dataclass(frozen=True)
class Epoch:
    """What an epoch brought: losses, accuracies (0 … 1), and the seconds that training and measuring took.

    Loss and accuracy of the test are nan where there was none; ``tested`` says so.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float

    @property
    def tested(self) -> bool:
        """Whether the net was measured on the test samples after this epoch."""
        return not math.isnan(self.test_accuracy)


Progress = Callable[[Metrics], None]


class Trainer:
    """Trains a net with an optimizer.

    seed: of the order and augmentation of the samples; each epoch has random numbers of its own, so that a resumed
    run goes on as if it had not been interrupted. drop_every: epochs after which the learning rate is divided by 10.
    """

    def __init__(
        self, net: Net, optimizer: Optimizer, train: BatchSource, test: BatchSource, drop_every: int, seed: int
    ) -> None:
        self.net, self.optimizer, self.train, self.test = net, optimizer, train, test
        self.learning_rate, self.drop_every, self.seed = optimizer.learning_rate, drop_every, seed
        self.loss = SoftmaxCrossEntropy(net.kernels)
        self.train_seconds, self.trained_samples = 0.0, 0
        self.tested = Metrics()

    def step(self, data: Array, labels: Array) -> Score:
        """Train on one batch; return its score."""
        score = self.loss(self.net.forward(data), labels)
        self.net.backpropagate(self.loss.error)
        self.optimizer.step()
        return score

    def run_epoch(self, epoch: int, progress: Progress = lambda _: None, test: bool = True) -> Epoch:
        """Train for one epoch (from 1) and, where asked to, test.

        Training stops early where the loss is not a number any more, and then there is a test in any case.
        """
        started = time.perf_counter()
        self.optimizer.learning_rate = stepped(self.learning_rate, epoch, self.drop_every)
        self.net.train()
        trained, tested = Metrics(), (math.nan, math.nan)
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not a number is a result, said below
            for data, labels in self.train.shuffled(np.random.default_rng([self.seed, 1, epoch])):
                trained.add(len(data), self.step(data, labels))
                progress(trained)
                if not math.isfinite(trained.total_loss):
                    break
            self.train_seconds += time.perf_counter() - started
            self.trained_samples += trained.samples
            if test or not math.isfinite(trained.total_loss):
                self.tested = evaluate(self.net, self.loss, self.test)
                tested = self.tested.loss, self.tested.accuracy
        seconds = time.perf_counter() - started
        return Epoch(
            epoch,
            self.optimizer.learning_rate,
            trained.loss,
            trained.accuracy,
            *tested,
            seconds,
        )


def evaluate(net: Net, loss: SoftmaxCrossEntropy, source: BatchSource) -> Metrics:
    """Measure a net on all samples: hooks off, the weights as inference uses them. It is left ready for inference."""
    net.eval()
    metrics = Metrics(Confusion(len(source.classes)) if source.per_pixel else None)
    for data, labels in source.in_order():
        output = net.forward(data)
        metrics.add(len(data), loss(output, labels))
        if metrics.confusion:
            metrics.confusion.add(output, labels)
    return metrics
