"""The nets of Figure 1: their sizes, and the residual connection's rule of extents."""

import numpy as np
import pytest

from minidl import MinidlError, models
from minidl.layers import Convolution, MaxPool, Residual


@pytest.mark.parametrize(
    "name, method, count",
    [
        ("a", "Baseline", 785_738),
        ("a", "WC, GC, BN, fully", 786_186),
        ("b", "Baseline, BN", 21_123_594),
        ("b-cifar", "WC, GC, BN", 21_115_914),
        ("c", "Baseline", 1_341_226),
    ],
)
def test_parameters(name, method, count):
    assert models.build(name, method=method, device="cpu").parameter_count == count


@pytest.mark.parametrize("name, extents", [("b", [13, 6, 3, 1]), ("b-cifar", [32, 16, 8, 4])])
def test_the_stages_of_net_b(name, extents):
    net = models.build(name, method="Baseline, BN", device="cpu")
    sizes = [layer.output_shape for layer in net.layers if layer.kind == "add"]
    assert list(dict.fromkeys(size[0] for size in sizes)) == extents
    assert len(sizes) == 16


def test_without_bn_there_is_none():
    for name in models.NAMES:
        assert not any(layer.kind == "bn" for layer in models.build(name, method="WC, GC", device="cpu").layers)


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
    data = random.standard_normal((2, 6, 7, 3))
    first, second = body.forward(data).copy(), shortcut.forward(data).copy()
    assert (first.shape, second.shape) == ((2, 2, 3, 5), (2, 3, 3, 3))
    expected = np.zeros((2, 3, 3, 5))
    expected[:, :2] += first
    expected[..., :3] += second
    np.testing.assert_array_equal(layer.forward(data), expected)
