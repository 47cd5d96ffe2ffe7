"""Who owns an output, copies of nets, and the use of memory, which does not grow."""

import copy
import gc
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest

from minidl import models
from minidl.context import Context
from minidl.kernels.cpu import loops
from minidl.kernels.errors import MinidlError
from minidl.layers import AnySize, Convolution, Flatten, FullyConnected, Residual, Sequential
from minidl.losses import SoftmaxCrossEntropy
from minidl.net import Net
from minidl.optimizers import SGD, Adam
from minidl.preprocessing import Preprocessing


def build(backend: Any, method: str = "WC, GC, BN", **settings: Any) -> Net:
    from minidl.method import parse
    from minidl.models import c

    root = c.net(10, parse(method), filters=(4, 6, 8), hidden=20)
    return Net(root, (16, 16, 3), backend, name="c", method=method, **settings)


def data_of(samples: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((samples, 16, 16, 3)).astype(np.float32)


def test_predictions_are_the_callers_own(backend):
    net = build(backend)
    net.eval()
    batches = [data_of(3, seed) for seed in range(3)]
    expected = [backend.host(net.forward(batch)).copy() for batch in batches]
    for found, right in zip([net.predict(batch) for batch in batches], expected, strict=True):
        np.testing.assert_array_equal(found, right)
        assert isinstance(found, np.ndarray)


@pytest.mark.quick_on("numba", "gpu")
@pytest.mark.parametrize("samples", [0, 1, 7])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_any_number_of_samples_is_predicted_in_batches(backend, samples, dtype):
    net = build(backend)
    net.eval()
    data = data_of(samples).astype(dtype)
    found = net.predict(data, batch_size=3)
    assert found.shape == (samples, 10)
    for one, image in zip(found, data, strict=True):
        np.testing.assert_allclose(one, backend.host(net.forward(image[None]))[0], rtol=2e-4, atol=2e-5)


def test_integers_are_predicted_only_where_the_net_can_prepare_them(backend):
    net = build(backend)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3))
    for dtype in ("u1", "i8", "?"):
        with pytest.raises(MinidlError, match=r"predict got integers of .* \(images - MEAN\) / DIVISOR"):
            net.predict(pixels.astype(dtype))
        as_numbers = backend.host(net.forward(pixels.astype(dtype))).copy()
        again = backend.host(net.forward(pixels.astype(dtype).astype(float)))
        np.testing.assert_allclose(as_numbers, again, rtol=1e-4, atol=1e-6)  # WC rounds once more
    net.preprocessing = Preprocessing((100.0,) * 3, 256.0, (16, 16), ())
    prepared = net.predict((pixels - 100.0) / 256)
    np.testing.assert_allclose(net.predict(pixels.astype("u1")), prepared, rtol=1e-4, atol=1e-6)  # WC rounds once more
    with pytest.raises(MinidlError, match="give uint8 images, or floats"):
        net.predict(pixels)


def test_a_net_in_training_continues_training_after_a_prediction(backend):
    net, quiet = build(backend, "WC, GC"), build(backend, "WC, GC")
    loss, labels = SoftmaxCrossEntropy(backend), backend.xp.arange(4)
    weights = []
    for one, asks in ((net, True), (quiet, False)):
        optimizer = SGD(one.parameters, backend, 0.01)
        for step in range(3):
            if asks:
                one.predict(data_of(2, 99))
            loss(one.forward(backend.xp.asarray(data_of(4, step))), labels)
            one.backpropagate(loss.error)
            optimizer.step()
        weights.append([backend.host(p.value) for p in one.parameters])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)  # another WC changes the last bits


def test_a_prediction_that_fails_leaves_a_net_in_training(backend):
    net = build(backend)
    for data, size in ((data_of(2)[:, :4], None), (data_of(2), -1), (np.float32(3), None), ([[1, 2], [3]], None)):
        with pytest.raises(MinidlError):
            net.predict(data, size)
        assert net.training
        assert all(layer.training for layer in net.layers)


def test_the_weights_of_a_net_at_inference_are_those_that_it_uses(backend):
    """Reading them, as a checkpoint does, calls no hook again."""
    net = build(backend, "Baseline")
    net.layers[0].at_weights.hook = lambda weights: weights / 2
    net.eval()
    before = net.predict(data_of(2))
    net.effective_weights()
    np.testing.assert_array_equal(net.predict(data_of(2)), before)


def test_a_hook_does_not_change_the_error_that_a_layer_only_passes_on(backend):
    root = Residual(Sequential(FullyConnected(4), Flatten()))
    root.setup((4,), Context(backend, np.dtype(np.float64), np.random.default_rng(0)))
    body = root.children[0]
    weights = backend.host(body.children[0].weights.value)
    body.children[1].at_error.hook = lambda error: error / 2
    root.forward(np.ones((2, 4)))
    error = np.ones((2, 4))
    found = backend.host(root.backpropagate(error))
    np.testing.assert_allclose(found, 1 + 0.5 * np.ones((2, 4)) @ weights)
    np.testing.assert_array_equal(error, 1)


def test_errors_of_padded_images_are_kept(backend):
    root = AnySize(Sequential(Convolution(3, 3)), 8, 8)
    net = Net(root, (6, 6, 3), backend, dtype=np.float64)
    random = np.random.default_rng(0)
    net.forward(random.standard_normal((2, 6, 6, 3)))
    first = root.backpropagate(random.standard_normal((2, 6, 6, 3)))
    kept = backend.host(first).copy()
    root.backpropagate(random.standard_normal((2, 6, 6, 3)))
    np.testing.assert_array_equal(backend.host(first), kept)


@pytest.mark.parametrize("dtype", ["f2", ">f4", int, complex])
def test_a_net_computes_in_float32_or_float64(backend, dtype):
    with pytest.raises(MinidlError, match="a net computes in float32 or float64, not in"):
        build(backend, dtype=dtype)


def test_observers_may_keep_what_they_see(backend):
    net = build(backend)
    seen: dict[str, list[Any]] = {"before": [], "after": []}
    conv = net.layers[0]
    conv.at_grads.before.append(seen["before"].append)
    conv.at_grads.after.append(seen["after"].append)
    loss = SoftmaxCrossEntropy(backend)
    for step in range(2):
        loss(net.forward(backend.xp.asarray(data_of(4, step))), backend.xp.arange(4))
        net.backpropagate(loss.error)
    for before, after in zip(seen["before"], seen["after"], strict=True):
        filters = backend.host(before).reshape(4, -1)
        assert np.abs(filters.mean(axis=1)).max() > 1e-4
        np.testing.assert_allclose(
            backend.host(after).reshape(4, -1), filters - filters.mean(axis=1, keepdims=True), rtol=1e-3, atol=1e-6
        )
    assert np.abs(backend.host(seen["before"][0] - seen["before"][1])).max() > 0


# -- copies -----------------------------------------------------------------------------------------------------------


@pytest.mark.quick_on("numba", "gpu")
@pytest.mark.parametrize("mode", ["projection", "reparametrization"])
def test_a_deep_copy_is_independent(backend, mode):
    net = build(backend, "WS, GC, BN", mode=mode)
    labels, loss = backend.xp.arange(4), SoftmaxCrossEntropy(backend)

    def train(one: Net, seed: int) -> list[Any]:
        optimizer = Adam(one.parameters, backend, 1e-3)
        for step in range(3):
            loss(one.forward(backend.xp.asarray(data_of(4, seed + step))), labels)
            one.backpropagate(loss.error)
            optimizer.step()
        return [backend.host(p.value).copy() for p in one.parameters]

    train(net, 0)
    before = [backend.host(p.value).copy() for p in net.parameters]
    twin, third = copy.deepcopy(net), copy.deepcopy(net)
    assert str(twin) == str(net)
    of_twin = train(twin, 50)
    for now, then in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(backend.host(now.value), then)
    del net
    gc.collect()
    for a, b in zip(train(third, 50), of_twin, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_copy_of_a_net_with_its_optimizer_trains_on(backend):
    net = build(backend)
    optimizer, loss = Adam(net.parameters, backend, 1e-3), SoftmaxCrossEntropy(backend)

    def step(net: Net, optimizer: Adam) -> Any:
        loss(net.forward(backend.xp.asarray(data_of(4))), backend.xp.arange(4))
        net.backpropagate(loss.error)
        optimizer.step()
        return backend.host(net.parameters[0].value).copy()

    step(net, optimizer)
    twin, its_optimizer = copy.deepcopy((net, optimizer))
    np.testing.assert_array_equal(step(twin, its_optimizer), step(net, optimizer))


def test_nets_and_layers_refuse_to_be_pickled_with_advice(backend):
    net = build(backend)
    for one in (net, net.layers[0], net.root):
        with pytest.raises(MinidlError, match=r"cannot be pickled; save a net by checkpoint\.save"):
            pickle.dumps(one)


# -- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_images_of_many_sizes_take_no_more_memory_than_a_few(name):
    if name == "numba":
        pytest.importorskip("numba")
    loops.use(name)
    from minidl.kernels import load
    from minidl.method import parse
    from minidl.models import d

    net = Net(d.net(3, parse("BN"), filters=(1, 1, 1, 1), count=0), (67, 67, 3), load("cpu"), method="BN")
    net.eval()
    largest = np.zeros((1, 79, 79, 3), np.float32)
    tracemalloc.start()
    try:
        held = []
        for turn in range(3):  # no size occurs twice
            for i in range(12):
                net.forward(largest[:, : 67 + i, : 67 + (i + 4 * turn) % 12])
            net.forward(largest)
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        loops.use_best()
    assert held[2] - held[1] < 250_000  # a layer keeps a few recordings; outputs of all sizes take megabytes


def test_few_vectors_of_ones_are_kept():
    from minidl.kernels.cpu.ones import ones

    places = set()
    for length in range(300):
        vector = ones(length, np.dtype("f4"))
        np.testing.assert_array_equal(vector, np.ones(length))
        places.add(vector.__array_interface__["data"][0])
    assert len(places) == 10  # of 1, 2, 4, … 512
    with pytest.raises(ValueError, match="read-only"):
        ones(3, np.dtype("f4"))[0] = 2


def test_a_layer_can_be_copied_before_it_is_set_up():
    for layer in (Convolution(3, 3), FullyConnected(2)):
        assert str(copy.deepcopy(layer)) == str(layer)


def test_a_loaded_net_can_be_copied(tmp_path):
    from minidl import checkpoint

    net = models.build("a", method="WC, BN", device="cpu")
    checkpoint.save(tmp_path / checkpoint.NAME, net, Adam(net.parameters, net.kernels, 1e-3), 1)
    loaded = checkpoint.load(tmp_path, "cpu")
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3))
    np.testing.assert_array_equal(copy.deepcopy(loaded).predict(images), loaded.predict(images))
