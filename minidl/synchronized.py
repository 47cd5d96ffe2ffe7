"""Synchronized: operations on a batch that ranks share, made of those of a device and of sums over the ranks.

    the loss                                   always: the error of each share is divided by the whole batch's count
    BN, and hooks of errors over the batch     if they are synchronized; otherwise each rank uses its own share

Layers and hooks do not notice: they get these operations in place of the device's.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minidl.communicator import Communicator
from minidl.kernels import Kernels
from minidl.kernels.data_norm import move
from minidl.kernels.errors import MinidlError
from minidl.kernels.normalize import total
from minidl.kernels.running import Running
from minidl.layers import BatchNorm
from minidl.net import Net
from minidl.normalizations import Normalization

Array = Any  # numpy.ndarray or cupy.ndarray
OF_A_BATCH = ("global", "channel")  # areas of errors that reach over the samples of a batch


def with_loss(kernels: Kernels, communicator: Communicator) -> Kernels:
    """Return operations whose loss is that of the whole batch."""
    return replace(kernels, softmax_loss=Loss(kernels.unchecked.softmax_loss, communicator))


def synchronize(net: Net, communicator: Communicator) -> None:
    """Let BN, and the hooks of errors over a batch, use the batch of all ranks.

    Raises MinidlError for such a hook that is a user-defined function, whose sums are not known.
    """
    data_norm: Any = DataNorm(net.kernels.unchecked.data_norm, communicator)
    for layer in net.layers:
        if isinstance(layer, BatchNorm):
            layer.kernels = replace(net.kernels.unchecked, data_norm=data_norm)
    for layer, hook in hooks_of_a_batch(net):
        if not isinstance(hook.function, str):
            raise MinidlError(
                f"{hook} at the errors of {layer.name} is a function of your own over a whole batch, which cannot be "
                "synchronized; leave --sync-bn out, and each rank takes its own share"
            )
        own: Any = Normalize(communicator)
        operations = replace(net.kernels, normalize=own)
        layer.at_error.hook = replace(hook, kernels=operations)


def hooks_of_a_batch(net: Net) -> list[tuple[Any, Normalization]]:
    """Return the normalizations of errors whose means are over the samples of a batch, each with its layer."""
    hooks = [(layer, layer.at_error.hook) for layer in net.layers]
    return [(layer, hook) for layer, hook in hooks if isinstance(hook, Normalization) and hook.area in OF_A_BATCH]


@dataclass(frozen=True)
class Loss:
    """Softmax and cross-entropy of a batch that ranks share; own: the operation of the device."""

    own: Any
    communicator: Communicator

    def forward(self, logits: Array, labels: Array, error: Array, totals: Array) -> None:
        """Write ∂L/∂logits of the share into ``error``, L being the mean of the whole batch, and add to ``totals``.

        All ranks have the same totals.
        """
        own = np.zeros_like(totals)
        self.own.forward(logits, labels, error, own)
        every = own.copy()
        self.communicator.sum(every)
        totals += every
        error *= (own[2:3] / np.maximum(every[2:3], 1)).astype(error.dtype)


class Statistics(NamedTuple):
    """Mean, biased variance and 1/√(σ² + ε) of the whole batch; rows (1,): the number of elements of each."""

    mean: Array
    variance: Array
    scale: Array
    rows: Array


@dataclass(frozen=True)
class DataNorm:
    """Batch normalization of a batch that ranks share; own: the operation of the device on its share.

    With n_r rows, means μ_r and variances σ_r² of the shares, n = Σ n_r, the batch has μ = Σ μ_r·n_r/n and
    σ² = Σ (σ_r² + (μ_r − μ)²)·n_r/n.
    """

    own: Any
    communicator: Communicator

    def forward(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        epsilon: float,
        out: Array,
        running: Running | None = None,
        relu: bool = False,
    ) -> Statistics:
        """Write γ·x̂ + β into ``out`` and return the statistics of the batch, with which it moves the running ones."""
        own = self.own.forward(x, gamma, beta, epsilon, out)
        sums, rows = sums_and_count(self.communicator, own.mean * x.shape[1], x.shape[1])
        mean = sums / rows
        variance = (own.variance + (own.mean - mean) ** 2) * (x.shape[1] / rows)
        self.communicator.sum(variance)
        scale = 1 / np.sqrt(variance + epsilon)
        factor = scale.reshape(-1) * gamma
        offset = beta - mean.reshape(-1) * factor
        self.own.inference(x, factor.astype(x.dtype), offset.astype(x.dtype), out, relu)
        if running:
            move(running, mean, variance, rows)
        return Statistics(mean, variance, scale, rows)

    def backward(self, error: Array, x: Array, gamma: Array, statistics: Statistics, sums: Array, out: Array) -> None:
        """Write ∂L/∂x into ``out``; sums: of the share."""
        every = sums.copy()
        self.communicator.sum(every)
        every *= x.shape[1] / statistics.rows  # the mean is taken over the rows of the share
        self.own.backward(error, x, gamma, statistics, every, out)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self.own, name)


@dataclass(frozen=True)
class Normalize:
    """The transforms of kernels/normalize.py over the shares of all ranks, of views (1, rows, inner, lanes)."""

    communicator: Communicator

    def center(self, x: Array, out: Array) -> None:
        """Subtract the mean of each group."""
        out[...] = x - self._mean(x)

    def standardize(self, x: Array, out: Array, epsilon: float = 1e-5) -> Array:
        """Subtract the mean and divide by the deviation."""
        centered = x - self._mean(x)
        scale = 1 / np.sqrt(self._mean(centered**2) + epsilon)
        out[...] = scale * centered
        return scale

    def rescale(self, x: Array, out: Array, k: float = 1.0, epsilon: float = 1e-12) -> Array:
        """Give each group the Euclidean length k."""
        scale = k / np.sqrt(self._sum(x**2)[0] + epsilon)
        out[...] = scale * x
        return scale

    def _mean(self, x: Array) -> Array:
        sums, elements = self._sum(x)
        return sums / elements

    def _sum(self, x: Array) -> tuple[Array, Array]:
        """Return the sum of each group, and the number of its elements."""
        return sums_and_count(self.communicator, total(x), prod(x.shape[1::2]))


def sums_and_count(communicator: Communicator, sums: Array, count: int) -> tuple[Array, Array]:
    """Return the sums over the ranks of an array, and of the number of elements in each rank's sums, (1,).

    The count lies on the device, too: while a GPU records a step, Python must not ask other ranks, since a rank that
    cannot record the step would not answer.
    """
    flat = sums.reshape(-1)
    both = np.concatenate([flat, np.full_like(flat[:1], count)])
    communicator.sum(both)
    return both[:-1].reshape(sums.shape), both[-1:]
