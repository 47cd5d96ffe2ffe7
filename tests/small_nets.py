"""A net that trains in milliseconds, and one step of it."""

from minidl.kernels import load
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import parse
from minidl.models import c
from minidl.net import Net


def one_step(net, optimizer, data, labels):
    loss = SoftmaxCrossEntropy(net.kernels)
    loss(net.forward(data), labels)
    net.backpropagate(loss.error)
    optimizer.step()


def small_net(method, mode="projection", place="hooks"):
    root = c.net(10, parse(method), filters=(4, 6, 8), hidden=20)
    return Net(root, (8, 8, 3), load("cpu"), method=method, mode=mode, place=place, dtype="float64")


def small_batch(random):
    return random.standard_normal((6, 8, 8, 3)), random.integers(0, 10, 6)
