"""Trains a net for an epoch, and measures it."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from minidl.losses import SoftmaxCrossEntropy
from minidl.net import Net
from minidl.optimizers import Optimizer, stepped

Array = Any


class BatchSource(Protocol):
    """Where batches (data, labels) come from; see data/batches.py."""

    @property
    def samples(self) -> int:
        """How many samples there are."""

    def shuffled(self, random: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """Iterate over a random epoch."""

    def in_order(self) -> Iterator[tuple[Array, Array]]:
        """Iterate over all samples, unchanged."""


@dataclass
class Metrics:
    """The mean loss and accuracy (0 … 1) of the samples seen so far."""

    samples: int = 0
    total_loss: float = 0.0
    right: int = 0

    def add(self, samples: int, loss: float, right: int) -> None:
        """Add a batch of ``samples`` with its mean loss and its number of right answers."""
        self.samples += samples
        self.total_loss += loss * samples
        self.right += right

    @property
    def loss(self) -> float:
        """The mean loss."""
        return self.total_loss / max(self.samples, 1)

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.right / max(self.samples, 1)


@dataclass(frozen=True)
class Epoch:
    """What an epoch brought: losses, accuracies (0 … 1), and the seconds that training and measuring took."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float


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

    def step(self, data: Array, labels: Array) -> tuple[float, int]:
        """Train on one batch; return its mean loss and its number of right answers."""
        output = self.net.forward(data)
        loss, right = self.loss(output, labels)
        self.net.backpropagate(self.loss.error)
        self.optimizer.step()
        return loss, right

    def run_epoch(self, epoch: int, progress: Progress = lambda _: None) -> Epoch:
        """Train for one epoch (from 1) and measure; stop training early where the loss is not a number any more."""
        started = time.perf_counter()
        self.optimizer.learning_rate = stepped(self.learning_rate, epoch, self.drop_every)
        self.net.train()
        trained = Metrics()
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not a number is a result, said below
            for data, labels in self.train.shuffled(np.random.default_rng([self.seed, 1, epoch])):
                trained.add(len(data), *self.step(data, labels))
                progress(trained)
                if not math.isfinite(trained.total_loss):
                    break
            self.train_seconds += time.perf_counter() - started
            self.trained_samples += trained.samples
            tested = evaluate(self.net, self.loss, self.test.in_order())
        seconds = time.perf_counter() - started
        return Epoch(
            epoch,
            self.optimizer.learning_rate,
            trained.loss,
            trained.accuracy,
            tested.loss,
            tested.accuracy,
            seconds,
        )


def evaluate(net: Net, loss: SoftmaxCrossEntropy, batches: Iterable[tuple[Array, Array]]) -> Metrics:
    """Measure a net: hooks off, the weights as inference uses them. The net is left ready for inference."""
    net.eval()
    metrics = Metrics()
    for data, labels in batches:
        metrics.add(len(data), *loss(net.forward(data), labels))
    return metrics
