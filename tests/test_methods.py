"""Methods as texts, such as "WC, GC, fully", and which layers of a net they reach."""

import re

import numpy as np
import pytest
from small_nets import small_net

from minidl import MinidlError, kernels, models
from minidl.hooks import Reparametrization
from minidl.layer import Layer
from minidl.layers import (
    BatchNorm,
    Convolution,
    Flatten,
    FullyConnected,
    ReLU,
    Residual,
    Sequential,
    TransposedConvolution,
)
from minidl.method import parse
from minidl.net import Net
from minidl.normalizations import Normalization


@pytest.mark.parametrize(
    "text, names, fully",
    [
        ("Baseline", [], False),
        ("WC, GC, fully", ["WC", "GC"], True),
        ("wc,gc", ["WC", "GC"], False),
        ("weight tensor (WC)", ["weight tensor"], False),
        ("error  Sample (EL)", ["error sample"], False),
        ("WS, GC, ELN", ["WS", "GC", "ELN"], False),
    ],
)
def test_methods_are_read_as_the_tables_write_them(text, names, fully):
    method = parse(text)
    assert [n.name for n in method.normalizations] == names
    assert method.fully == fully
    assert parse(str(method)) == method


@pytest.mark.parametrize(
    "text, message",
    [
        ("WX", "unknown word 'WX'; use words of: Baseline, WN, WC"),
        ("WC, WS", "normalizes the weights twice, by WC and WS"),
        ("Baseline, fully", "not what is normalized"),
        ("WC,,GC", "'WC,,GC' has a comma too many, or no word; write, for example, WC, GC"),
        ("", "'' has a comma too many, or no word"),
        ("wc gc", r"unknown word 'wc gc' \(did you mean WC, GC, with commas between\?\); use"),
        ("WC, GCC", r"unknown word 'GCC' \(did you mean GC\?\); use"),
    ],
)
def test_bad_methods_are_refused(text, message):
    with pytest.raises(MinidlError, match=message):
        parse(text)


def test_fully_takes_the_penultimate_layer_and_never_the_output():
    hooked = {fully: [p.name for p in small_net(f"WC{fully}").normalized_weights()] for fully in ("", ", fully")}
    convolutions = [f"conv{i}.weights" for i in range(1, 7)]
    assert hooked == {"": convolutions, ", fully": [*convolutions, "fc1.weights"]}
    layers = {layer.name: layer for layer in small_net("WC, GC, EL, fully").layers}
    assert layers["fc2"].at_weights.hook is None
    assert layers["fc2"].at_error.hook is None
    assert isinstance(next(iter(small_net("WC", "reparametrization").layers)).at_weights.hook, Reparametrization)


def test_fully_takes_one_of_several_fully_connected_layers():
    root = Sequential(Convolution(2, 3), Flatten(), *(FullyConnected(n) for n in (5, 4, 3)))
    net = Net(root, (4, 4, 2), "cpu", method="WC, fully")
    assert [p.name for p in net.normalized_weights()] == ["conv1.weights", "fc2.weights"]


@pytest.mark.parametrize("mode", ["projection", "reparametrization"])
@pytest.mark.parametrize("method", ["weight instance, fully", "gradient instance, fully", "error instance, fully"])
def test_an_area_of_single_elements_is_refused_when_the_net_is_built(method, mode):
    message = r"fc1 \(fully connected, .* cannot have .* one element per group .*; use another area here, or leave the"
    with pytest.raises(MinidlError, match=message):
        small_net(method, mode=mode)


def test_an_error_of_one_pixel_has_no_plane_to_be_centered():
    message = r"conv\d+ \(conv 3×3, 512.* cannot have error instance: .*; use another area here, or larger images$"
    with pytest.raises(MinidlError, match=message):
        models.build("b", method="error instance", device="cpu")


@pytest.mark.parametrize("method", ["EB", "EBN, fully", "error channel"])
def test_batches_of_one_sample_are_refused_where_a_mean_would_be_of_one_element(method):
    net = small_net(method) if "fully" in method else models.build("b", method=method, device="cpu")
    net.check_batches([5, 2])
    with pytest.raises(MinidlError, match=r"cannot have .* one element per group .*, or larger batches$"):
        net.check_batches([5, 1])


def test_the_error_that_the_first_layer_would_compute_is_not_checked():
    """The mean of its single pixel could not be subtracted, but that error is never computed."""
    root = Sequential(TransposedConvolution(3, 2, stride=2), ReLU(), Convolution(3, 1), Convolution(2, 1))
    net = Net(root, (1, 1, 4), kernels.load("cpu"), method="EB")
    net.check_batches([1])
    net.train()
    net.forward(np.ones((1, 1, 1, 4), np.float32))
    net.backpropagate(np.ones((1, 2, 2, 2), np.float32))


def test_an_error_that_no_layer_learns_from_is_refused(backend):
    """The first layer passes no error back, and no layer learns from an error that reaches only a Flatten."""
    layers = [
        (Convolution(2, 3), Flatten(), FullyConnected(3)),
        (Flatten(), FullyConnected(4), FullyConnected(3)),
        (Residual(Convolution(2, 3), Convolution(2, 1)), Flatten(), FullyConnected(3)),
    ]
    for root, name in zip(layers, ("conv1", "fc1", "conv1 or conv2"), strict=True):
        method = "WC, EB, fully" if name == "fc1" else "WC, EB"
        said = f"the method '{method}' would change nothing by EB, as no layer that learns gets an error from {name} in"
        with pytest.raises(MinidlError, match=said):
            Net(Sequential(*root), (4, 4, 3), backend, method=method)


def test_a_method_hangs_no_hook_where_it_would_not_be_called():
    net = small_net("WC, EB")
    assert [str(layer.at_error) for layer in net.layers if str(layer.at_weights)] == ["", *["EB"] * 5]
    assert re.search(r"^conv1 .* WC$", str(net), re.MULTILINE)
    body = Sequential(Convolution(3, 3), ReLU(), Convolution(3, 3))
    root = Sequential(Residual(body, Convolution(3, 1)), Flatten(), FullyConnected(2))
    net = Net(root, (4, 4, 3), kernels.load("cpu"), method="EB")
    assert [layer.name for layer in net.layers if layer.at_error.hook] == ["conv2"]


class Own(Layer):
    """A user-defined layer with weights (out, in)."""

    kind = "own"

    def __init__(self, outputs=2, axes=4):
        super().__init__()
        self.outputs, self.axes = outputs, axes

    def infer_shape(self, shape):
        weights = {1: (shape[-1],), 2: (self.outputs, shape[-1]), 4: (self.outputs, 1, 1, shape[-1])}[self.axes]
        self.create_parameters(weights, 1, 1)
        return (*shape[:-1], self.outputs)

    def compute_output(self, data):
        return data @ self.weights.in_use.reshape(self.outputs, -1).T

    def compute_error(self, error):
        return error @ self.weights.in_use.reshape(self.outputs, -1)

    def compute_grads(self, error):
        columns = (array.reshape(-1, array.shape[-1]) for array in (error, self.data))
        self.weights.grads[...] = (next(columns).T @ next(columns)).reshape(self.weights.grads.shape)
        self.biases.grads[...] = 0


@pytest.mark.parametrize("axes", [2, 4])
def test_methods_reach_user_defined_weighted_layers(backend, random, axes):
    def net(method):
        root = Sequential(Own(4, axes), ReLU(), Convolution(3, 3), Flatten(), FullyConnected(5), FullyConnected(2))
        return Net(root, (4, 4, 3), backend, method=method, dtype="float64")

    def reached(method):
        return [p.name for p in net(method).normalized_weights()]

    assert reached("WC, GC") == ["own1.weights", "conv1.weights"]
    assert reached("WC, GC, fully") == ["own1.weights", "conv1.weights", "fc1.weights"]
    one = net("WC, GC, EL")
    one.backpropagate(one.forward(backend.xp.asarray(random.standard_normal((2, 4, 4, 3)))).copy())
    own = one.layers[0]
    for array in (own.weights.value, own.weights.grads):
        means = backend.host(array).reshape(4, -1).mean(1)
        np.testing.assert_allclose(means, 0, atol=1e-15)


def test_the_output_layer_is_the_last_layer_with_filters(backend):
    root = Sequential(Convolution(2, 3), Convolution(2, 3), Own(2, axes=1))
    net = Net(root, (4, 4, 3), backend, method="WC")
    assert [p.name for p in net.normalized_weights()] == ["conv1.weights"]


class TestMethodsOfNetsMadeByHand:
    @pytest.mark.parametrize("word, layer", [("BN", "BatchNorm"), ("GN", "GroupNorm"), ("LN", "LayerNorm")])
    def test_a_data_norm_stands_in_the_net(self, backend, word, layer):
        def root(*norm):
            return Sequential(Convolution(4, 3), *norm, ReLU(), Convolution(2, 3))

        for method in (f"WC, {word}", f"Baseline, {word}"):
            with pytest.raises(MinidlError, match=rf"names {word}, but this net was made without .* put {layer}\(\)"):
                Net(root(), (4, 4, 3), backend, method=method)
        assert word in str(Net(root(*parse(word).norm()), (4, 4, 3), backend, method=word))
        Net(root(BatchNorm()), (4, 4, 3), backend, method="WC")  # the user decides about the other layers

    @pytest.mark.parametrize(
        "root",
        [lambda: Sequential(Convolution(2, 3)), lambda: Sequential(Flatten(), FullyConnected(3), FullyConnected(2))],
    )
    def test_a_method_with_nothing_to_normalize(self, backend, root):
        with pytest.raises(MinidlError, match="the method 'WC, GC' has nothing to normalize in this net"):
            Net(root(), (4, 4, 3), backend, method="WC, GC")
        assert Net(root(), (4, 4, 3), backend).normalized_weights() == []

    @pytest.mark.parametrize("method", [None, 3, Normalization("A", "weights", "tensor", "center"), ("WC", "GC")])
    def test_a_method_is_a_text(self, backend, method):
        with pytest.raises(MinidlError, match="a method is a text such as 'WC, GC, fully', not"):
            Net(Sequential(Convolution(2, 3)), (4, 4, 3), backend, method=method)
