"""Trainer: trains a net for an epoch, and tests it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minidl.communicator import ALONE, Communicator
from minidl.data.batches import Batches
from minidl.experiment.metrics import Confusion
from minidl.losses import Score, SoftmaxCrossEntropy
from minidl.net import Net
from minidl.optimizers import Optimizer, step_decay
from minidl.study.trace import Tracer
from minidl.synchronized import with_loss

Array = Any

CHECKED = 20  # steps between two checks that the loss is a number; a GPU reports an earlier loss


@dataclass(frozen=True)
class Epoch:
    """The results of an epoch: losses, accuracies (0 … 1), and the seconds of training and of the test.

    Without a test, its loss and accuracy are nan, and ``tested`` is False.
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


@dataclass
class Progress:
    """How far a training has come.

    For the current epoch: the number of trained batches, their seconds, and the sums for the score of its loss (see
    losses.py). For the epochs before it: seconds and samples of training, for the images per second.
    """

    batches: int = 0
    seconds: float = 0.0
    totals: Array = field(default_factory=lambda: np.zeros(4))
    train_seconds: float = 0.0
    trained_samples: int = 0


Between = Callable[[int, SoftmaxCrossEntropy], None]


class Trainer:
    """Trains a net with an optimizer.

    seed: of the order and augmentation of the samples. Each epoch has its own random numbers, drawn when it begins;
    they depend only on the seed and the number of the epoch, so a resumed run gets the same. drop_every: epochs after
    which the learning rate is divided by 10. tracer: makes the traced steps instead of the trainer, and records them.
    ranks: each has a share of each batch; sizes and scores here are those of the whole batch; see also exchange.py.
    """

    def __init__(
        self,
        net: Net,
        optimizer: Optimizer,
        train: Batches,
        test: Batches,
        drop_every: int,
        seed: int,
        tracer: Tracer | None = None,
        ranks: Communicator = ALONE,
    ) -> None:
        self.net, self.optimizer, self.train, self.test, self.tracer = net, optimizer, train, test, tracer
        self.learning_rate, self.drop_every, self.seed = optimizer.learning_rate, drop_every, seed
        self.ranks, self.test_loss = ranks, SoftmaxCrossEntropy(net.kernels)
        self.loss = SoftmaxCrossEntropy(with_loss(net.kernels, ranks) if ranks.size > 1 else net.kernels)
        self.full_step = net.kernels.record(lambda: self.next_step(train.batch_size), lambda: net.version, ranks.total)
        self.progress = Progress()
        self.confusion: Confusion | None = None

    def step(self, data: Array, labels: Array) -> None:
        """Train on one batch; ``loss`` keeps the score."""
        self.loss(self.net.forward(data), labels)
        self.net.backpropagate(self.loss.error)
        self.optimizer.step()

    def next_step(self, size: int) -> None:
        """Train on the next batch."""
        self.step(*self.train.next(size))

    def begin(self, epoch: int, after: int = 0) -> list[int]:
        """Prepare an epoch (from 1) and skip its first batches; return the sizes of the remaining ones."""
        self.optimizer.learning_rate = step_decay(self.learning_rate, epoch, self.drop_every)
        self.net.train()
        self.loss.reset()
        sizes = self.train.shuffle(np.random.default_rng([self.seed, 1, epoch]))
        for size in sizes[:after]:
            self.train.next(size)
        return sizes[after:]

    def run_epoch(self, epoch: int, between: Between = lambda samples, loss: None, test: bool = True) -> Epoch:
        """Train for one epoch (from 1), or for the rest of it after ``progress``, and test if asked to.

        between: called after each batch with the number of samples so far and the loss, whose score it may read.
        Training stops early if the loss is not a number any more, and then there is no test.
        """
        done = self.progress
        started = time.perf_counter() - done.seconds
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not a number is a result, reported below
            sizes = self.begin(epoch, done.batches)
            samples = self.train.samples - sum(sizes)
            self.loss.totals[...] = self.net.kernels.xp.asarray(done.totals)
            for step, size in enumerate(sizes, self.optimizer.step_count):
                if self.tracer and self.tracer.due(step):
                    self.tracer.step(step, self.loss, *self.train.next(size))
                elif size == self.train.batch_size and not self.net.observed:
                    self.full_step()
                else:
                    self.next_step(size)
                samples += size
                done.batches, done.seconds = done.batches + 1, time.perf_counter() - started
                between(samples, self.loss)
                if done.batches % CHECKED == 0 and not math.isfinite(self.loss.latest_score().loss):
                    break
            trained = self.loss.score()
            tested = self.test_score() if test and math.isfinite(trained.loss) else Score(math.nan, math.nan)
        self.progress = Progress(
            train_seconds=done.train_seconds + done.seconds, trained_samples=done.trained_samples + samples
        )
        rate, seconds = self.optimizer.learning_rate, time.perf_counter() - started
        return Epoch(epoch, rate, *trained, *tested, seconds)

    def test_score(self) -> Score:
        """Test the net on the test samples; ``confusion`` counts the predicted classes of pixels."""
        self.confusion = Confusion(len(self.test.classes), self.net.kernels) if self.test.per_pixel else None
        evaluate(self.net, self.test_loss, self.test, self.confusion)
        self.ranks.sum(self.test_loss.totals)
        if self.confusion:
            self.ranks.sum(self.confusion.counts)
        return self.test_loss.score()

    def reached(self) -> Progress:
        """Return how far the training has come at this step."""
        totals = self.net.kernels.host(self.loss.totals).copy() if self.progress.batches else np.zeros(4)
        return replace(self.progress, totals=totals)


def evaluate(net: Net, loss: SoftmaxCrossEntropy, source: Batches, confusion: Confusion | None = None) -> Score:
    """Test a net on all samples, without hooks, with the weights of inference. It stays in inference mode."""
    net.eval()
    loss.reset()
    for data, labels in source.in_order():
        output = net.forward(data)
        loss(output, labels)
        if confusion:
            confusion.add(output, labels)
    return loss.score()
