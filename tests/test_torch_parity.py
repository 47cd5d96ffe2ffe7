"""Net (c) compared with PyTorch's, from equal weights: loss, every gradient, ten steps of SGD and Adam.

In float32 the two have different rounding errors. So sometimes a unit very near zero is on in one and off in the other,
or another of two nearly equal elements is the maximum in a pool: each changes a gradient by about a thousandth. Of the
6 million units of a whole batch, this happens to one or two in every step. Hence the full size is tested in float64;
and float32 on small images, in five trials of which the median counts: a real mistake is in all five.
"""

import numpy as np
import pytest

from minidl import models
from minidl.experiment.trainer import Trainer
from minidl.losses import SoftmaxCrossEntropy
from minidl.optimizers import OPTIMIZERS

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e .[bench]")

METHODS = ["Baseline", "WC, GC, fully"]


def pair_of(method, size, dtype):
    """Return our net for size × size images with random biases, and PyTorch's with the same parameters."""
    from torch_net import TorchNet

    net = models.build("c", method=method, shape=(size, size, 3), dtype=dtype, device="cpu")
    for p in net.parameters:
        if p.value.ndim == 1:
            p.value[...] = np.random.default_rng(1).normal(0, 0.1, p.value.shape)
    names = [p.name for p in net.normalized_weights()] if method != "Baseline" else []
    return net, TorchNet(net, names)


def batch(random, samples, net):
    """Return a batch of images and labels."""
    return random.normal(0, 0.25, (samples, *net.shape)).astype(net.dtype), random.integers(0, 10, samples)


FLOAT64 = (32, 50, "float64", 1)
FLOAT32 = (8, 4, "float32", 5)
CASES = pytest.mark.parametrize("size, samples, dtype, trials", [FLOAT64, FLOAT32], ids=["float64", "float32"])


@pytest.mark.parametrize("method", METHODS)
@CASES
def test_loss_and_gradients(random, method, size, samples, dtype, trials):
    from torch_net import relative

    errors = []
    for _ in range(trials):
        net, other = pair_of(method, size, dtype)
        data, labels = batch(random, samples, net)
        loss = SoftmaxCrossEntropy(net.kernels)
        value = loss.score_of(net.forward(data), labels).loss
        net.backpropagate(loss.error)
        theirs = other.backward(data, labels)
        gradients = [relative(p.grads, other.ours(p.name, other.values[p.name].grad)) for p in net.parameters]
        errors.append(max(abs(value / theirs - 1), *gradients))
    assert sorted(errors)[trials // 2] < (1e-9 if dtype == "float64" else 1e-4)


def test_loss_of_a_whole_batch_in_float32(random):
    net, other = pair_of("WC, GC, fully", 32, "float32")
    data, labels = batch(random, 50, net)
    value = SoftmaxCrossEntropy(net.kernels).score_of(net.forward(data), labels).loss
    assert value == pytest.approx(other.backward(data, labels), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind, learning_rate", [("sgd", 0.1), ("adam", 1e-3)])
@CASES
def test_ten_steps(random, method, kind, learning_rate, size, samples, dtype, trials):
    from torch_net import optimizer as optimizer_of
    from torch_net import relative

    errors = []
    for _ in range(trials):
        net, other = pair_of(method, size, dtype)
        optimizer = OPTIMIZERS[kind](net.parameters, net.kernels, learning_rate=learning_rate, weight_decay=5e-4)
        theirs = optimizer_of(list(other.values.values()), kind, learning_rate, 5e-4)
        trainer = Trainer(net, optimizer, None, None, drop_every=1, seed=0)
        error = 0.0
        for _ in range(10):
            data, labels = batch(random, min(samples, 5), net)
            trainer.loss.reset()
            trainer.step(data, labels)
            error = max(error, abs(trainer.loss.score().loss / other.backward(data, labels) - 1))
            theirs.step()
        weights = [relative(p.value, other.ours(p.name, other.values[p.name])) for p in net.parameters]
        errors.append(max(error, *weights))
    assert sorted(errors)[trials // 2] < (1e-7 if dtype == "float64" else 1e-4)
