"""Frozen nets: the same outputs up to rounding, faster; results of old weights are never used for new ones."""

import copy
import gc
import threading
import weakref

import numpy as np
import pytest

from minidl import MinidlError, kernels
from minidl.fold import fold
from minidl.kernels.cpu import threads
from minidl.layer import Layer
from minidl.layers import AnySize, Convolution, Flatten, FullyConnected, ReLU, Sequential
from minidl.method import parse
from minidl.models import a, b, c, d
from minidl.net import Net
from minidl.optimizers import SGD
from minidl.replay import MOST, is_small

NETS = {
    "a": (lambda method: a.net(4, method, filters=(4, 16, 16)), (16, 16, 3)),
    "b": (lambda method: b.net(4, method, filters=(4, 16, 16, 5), blocks=(2, 1, 2, 1)), (33, 33, 3)),
    "c": (lambda method: c.net(4, method, filters=(4, 16, 16)), (8, 8, 3)),
    "d": (lambda method: d.net(4, method, filters=(4, 16, 16), count=0), (67, 67, 3)),
}


def assert_same(found, expected):
    """Check that outputs differ only by rounding."""
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def net_of(name, backend, method="WC, GC, BN"):
    make, shape = NETS[name]
    return Net(make(parse(method)), shape, backend, method=method)


@pytest.mark.quick_on("numpy", "numba")
@pytest.mark.parametrize("name", NETS)
def test_a_frozen_net_computes_the_same(backend, random, name):
    net = net_of(name, backend)
    for parameter in net.parameters:
        if not parameter.decay:
            parameter.value[...] += backend.xp.asarray(random.normal(0, 0.1, parameter.value.shape), dtype="f4")
    net.eval()
    data = [backend.xp.asarray(random.standard_normal((n, *net.shape)), dtype="f4") for n in (1, 2, 1, 1)]
    expected = [backend.host(net.forward(some)).copy() for some in data]
    net.freeze()
    for _ in range(2):
        for some, wanted in zip(data, expected, strict=True):
            assert_same(backend.host(net.forward(some)), wanted)


def test_small_batches_are_replayed_on_a_cpu(random):
    net = net_of("b", kernels.load("cpu"))
    net.freeze()
    for _ in range(2):  # the first forward pass may be the only one
        net.forward(random.standard_normal((1, *net.shape)).astype("f4"))
    (replay,) = net.context.buffers.replays.values()
    assert replay.tape is not None
    called = []
    net.layers[0].compute_output = called.append
    net.forward(random.standard_normal((1, *net.shape)).astype("f4"))
    assert called == []
    assert is_small((1, 32, 32, 3))
    assert not is_small((1, MOST + 1))
    assert not is_small((0, 3))


def test_changed_weights_count_from_the_next_eval_on(backend, random):
    net = net_of("c", backend)
    data = backend.xp.asarray(random.standard_normal((1, *net.shape)), dtype="f4")
    net.freeze()
    before = backend.host(net.forward(data)).copy()
    for parameter in net.parameters:
        parameter.value *= 2
    net.eval()
    after = backend.host(net.forward(data)).copy()
    assert abs(after - before).max() > 1e-3
    net.freeze()
    assert_same(backend.host(net.forward(data)), after)


def test_loaded_weights_count_at_once(backend, random):
    net, other = net_of("c", backend), net_of("c", backend)
    for parameter in other.parameters:
        parameter.value += 0.01
    data = backend.xp.asarray(random.standard_normal((2, *net.shape)), dtype="f4")
    other.eval()
    net.freeze()
    net.forward(data)
    net.load({**other.effective_weights(), **other.running()})
    np.testing.assert_allclose(backend.host(net.forward(data)), backend.host(other.forward(data)), rtol=1e-5, atol=1e-6)


def test_a_net_that_was_frozen_trains_as_one_that_was_not(backend, random):
    nets = net_of("c", backend), net_of("c", backend)
    data = backend.xp.asarray(random.standard_normal((3, *nets[0].shape)), dtype="f4")
    for net in nets:
        net.eval()
        if net is nets[0]:
            net.freeze()
        net.forward(data)
        net.train()
        optimizer = SGD(net.parameters, backend, learning_rate=0.1)
        for _ in range(2):
            net.backpropagate(backend.xp.ones_like(net.forward(data)))
            optimizer.step()
        net.eval()
    for one, other in zip(*(net.parameters for net in nets), strict=True):
        np.testing.assert_array_equal(backend.host(one.value), backend.host(other.value))


class Doubled(Layer):
    """A user-defined layer, whose NumPy calls are not recorded."""

    def infer_shape(self, shape):
        return shape

    def compute_output(self, data):
        return 2 * data

    def compute_error(self, error):
        return 2 * error


def test_a_user_defined_layer_computes_in_a_frozen_net(random):
    root = Sequential(Convolution(4, 3), Doubled(), ReLU(), Flatten(), FullyConnected(3))
    net = Net(root, (6, 6, 3), kernels.load("cpu"))
    net.eval()
    data = random.standard_normal((3, 1, 6, 6, 3)).astype("f4")
    expected = [net.forward(some).copy() for some in data]
    net.freeze()
    for some, wanted in zip(data, expected, strict=True):
        assert_same(net.forward(some), wanted)
    assert [replay.tape for replay in net.context.buffers.replays.values()] == [None]


class Clipped(Layer):
    """A user-defined layer that does not change small numbers, such as those of the trial of a tape."""

    def infer_shape(self, shape):
        return shape

    def compute_output(self, data):
        return data if abs(data).max() <= 6 else np.clip(data, -6, 6)

    def compute_error(self, error):
        return error * (abs(self.data) <= 6)


class Bounded(Sequential):
    """A user-defined container that does the same to its data."""

    def forward(self, data):
        return super().forward(data if abs(data).max() <= 6 else np.clip(data, -6, 6))


@pytest.mark.parametrize("middle", [lambda: Clipped(), lambda: Bounded(Convolution(2, 3))], ids=["layer", "container"])
def test_a_user_defined_layer_is_called_for_all_data_never_replayed(random, middle):
    root = Sequential(Convolution(4, 3), middle(), Flatten(), FullyConnected(3))
    net = Net(root, (6, 6, 3), kernels.load("cpu"))
    net.eval()
    small, large = random.standard_normal((1, 6, 6, 3)), np.full((1, 6, 6, 3), 50.0)
    expected = [net.forward(data).copy() for data in (small, large)]
    net.freeze()
    for _ in range(3):
        for data, wanted in zip((small, large), expected, strict=True):
            assert_same(net.predict(data.astype("f4")), wanted)


def test_memory_that_moves_and_workers_that_come_and_go(random):
    device = kernels.load("cpu")
    net, large = net_of("c", device), net_of("a", device)
    data = random.standard_normal((1, *net.shape)).astype("f4")
    net.freeze()
    expected = net.forward(data).copy()
    np.testing.assert_array_equal(net.forward(data), expected)
    large.forward(random.standard_normal((60, *large.shape)))
    np.testing.assert_array_equal(net.forward(data), expected)
    threads.set_workers(1)
    np.testing.assert_allclose(net.forward(data), expected, rtol=1e-5, atol=1e-6)
    threads.set_workers(2)
    np.testing.assert_array_equal(net.forward(data), expected)


def test_a_replay_keeps_what_its_calls_read(random):
    """Even if the layers have changed their algorithms since, because they keep those of only a few sizes."""
    root = Sequential(AnySize(Sequential(Convolution(16, 3), ReLU(), Convolution(16, 3)), 8, 1))
    net = Net(root, (40, 40, 16), kernels.load("cpu"))
    net.freeze()
    large, small = (random.standard_normal((1, n, n, 16)).astype("f4") for n in (40, 8))
    net.forward(large)  # scratch memory for all of them
    expected = net.forward(small).copy()
    np.testing.assert_array_equal(net.forward(small), expected)
    replay = net.context.buffers.replays[small.shape]
    *_, last = (layer for layer in net.layers if layer.kind == "conv")
    algorithm = weakref.ref(last.algorithm.direct)
    for n in range(20, 40):
        root.forward(random.standard_normal((1, n, n, 16)).astype("f4"))
    gc.collect()
    assert algorithm() is not None
    assert algorithm() not in [kept.direct for kept in last.algorithms.values()]
    np.testing.assert_array_equal(replay(small), expected)


def test_copies_and_threads_have_separate_replays(random):
    net = net_of("c", kernels.load("cpu"))
    data = [random.standard_normal((1, *net.shape)).astype("f4") for _ in range(2)]
    net.freeze()
    expected = [net.forward(some).copy() for some in data]
    twin = copy.deepcopy(net)
    assert not any(layer.weights.in_use.flags.writeable for layer in twin.layers if layer.weights)
    outputs = {}

    def answer(i):
        outputs[i] = net.forward(data[i])

    workers = [threading.Thread(target=answer, args=(i,)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for i, wanted in enumerate(expected):
        np.testing.assert_array_equal(outputs[i], wanted)
        np.testing.assert_array_equal(twin.forward(data[i]), wanted)


def test_data_that_do_not_fit_are_refused_as_before(random):
    net = net_of("c", kernels.load("cpu"))
    net.freeze()
    with pytest.raises(MinidlError, match="expected data of shape"):
        net.forward(random.standard_normal((1, 8, 9, 3)).astype("f4"))
    with pytest.raises(MinidlError, match="expected data of shape"):
        net.forward(random.standard_normal((8, 8, 3)).astype("f4"))


def test_a_folded_net_may_be_frozen(random):
    net = net_of("a", kernels.load("cpu"))
    net.eval()
    data = random.standard_normal((1, *net.shape)).astype("f4")
    expected = net.forward(data).copy()
    fold(net.root)
    net.root.freeze()
    np.testing.assert_allclose(net.forward(data), expected, rtol=1e-4, atol=1e-5)
