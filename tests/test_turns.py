"""Backward needs a forward pass in training of the same batch; without one it is always an error.

In no case may the gradients of another batch be returned.
"""

import numpy as np
import pytest

from minidl import MinidlError, models
from minidl.layer import Layer
from minidl.layers import (
    AnySize,
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
    Flatten,
    FullyConnected,
    GlobalAveragePool,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    MaxPool,
    ReLU,
    Residual,
    Resize,
    Sequential,
    TransposedConvolution,
)
from minidl.net import Net


class Double(Layer):
    """A user-defined layer."""

    kind = "double"

    def infer_shape(self, shape):
        return shape

    def compute_output(self, data):
        return 2 * data

    def compute_error(self, error):
        return 2 * error


LAYERS = {
    "any size": lambda: AnySize(Convolution(2, 3), least=4, step=3),
    "average pool": lambda: AveragePool(2, 2),
    "BN": BatchNorm,
    "concat": lambda: Concat(Convolution(2, 3)),
    "conv": lambda: Convolution(3, 3),
    "flatten": Flatten,
    "fc": lambda: Sequential(Flatten(), FullyConnected(3)),
    "global average pool": GlobalAveragePool,
    "GN": GroupNorm,
    "IN": InstanceNorm,
    "LN": LayerNorm,
    "max pool": lambda: MaxPool(2, 2),
    "own": Double,
    "relu": ReLU,
    "relu behind conv": lambda: Sequential(Convolution(2, 3), ReLU()),
    "residual": lambda: Residual(Convolution(2, 3)),
    "resize": lambda: Resize((3, 3)),
    "transposed conv": lambda: TransposedConvolution(2, 2, stride=2),
}
SHAPE = (5, 4, 2)
NO_FORWARD, OTHER_BATCH = "needs a forward in training before it", "4 samples after a forward of 3"


@pytest.fixture(params=LAYERS)
def layer(request, context):
    layer = LAYERS[request.param]()
    layer.setup(SHAPE, context)
    return layer


@pytest.fixture
def batch(layer, random):
    """Return data of ``samples`` samples, and an error for them."""
    xp = layer.kernels.xp

    def make(samples):
        shapes = ((samples, *SHAPE), (samples, *layer.output_shape))
        return [xp.asarray(random.standard_normal(shape)) for shape in shapes]

    return make


def ways_back(layer):
    """Return the functions that take an error; a container has one for both products."""
    ways = [layer.backpropagate]
    if not hasattr(layer, "children"):
        ways += [layer.backward, *([layer.comp_grads] if layer.parameters() else [])]
    return ways


def test_no_backward_without_a_forward_in_training(layer, batch):
    data, error = batch(3)

    def refused(message):
        for way in ways_back(layer):
            with pytest.raises(MinidlError, match=message):
                way(error)

    refused(NO_FORWARD)
    layer.forward(data)
    layer.eval()
    refused(NO_FORWARD)
    layer.forward(data)
    refused(NO_FORWARD)
    layer.train()
    refused(NO_FORWARD)
    layer.forward(data)
    for way in ways_back(layer):
        way(error)


def test_an_error_of_another_number_of_samples(layer, batch):
    layer.forward(batch(3)[0])
    for way in ways_back(layer):
        with pytest.raises(MinidlError, match=OTHER_BATCH):
            way(batch(4)[1])


def test_an_error_of_another_shape_never_reaches_the_kernels(layer, batch):
    data, error = batch(3)
    layer.forward(data)
    for way in ways_back(layer):
        with pytest.raises(MinidlError, match=r"expected an error of shape \(samples"):
            way(error[..., :-1].copy())


def test_a_new_shape_needs_a_new_forward(layer, batch):
    data, error = batch(3)
    layer.forward(data)
    layer.fit(SHAPE)
    with pytest.raises(MinidlError, match=NO_FORWARD):
        layer.backpropagate(error)


def test_two_backwards_after_one_forward_are_equal(layer, batch):
    data, error = batch(3)
    layer.forward(data)
    host = layer.kernels.host
    results = []
    for _ in range(2):
        back = host(layer.backpropagate(error)).copy()
        results.append([back, *(host(p.grads).copy() for p in layer.parameters())])
        for p in layer.parameters():
            p.grads.fill(np.nan)
    for once, again in zip(*results, strict=True):
        np.testing.assert_array_equal(once, again)


def test_errors_in_nets_name_the_layer(random):
    net = models.build("c", shape=(8, 8, 3), device="cpu")
    error = np.ones((2, 10), np.float32)
    with pytest.raises(MinidlError, match=r"fc2 \(fully connected, 10\) .* call train\(\), then forward\(data\)"):
        net.backpropagate(error)
    net.eval()
    net.forward(random.standard_normal((2, 8, 8, 3)).astype(np.float32))
    with pytest.raises(MinidlError, match=r"fc2 .*needs a forward in training"):
        net.backpropagate(error)
    assert all(layer.data is None for layer in net.layers)


def test_a_failed_forward_does_not_count(context, random):
    layer = Convolution(2, 3)
    layer.setup(SHAPE, context)
    data = context.kernels.xp.asarray(random.standard_normal((3, *SHAPE)))
    error = layer.forward(data).copy()
    layer.at_weights.hook = lambda weights: None
    with pytest.raises(MinidlError, match="returned NoneType"):
        layer.forward(data)
    with pytest.raises(MinidlError, match=NO_FORWARD):
        layer.backward(error)


def test_a_failing_hook_leaves_nothing_behind(context, random):
    """The sums that BN keeps of an error for its two products must not be used for the next error."""
    layer = BatchNorm()
    layer.setup(SHAPE, context)
    data, first, second = (context.kernels.xp.asarray(random.standard_normal((3, *SHAPE))) for _ in range(3))
    layer.forward(data)
    expected = context.kernels.host(layer.backpropagate(second)).copy()
    layer.at_error.hook = lambda error: None
    with pytest.raises(MinidlError):
        layer.backpropagate(first)
    layer.at_error.hook = None
    np.testing.assert_array_equal(context.kernels.host(layer.backpropagate(second)), expected)


class Unfinished(Double):
    """A layer whose __init__ does not call super().__init__()."""

    def __init__(self):
        self.factor = 2


class Childless(Sequential):
    """A container whose __init__ does not call super().__init__()."""

    def __init__(self):
        self.factor = 2


@pytest.mark.parametrize("kind", [Unfinished, Childless])
@pytest.mark.parametrize("around", [lambda layer: layer, Sequential, lambda layer: Residual(Sequential(layer))])
def test_a_layer_without_super_init_is_explained(backend, kind, around):
    advice = rf"{kind.__name__}.__init__ does not begin with super\(\).__init__\(\)"
    with pytest.raises(MinidlError, match=advice):
        Net(around(kind()), SHAPE, backend)
    with pytest.raises(MinidlError, match=advice):
        repr(kind())
    with pytest.raises(AttributeError, match="'Double' object has no attribute 'slope'"):
        _ = Double().slope


@pytest.mark.parametrize("kind", [ReLU, BatchNorm, lambda: Convolution(2, 3), lambda: Sequential(Double())])
def test_a_layer_has_one_place_in_one_net(backend, kind):
    for row in (lambda layer: [layer, layer], lambda layer: [layer, Residual(Sequential(Double(), layer))]):
        with pytest.raises(MinidlError, match=r"1 \(.*\) is used twice in this net.*make a layer for each place"):
            Net(Sequential(*row(kind())), SHAPE, backend)
    shared = kind()
    Net(Sequential(shared), SHAPE, backend)
    with pytest.raises(MinidlError, match=r"1 \(.*\) was set up for a net already; make new layers"):
        Net(Sequential(Double(), shared), SHAPE, backend)
