"""User-defined models and layers, and the checkpoints of their nets."""

import numpy as np
import pytest

import minidl
from minidl import models
from minidl.experiment.saving import checkpoint
from minidl.gradcheck import check_layer
from minidl.kernels import load
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.layers import BatchNorm, Convolution, Flatten, FullyConnected, ReLU, Sequential
from minidl.net import Net
from minidl.normalizations import register
from minidl.optimizers import SGD

pytestmark = pytest.mark.usefixtures("names")


def layers(classes, method):
    return Sequential(Convolution(3, 3), *method.norm(), ReLU(), Flatten(), FullyConnected(classes))


def test_a_model_has_a_name_a_method_and_what_it_labels():
    assert minidl.model("mine", method="WC, BN")(layers) is layers
    assert (models.best_method("mine"), models.per_pixel("mine")) == ("WC, BN", False)
    minidl.model("labelling", per_pixel=True)(lambda classes, method: Convolution(classes, 1))
    assert models.per_pixel("labelling")
    assert models.build("labelling", classes=4, shape=(6, 5, 3), device="cpu").output_shape == (6, 5, 4)
    net = models.build("mine", method="WC, BN", classes=4, shape=(6, 5, 3), device="cpu")
    assert (net.name, net.output_shape, [layer.kind for layer in net.layers][1]) == ("mine", (4,), "bn")
    assert "mine" not in models.NAMES


@pytest.mark.parametrize(
    "args, function, message",
    [
        (("c",), layers, "the name 'c' is taken by another model"),
        (("my net",), layers, "a model cannot be called 'my net'; use one word"),
        (("../net",), layers, "a model cannot be called '../net'"),
        ((7,), layers, "a model cannot be called 7"),
        (("mine", "WX"), layers, "unknown word 'WX'"),
        (("mine",), lambda: None, r"the model 'mine' calls <lambda>\(classes, method\), which takes other arguments"),
        (("mine",), None, r"the model 'mine' needs a function \(classes, method\), not None"),
    ],
)
def test_functions_that_are_no_models_are_refused(args, function, message):
    with pytest.raises(MinidlError, match=message):
        minidl.model(*args)(function)


def test_a_model_that_makes_no_layer():
    minidl.model("list")(lambda classes, method: [ReLU()])
    with pytest.raises(MinidlError, match=r"'list' returned list; let it return one layer, such as Sequential"):
        models.build("list", device="cpu")


@pytest.mark.parametrize(
    "last, per_pixel, message",
    [
        (
            (Flatten(), FullyConnected(7)),
            False,
            r"shape \(7,\) of an image, and \(4,\) is needed for 4 classes; end it with Ful",
        ),
        ((Convolution(4, 1),), False, r"shape \(6, 5, 4\) of an image, and \(4,\) is needed"),
        ((Convolution(3, 1),), True, r"\(6, 5, 4\) is needed for 4 classes; end it with Convolution\(classes, 1\)"),
    ],
)
def test_a_model_whose_output_is_not_the_classes(last, per_pixel, message):
    minidl.model("odd", per_pixel=per_pixel)(lambda classes, method: Sequential(*last))
    with pytest.raises(MinidlError, match=f"the model 'odd' makes an output of .*{message}"):
        models.build("odd", classes=4, shape=(6, 5, 3), device="cpu")


class Correlation(Layer):
    """A user-defined convolution, 2×2 without padding; its weights have four axes, or two."""

    kind = "own"

    def __init__(self, filters, axes):
        super().__init__()
        self.filters, self.axes = filters, axes

    def infer_shape(self, shape):
        y, x, channels = shape
        weights = {4: (self.filters, 2, 2, channels), 2: (self.filters, 4 * channels)}[self.axes]
        self.create_parameters(weights, 4 * channels, self.filters)
        return y - 1, x - 1, self.filters

    def spots(self):
        y, x, _ = self.output_shape
        return [(slice(None), slice(i, i + y), slice(j, j + x)) for i in range(2) for j in range(2)]

    def compute_output(self, data):
        weights = self.weights.in_use.reshape(self.filters, 4, -1)
        return sum(data[at] @ weights[:, k].T for k, at in enumerate(self.spots())) + self.biases.value

    def compute_error(self, error):
        weights = self.weights.in_use.reshape(self.filters, 4, -1)
        out = self.new_error((len(error), *self.input_shape))
        out[...] = 0
        for k, at in enumerate(self.spots()):
            out[at] += error @ weights[:, k]
        return out

    def compute_grads(self, error):
        grads = self.weights.grads.reshape(self.filters, 4, -1)
        for k, at in enumerate(self.spots()):
            grads[:, k] = np.tensordot(error, self.data[at], axes=([0, 1, 2], [0, 1, 2]))
        self.biases.grads[...] = error.sum(axis=(0, 1, 2))


@pytest.mark.parametrize("axes", [4, 2])
def test_methods_reach_user_defined_layers_at_both_places(backend, random, axes):
    data = random.standard_normal((4, 5, 4, 3))
    trained = []
    for place in ("hooks", "optimizer"):
        root = Sequential(Correlation(4, axes), ReLU(), Flatten(), FullyConnected(2))
        net = Net(root, (5, 4, 3), backend, method="WC, GC", place=place, dtype="float64")
        optimizer, cotangent = SGD(net.parameters, backend, learning_rate=0.1), np.random.default_rng(1)
        for _ in range(3):
            output = net.forward(data)
            net.backpropagate(backend.xp.asarray(cotangent.standard_normal(output.shape)))
            optimizer.step()
        net.eval()
        trained.append(backend.host(net.layers[0].weights.in_use).copy())
    np.testing.assert_allclose(trained[0], trained[1], rtol=0, atol=1e-14)
    np.testing.assert_allclose(trained[0].reshape(4, -1).mean(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("axes", [4, 2])
def test_a_user_defined_layer_has_the_gradients_of_a_convolution(backend, random, axes):
    layer = Correlation(3, axes)
    Net(layer, (4, 3, 2), backend, dtype="float64")
    data = random.standard_normal((2, 4, 3, 2))
    checked = check_layer(layer, data, random)
    assert [check.name for check in checked] == ["error", "own1.weights", "own1.biases"]
    same = Convolution(3, 2, padding=0)
    Net(same, (4, 3, 2), backend, dtype="float64")
    same.weights.value[...] = layer.weights.value.reshape(same.weights.value.shape)
    np.testing.assert_allclose(*(backend.host(one.forward(data)) for one in (layer, same)), atol=1e-14)


LAYER = """import minidl
from minidl.layer import Layer
from minidl.layers import Flatten, FullyConnected, Sequential


class A(Layer):
    kind = "a"

    def infer_shape(self, shape):
        return shape

    def compute_output(self, data):
        return data

    def compute_error(self, error):
        return error


@minidl.model("mine")
def mine(classes, method):
    return Sequential(Flatten(), FullyConnected(3), A(), FullyConnected(classes))
"""


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("def infer_shape", "def other", "a1 (a) has no infer_shape; a layer needs infer_shape, compute_output and"),
        ("def compute_output", "def other", "a1 (a) has no compute_output; a layer needs"),
        ("def compute_error", "def other", "a1 (a) has no compute_error; a layer needs"),
        ("return shape", "pass", "a1 (a) returned None from infer_shape; let it return the output's shape"),
        ("return shape", "return 3", "a1 (a) returned 3 from infer_shape"),
        (
            "return data",
            "data * 2",
            "a1 (a) returned NoneType from compute_output; let it return an array of shape (5, 3)",
        ),
        ("return data", "return data[:, 1:]", "a1 (a) returned an array of shape (5, 2) from compute_output"),
        ("return data", "return data[1:]", "a1 (a) returned an array of shape (4, 3) from compute_output"),
        (
            "return error",
            "error * 2",
            "a1 (a) returned NoneType from compute_error; let it return an array of shape (5, 3)",
        ),
        ("return error", "return error.T", "a1 (a) returned an array of shape (3, 5) from compute_error"),
        ("return data", "return data.nothing", "my_norm.py, line 13: AttributeError: "),
        ("return error", "return error @ error", "my_norm.py, line 16: ValueError: matmul"),
        ("Flatten(), ", "Flatten(), no, ", "my_norm.py, line 21: NameError: name 'no' is not defined"),
    ],
)
def test_a_mistake_in_a_layer_is_one_sentence_that_names_it(run, write, sentence, old, new, message):
    assert LAYER.count(old) == 1
    assert run("--import", write(LAYER.replace(old, new)), "--model", "mine", "--quiet", "--epochs", 1) == 2
    assert message in sentence()


def own_net(method="Baseline", norm=True):
    root = Sequential(Correlation(4, 4), *([BatchNorm()] if norm else []), ReLU(), Flatten(), FullyConnected(2))
    return Net(root, (5, 4, 3), load("cpu"), method=method, dtype="float64")


def saved(net, path, random):
    """Train a net for a step, save it, and return its outputs."""
    data = random.standard_normal((4, 5, 4, 3))
    optimizer = SGD(net.parameters, net.kernels, learning_rate=0.1)
    net.backpropagate(np.ones_like(net.forward(data)))
    optimizer.step()
    net.eval()
    outputs = net.forward(data).copy()
    checkpoint.save(path, net, optimizer, 1)
    return data, outputs


def test_a_user_defined_net_is_saved_and_loaded(random, tmp_path):
    """Even into a net whose hooks would change the weights again."""
    register("HALF", "weights", "tensor", lambda x: x / 2)
    data, expected = saved(own_net("HALF"), tmp_path / "net", random)
    with pytest.raises(MinidlError, match=r"a model that has a name; .* checkpoint\.load\(path, net=\.\.\.\)"):
        checkpoint.load(tmp_path / "net")
    for method in ("HALF", "Baseline"):
        net = own_net(method)
        assert checkpoint.load(tmp_path / "net", net=net) is net
        np.testing.assert_allclose(net.forward(data), expected, rtol=1e-12)


class LeakyNorm(BatchNorm):
    kind = "leakynorm"

    def compute_output(self, data):
        normalized = super().compute_output(data)
        return np.where(normalized > 0, normalized, normalized / 10)


class Squared(Sequential):
    def forward(self, data):
        first, second = self.children
        return second.forward(first.forward(data) ** 2)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [Convolution(6, 3), LeakyNorm()],
        lambda: [Squared(Convolution(6, 3), BatchNorm())],
        lambda: [Convolution(6, 3), BatchNorm()],
    ],
    ids=["norm", "sequential", "plain"],
)
def test_bn_is_folded_where_it_is_known_what_both_layers_compute(random, tmp_path, layers):
    nets = [Net(Sequential(*layers(), Flatten(), FullyConnected(2)), (5, 4, 3), load("cpu")) for _ in range(2)]
    data = random.standard_normal((4, 5, 4, 3))
    nets[0].forward(data)
    checkpoint.save(tmp_path / "net", nets[0], SGD(nets[0].parameters, nets[0].kernels, learning_rate=0.1), 1)
    nets[0].eval()
    loaded = checkpoint.load(tmp_path / "net", net=nets[1])
    np.testing.assert_allclose(loaded.forward(data), nets[0].forward(data), atol=1e-5)
    plain = type(layers()[-1]) is BatchNorm
    assert len(loaded.layers) == len(nets[0].layers) - plain
    if plain:
        with pytest.raises(MinidlError, match=r"^bn1 was folded into the layer before it.*folded=False\) before you"):
            checkpoint.save(tmp_path / "again", loaded, SGD(loaded.parameters, loaded.kernels, learning_rate=0.1), 1)


@pytest.mark.parametrize(
    "other, message",
    [
        (lambda: own_net(norm=False), "the saved net has bn1.beta, which this net lacks"),
        (
            lambda: Net(
                Sequential(Correlation(4, 2), BatchNorm(), Flatten(), FullyConnected(2)), (5, 4, 3), load("cpu")
            ),
            r"the saved own1.weights has shape \(4, 2, 2, 3\) where this net expects \(4, 12\)",
        ),
        (
            lambda: Net(
                Sequential(Correlation(4, 4), Convolution(4, 1), BatchNorm(), Flatten(), FullyConnected(2)),
                (5, 4, 3),
                load("cpu"),
            ),
            "the saved net has no conv1.weights",
        ),
    ],
)
def test_another_net_is_refused(random, tmp_path, other, message):
    saved(own_net(), tmp_path / "net", random)
    net = other()
    before = [p.value.copy() for p in net.parameters]
    with pytest.raises(MinidlError, match=message):
        checkpoint.load(tmp_path / "net", net=net)
    for p, kept in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(p.value, kept)


def test_a_net_that_another_file_was_loaded_into_in_vain_trains_with_its_method(random, tmp_path):
    saved(own_net(), tmp_path / "net", random)
    net = own_net("WC, GC", norm=False)
    hooks = [point.hook for point in net.hook_points]
    with pytest.raises(MinidlError):
        checkpoint.load(tmp_path / "net", net=net)
    assert [point.hook for point in net.hook_points] == hooks


@pytest.mark.parametrize("epoch", [-1, 1.5, "1", None])
def test_a_checkpoint_needs_a_number_of_epochs(random, tmp_path, epoch):
    net = own_net()
    with pytest.raises(MinidlError, match=r"epoch of checkpoint.save, .*, must be a whole number of at least 0"):
        checkpoint.save(tmp_path / "net", net, SGD(net.parameters, net.kernels, learning_rate=0.1), epoch)
    assert not list(tmp_path.iterdir())


def test_a_loaded_net_can_be_saved_again(random, tmp_path):
    """Its BN is folded into its convolutions."""
    first, second = tmp_path / "first", tmp_path / "second"
    net = models.build("a", method="WC, BN", device="cpu")
    optimizer = SGD(net.parameters, net.kernels, learning_rate=0.1)
    data = random.standard_normal((2, *net.shape)).astype("f4")
    net.forward(data)
    checkpoint.save(first, net, optimizer, np.int64(3))
    loaded = checkpoint.load(first, "cpu")
    checkpoint.save(second, loaded, SGD(loaded.parameters, loaded.kernels, learning_rate=0.1), 3)
    again = checkpoint.load(second, "cpu")
    np.testing.assert_array_equal(again.predict(data), loaded.predict(data))


def test_nothing_is_loaded_if_an_array_has_no_real_numbers(random):
    net = own_net()
    arrays = {p.name: np.ones_like(p.value) for p in net.parameters} | net.running()
    before = {p.name: p.value.copy() for p in net.parameters}
    with pytest.raises(MinidlError):
        net.load(arrays | {list(arrays)[-1]: np.ones_like(list(arrays.values())[-1]) * 1j})
    for p in net.parameters:
        np.testing.assert_array_equal(p.value, before[p.name])


class Wrong(Layer):
    """A layer whose functions take other arguments than minidl passes."""

    def infer_shape(self, shape):
        return shape

    def compute_output(self):
        return self.data

    def compute_error(self, error):
        return error


@pytest.mark.parametrize(
    "attributes, message",
    [
        ({}, r"a layer Wrong calls compute_output\(data\), which takes other arguments"),
        ({"kind": 3}, "kind of Wrong must be of the kind str, not int; give a word"),
        (
            {
                "compute_output": lambda self, data: data,
                "infer_shape": lambda self, shape: setattr(self, "biases", 1) or shape,
            },
            r"biases of layer1 must be a Parameter, and .*; copy into it by layer\.biases\.value = array",
        ),
    ],
)
def test_functions_with_other_arguments_are_an_error_of_one_sentence(attributes, message):
    kind = type("Wrong", (Wrong,), attributes)
    with pytest.raises(MinidlError, match=message):
        Net(Sequential(kind(), FullyConnected(2)), (4,), "cpu")
