"""The nets of Figure 1: their sizes, and the residual connection's rule of extents, and images of any size."""

import numpy as np
import pytest

from minidl import MinidlError, models
from minidl.layers import Convolution, MaxPool, Residual
from minidl.method import parse
from minidl.models import d
from minidl.net import Net


@pytest.mark.parametrize(
    "name, method, count",
    [
        ("a", "Baseline", 785_738),
        ("a", "WC, GC, BN, fully", 786_186),
        ("b", "Baseline, BN", 21_123_594),
        ("b-cifar", "WC, GC, BN", 21_115_914),
        ("c", "Baseline", 1_341_226),
        ("d", "WC, GC, BN", 40_130_133),
    ],
)
def test_parameters(name, method, count):
    classes, size = (21, 227) if name == "d" else (10, 32)
    net = models.build(name, method=method, classes=classes, shape=(size, size, 3), device="cpu")
    assert net.parameter_count == count


@pytest.mark.parametrize("name, extents", [("b", [13, 6, 3, 1]), ("b-cifar", [32, 16, 8, 4])])
def test_the_stages_of_net_b(name, extents):
    net = models.build(name, method="Baseline, BN", device="cpu")
    sizes = [layer.output_shape for layer in net.layers if layer.kind == "add"]
    assert list(dict.fromkeys(size[0] for size in sizes)) == extents
    assert len(sizes) == 16


def test_a_method_without_bn_gives_a_net_without_bn():
    for name in models.NAMES:
        net = models.build(name, method="WC, GC", device="cpu")
        assert not any(layer.kind == "bn" for layer in net.layers)


@pytest.mark.parametrize("name, least", [("a", 8), ("b", 29), ("b-cifar", 12), ("c", 8)])
def test_the_smallest_images(name, least):
    models.build(name, shape=(least, least, 3), device="cpu")
    size = least - 1
    with pytest.raises(MinidlError, match=f"the net {name} cannot take images of {size}×{size} pixels: .*"):
        models.build(name, shape=(size, size, 3), device="cpu")


def test_fully_needs_a_second_fully_connected_layer():
    with pytest.raises(MinidlError, match="leave the word fully out"):
        models.build("b", method="WC, fully", device="cpu")


def test_a_sum_takes_the_larger_extents(context, random):
    body, shortcut = Convolution(5, 3, stride=2), MaxPool(2, 2)
    layer = Residual(body, shortcut)
    assert layer.setup((6, 7, 3), context) == (3, 3, 5)
    data, host = context.kernels.xp.asarray(random.standard_normal((2, 6, 7, 3))), context.kernels.host
    first, second = host(body.forward(data)).copy(), host(shortcut.forward(data)).copy()
    assert (first.shape, second.shape) == ((2, 2, 3, 5), (2, 3, 3, 3))
    expected = np.zeros((2, 3, 3, 5))
    expected[:, :2] += first
    expected[..., :3] += second
    np.testing.assert_array_equal(host(layer.forward(data)), expected)


def test_the_sizes_of_net_d():
    net = models.build("d", classes=21, shape=(227, 227, 3), device="cpu")
    connections = [layer.output_shape for layer in net.layers if layer.kind == "concat"]
    assert connections == [(13, 13, 768), (27, 27, 384), (55, 55, 192), (111, 111, 128)]
    assert net.output_shape == (227, 227, 21)
    assert all(layer.input_shape == layer.output_shape for layer in net.layers if layer.kind == "resize")


def small_d(backend, size=67):
    return Net(d.net(4, parse("Baseline, BN"), filters=(2, 3, 4, 5)), (size, size, 3), backend, dtype="float64")


@pytest.mark.quick_on("numba")
@pytest.mark.parametrize("y, x", [(1, 1), (66, 70), (101, 68)])
def test_net_d_takes_images_of_any_size(backend, random, y, x):
    net = small_d(backend)
    net.train()
    output = net.forward(backend.xp.asarray(random.standard_normal((2, y, x, 3))))
    assert output.shape == (2, y, x, 4)
    net.backpropagate(backend.xp.asarray(random.standard_normal(output.shape)))
    assert all(np.isfinite(backend.host(p.grads)).all() for p in net.parameters)


@pytest.mark.thorough
def test_another_size_leaves_the_parameters_and_the_first_size_as_they_were(backend, random):
    net = small_d(backend)
    net.eval()
    data, parameters = backend.xp.asarray(random.standard_normal((2, 67, 67, 3))), net.parameters
    values = [p.value for p in parameters]
    before = backend.host(net.forward(data)).copy()
    for size in range(68, 78):
        net.forward(backend.xp.asarray(random.standard_normal((1, size, size - 1, 3))))
    np.testing.assert_array_equal(backend.host(net.forward(data)), before)
    assert all(p.value is value for p, value in zip(net.parameters, values, strict=True))
    assert len(net.layers[0].algorithms) == 8


def test_padding_is_black_and_cut_off_again(backend, random):
    net = small_d(backend)
    net.eval()
    data = random.standard_normal((1, 60, 67, 3))
    padded = np.zeros((1, 67, 67, 3))
    padded[:, :60] = data
    output = backend.host(net.forward(backend.xp.asarray(data))).copy()
    np.testing.assert_array_equal(backend.host(net.forward(backend.xp.asarray(padded))[:, :60]), output)


def test_net_d_refuses_other_data(backend, random):
    net = small_d(backend)
    for shape in ((1, 70, 70, 4), (70, 70, 3)):
        with pytest.raises(MinidlError, match="expected data of shape"):
            net.forward(random.standard_normal(shape))


def test_transposed_convolutions_are_normalized_by_their_filters():
    net = models.build("d", method="WC, BN", classes=3, shape=(67, 67, 3), device="cpu")
    names = [p.name for p in net.normalized_weights()]
    assert len(names) == 45 + 9
    assert "conv46.weights" not in names
    effective = net.effective_weights()
    for name in names:
        assert np.abs(effective[name].mean((1, 2, 3))).max() < 1e-7


@pytest.mark.parametrize("seed", [-1, 0.5, "one", None])
def test_an_impossible_seed_is_refused(seed):
    with pytest.raises(MinidlError, match="seed of Net must be a whole number of at least 0, not"):
        models.build("a", device="cpu", seed=seed)


@pytest.mark.parametrize("classes", [1, 2.5, "10"])
def test_an_impossible_number_of_classes_is_refused(classes):
    with pytest.raises(MinidlError, match="classes of build must be a whole number of at least 2, not"):
        models.build("a", device="cpu", classes=classes)
