"""Edge cases of layers and nets in which wrong numbers would go unnoticed, compared with the definitions in float64."""

import importlib.util
from copy import deepcopy

import numpy as np
import pytest

from minidl import kernels, models
from minidl.data.batches import Batches
from minidl.data.dataset import Dataset
from minidl.data.pixel_batches import PixelBatches
from minidl.gradcheck import check_layer, check_net
from minidl.hooks import Reparametrization
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.layers import (
    AnySize,
    AveragePool,
    BatchNorm,
    Convolution,
    Flatten,
    FullyConnected,
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
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import parse
from minidl.net import Net
from minidl.optimizers import SGD, Adam
from minidl.parameter import Parameter
from minidl.study.watch import watch

NORMS = [BatchNorm, LayerNorm, InstanceNorm, GroupNorm]


def net_of(*layers, shape, backend=None, dtype=np.float64):
    return Net(Sequential(*layers), shape, backend or kernels.load("cpu"), dtype=dtype, seed=2)


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((7, 7, 256), lambda: Convolution(2, 2, padding=6)),
        ((2, 2, 129), lambda: Convolution(17, 3, padding=6)),
        ((1, 9, 64), lambda: Convolution(3, 2, 3, 7)),
        ((24, 24, 3), lambda: TransposedConvolution(256, 2, padding=6)),
        ((14, 14, 3), lambda: TransposedConvolution(256, 2, 2, 5)),
    ],
)
def test_padding_that_is_larger_than_the_filter(backend, random, shape, layer):
    """Some bands of output rows depend on no pixel of the image."""
    data = random.standard_normal((2, *shape))
    found = []
    for device in (kernels.load("reference"), backend):
        net = net_of(layer(), shape=shape, backend=device)
        error = np.random.default_rng(1).standard_normal(net.forward(data).shape)
        back = device.host(net.root.backpropagate(device.xp.asarray(error))).copy()
        grads = [device.host(p.grads).copy() for p in net.parameters]
        outputs = [net.predict(data)]
        net.freeze()
        found.append([back, *grads, *outputs, net.predict(data), net.predict(data[:1])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
def test_a_frozen_net_has_the_statistics_of_each_batch(backend, random, norm):
    """A trial on random numbers would not show a mistake, because the ReLU passes only numbers that are far away."""
    net = net_of(Convolution(4, 3), norm(), ReLU(), Flatten(), FullyConnected(3), shape=(4, 4, 2), backend=backend)
    net.layers[1].beta.value[...] = -3.5
    data = 0.01 * random.standard_normal((2, 4, 4, 2))
    data[:, 1, 1] = 100
    expected = net.predict(data)
    net.freeze()
    for _ in range(4):
        np.testing.assert_allclose(backend.host(net.forward(data)), expected, rtol=1e-9)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [Convolution(3, 3)],
        lambda: [Convolution(3, 3), ReLU(), Convolution(3, 3)],
        lambda: [Residual(Convolution(3, 3))],
        lambda: [BatchNorm()],
    ],
)
def test_a_net_takes_its_own_last_output(backend, random, layers):
    data, results = random.standard_normal((3, 4, 4, 3)), []
    for copied in (True, False):
        net = net_of(*layers(), shape=(4, 4, 3), backend=backend)
        first = net.forward(data)
        second = backend.host(net.forward(first.copy() if copied else first)).copy()
        net.backpropagate(backend.xp.ones_like(net.forward(data)))
        own = net.forward(data).copy() if copied else net.forward(data)
        predicted = net.predict(own)
        net.forward(net.forward(data)[::-1] if not copied else net.forward(data).copy()[::-1])
        net.backpropagate(backend.xp.ones(second.shape))
        results.append([second, predicted, *(backend.host(p.grads).copy() for p in net.parameters)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_frozen_net_looks_at_no_parameter(backend, random):
    layers = [Convolution(3, 3), BatchNorm(), LayerNorm(), Flatten(), FullyConnected(2)]
    net = net_of(*layers, shape=(4, 4, 2), backend=backend)
    data = random.standard_normal((300, 4, 4, 2))
    net.freeze()
    expected = [net.predict(data), net.predict(data[:2])]
    for parameter in net.parameters:
        parameter.value += 1
    for _ in range(2):
        for found, wanted in zip([net.predict(data), net.predict(data[:2])], expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    for array in net.running().values():
        array += 1
    twin = deepcopy(net)
    net.freeze()
    for one in (net, twin):
        np.testing.assert_allclose(one.predict(data), expected[0], rtol=1e-12)
        assert not any((one.effective_weights()[p.name] == p.value).all() for p in one.parameters)
    net.eval()
    assert abs(net.predict(data) - expected[0]).max() > 0.1


def test_a_refused_size_leaves_the_layers_as_they_were(backend, random):
    """It is refused the next time as well."""
    body = Sequential(Convolution(2, 5, padding=0), TransposedConvolution(2, 5, padding=0))
    net = Net(AnySize(body, least=1, step=1), (8, 8, 3), backend, dtype=np.float64)
    data = random.standard_normal((1, 8, 8, 3))
    expected = net.predict(data)
    for _ in range(2):
        with pytest.raises(MinidlError, match="leaves nothing"):
            net.forward(random.standard_normal((1, 3, 3, 3)))
    np.testing.assert_array_equal(net.predict(data), expected)


class TestGradcheck:
    """What a gradient check must not report as wrong, and must not leave behind."""

    @pytest.mark.parametrize("norm", [BatchNorm, InstanceNorm])
    def test_a_bias_before_a_norm_has_no_gradient_but_rounding(self, backend, random, norm):
        net = net_of(Convolution(3, 3), norm(), shape=(4, 4, 2), backend=backend)
        report = check_layer(net.root, random.standard_normal((3, 4, 4, 2)), random)
        assert any(line.startswith("conv1.biases: its gradient") for line in report.unchecked)

    @pytest.mark.parametrize("before", ["eval", "freeze", "train"])
    def test_the_net_is_left_as_it_was(self, backend, random, before):
        layers = [Convolution(3, 3), BatchNorm(), ReLU(), Flatten(), FullyConnected(2)]
        net = net_of(*layers, shape=(4, 4, 2), backend=backend)
        getattr(net, before)()
        data, labels = random.standard_normal((3, 4, 4, 2)), np.array([0, 1, 0])
        expected = net.predict(data)
        check_layer(net.root, data, random)
        check_net(net, SoftmaxCrossEntropy(backend), data, labels, random)
        assert {net.training, *(layer.training for layer in net.layers)} == {before == "train"}
        np.testing.assert_allclose(net.predict(data), expected, rtol=1e-12)


def test_an_observer_sees_the_output_before_the_relu_after_a_watch_too(random):
    net = net_of(Convolution(3, 3), ReLU(), Flatten(), FullyConnected(2), shape=(4, 4, 2))
    loss, data = SoftmaxCrossEntropy(net.kernels), random.standard_normal((3, 4, 4, 2))
    with watch(net):
        loss(net.forward(data), np.array([0, 1, 0]))
        net.backpropagate(loss.error)
    least = []
    net.layers[0].at_output.after.append(lambda output: least.append(output.min()))
    net.forward(data)
    assert least[0] < 0


@pytest.mark.parametrize("way", ["eval", "freeze", "predict"])
def test_a_hook_that_fails_leaves_the_whole_net_in_training(random, way):
    net = net_of(Convolution(3, 3), BatchNorm(), Flatten(), FullyConnected(2), shape=(4, 4, 2))
    data = random.standard_normal((3, 4, 4, 2))
    expected = net.forward(data).copy()

    def fails(weights):
        raise ValueError("no")

    net.layers[-1].at_weights.hook = fails
    with pytest.raises(ValueError, match="no"):
        net.predict(data) if way == "predict" else getattr(net, way)()
    net.layers[-1].at_weights.hook = None
    assert {net.training, *(layer.training for layer in net.layers)} == {True}
    np.testing.assert_array_equal(net.forward(data), expected)
    net.backpropagate(np.ones_like(expected))


@pytest.mark.parametrize("mode", ["projection", "reparametrization"])
@pytest.mark.parametrize("way", ["eval", "freeze"])
@pytest.mark.parametrize("before", ["train", "eval", "freeze"])
def test_an_eval_or_freeze_that_fails_leaves_a_net_as_it_was(backend, random, mode, way, before, monkeypatch):
    """Its layers are ready for inference all together or not at all."""
    layers = Convolution(3, 3), BatchNorm(), Flatten(), FullyConnected(2)
    net = Net(Sequential(*layers), (4, 4, 2), backend, dtype=np.float64, method="WC, GC", mode=mode)
    data = random.standard_normal((3, 4, 4, 2))
    net.forward(data)
    getattr(net, before)()
    expected = None if before == "train" else net.predict(data)
    changed = random.standard_normal((3, 3, 3, 2))  # because changed weights with a hook count only after the next eval
    layers[0].weights.value += backend.array(changed, np.float64)
    state, frozen = [layer.training for layer in net.layers], net.frozen

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(layers[-1], way, fails)
    with pytest.raises(MemoryError):
        getattr(net, way)()
    monkeypatch.undo()
    assert ([layer.training for layer in net.layers], net.training) == (state, before == "train")
    assert net.frozen is frozen
    if before == "train":
        net.backpropagate(np.ones((3, 2)))  # the last batch is still there
    else:
        np.testing.assert_array_equal(net.predict(data), expected)
    net.eval()
    assert np.abs(net.predict(data) - (0 if expected is None else expected)).max() > 0.01


@pytest.mark.parametrize("extents", [(1, 9), (2, 2), (2, 9), (3, 1), (3, 3)])
def test_images_that_are_smaller_than_their_border(backend, random, extents):
    images = random.integers(0, 256, (8, *extents, 3), dtype=np.uint8)
    masks = random.integers(0, 5, (8, *extents), dtype=np.uint8)
    data = Dataset("tiny", images, np.arange(8) % 2, ("a", "b"), masks, ("v", "w", "x", "y", "z"))
    for kind in (Batches, PixelBatches):
        found = []
        for device in (kernels.load("reference"), backend):
            batches = kind(data, 4, device, np.float64)
            for epoch in range(3):
                for size in batches.shuffle(np.random.default_rng(epoch)):
                    found.append((device, [device.host(array).copy() for array in batches.next(size)]))
        half = len(found) // 2
        for (_, one), (_, other) in zip(found[:half], found[half:], strict=True):
            for expected, got in zip(one, other, strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_more_classes_of_masks_than_labels_can_count_are_refused(random):
    images, masks = random.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8), np.full((2, 4, 4), 127, np.uint8)
    Dataset("many", images, None, (), masks, tuple(map(str, range(128))))
    with pytest.raises(MinidlError, match="129 classes of masks"):
        Dataset("more", images, None, (), masks, tuple(map(str, range(129))))


class Scale(Layer):
    """out = data·w, with weights that a test chooses."""

    kind = "scale"

    def __init__(self, order="C", assigns=False):
        super().__init__()
        self.order, self.assigns = order, assigns

    def infer_shape(self, shape):
        if self.weights is None:
            values = np.array(np.ones((shape[-1], shape[-1])), order=self.order)
            self.weights = Parameter(f"{self.name}.weights", values, np.zeros_like(values), decay=True)
        return shape

    def compute_output(self, data):
        return data @ self.weights.in_use.T

    def compute_error(self, error):
        return error @ self.weights.in_use

    def compute_grads(self, error):
        if self.assigns:
            self.weights.grads = error.T @ self.data
        else:
            self.weights.grads[...] = error.T @ self.data


def test_gradients_that_are_assigned_or_written_are_those_that_an_optimizer_reads(random):
    with pytest.raises(MinidlError, match=r"scale1\.weights and its gradients must be two arrays of one shape, .*"):
        net_of(Scale(order="F"), shape=(4,))
    learned, data = [], random.standard_normal((2, 4))
    for assigns in (False, True):
        net = net_of(Scale(assigns=assigns), shape=(4,))
        optimizer = SGD(net.parameters, net.kernels, 0.1)
        net.forward(data)
        net.backpropagate(np.ones((2, 4)))
        optimizer.step()
        learned.append(net.parameters[0].value)
    assert (learned[0] != 1).all()
    np.testing.assert_array_equal(*learned)


def test_an_array_that_is_assigned_to_a_parameter_is_copied_into_its_array(backend, random):
    net = net_of(FullyConnected(5), shape=(3,), backend=backend, dtype=np.float32)
    weights, values = net.layers[0].weights, random.standard_normal((5, 3))
    kept, made = weights.value, backend.xp.asarray(np.asfortranarray(values))
    weights.value = made
    weights.value += 1
    assert weights.value is kept
    np.testing.assert_allclose(backend.host(kept), values + 1, atol=1e-6)

    class Tensor:
        """A tensor of another framework, whose number type is not NumPy's."""

        shape, dtype = (5, 3), "float32"

        def __array__(self, *_, **__):
            return values

    if backend.xp is np:
        weights.value = Tensor()
        np.testing.assert_allclose(kept, values, atol=1e-6)
    for wrong in (made[:1], made.T, [[1.0]], 3.0):
        with pytest.raises(MinidlError, match=r"fc1\.weights\.value takes an array of shape \(5, 3\), and not "):
            weights.value = wrong


class Pointwise(Layer):
    """A product for each pixel, whose weights are created each time that its shape is set."""

    kind = "pointwise"
    data_axes = ("y", "x", "channels")

    def infer_shape(self, shape):
        self.create_parameters((5, shape[-1]), shape[-1], 5)
        return *shape[:2], 5

    def compute_output(self, data):
        return data @ self.weights.in_use.T + self.biases.in_use


def test_a_layer_whose_shape_is_set_again_keeps_its_parameters(random):
    net = net_of(AnySize(Sequential(Pointwise(), Convolution(3, 1)), least=1, step=1), shape=(8, 8, 2))
    first, data = net.parameters[0].value, random.standard_normal((1, 8, 8, 2))
    expected = net.predict(data)
    net.predict(random.standard_normal((1, 5, 6, 2)))
    np.testing.assert_array_equal(net.predict(data), expected)
    assert net.parameters[0].value is first
    with pytest.raises(
        MinidlError, match=r"pointwise1 .* has weights of shape \(5, 2\), which data of shape \(8, 8, 3\)"
    ):
        net.layers[0].fit((8, 8, 3))


def test_any_size_needs_a_body_that_ends_in_images():
    with pytest.raises(MinidlError, match=r"a body with an output of shape \(3,\).*let the body end in images"):
        net_of(AnySize(Sequential(Convolution(4, 3), Flatten(), FullyConnected(3)), least=4, step=1), shape=(8, 8, 2))


class Doubling(Layer):
    """A layer whose results have another number type than its net."""

    kind = "doubling"

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def infer_shape(self, shape):
        return shape

    def compute_output(self, data):
        return (2 * data).astype(self.dtype)

    def compute_error(self, error):
        return (2 * error).astype(self.dtype)


@pytest.mark.parametrize("dtype", [np.float64, ">f4", np.int32])
@pytest.mark.parametrize("around", [Residual, lambda body: AnySize(body, 3, 3), Sequential])
def test_results_of_another_type_are_those_of_the_net(around, dtype):
    net = net_of(around(Doubling(dtype)), shape=(4, 4, 2), dtype=np.float32)
    data = np.ones((2, 4, 4, 2), np.float32)
    expected = 3.0 if around is Residual else 2.0
    for result in (net.forward(data), net.root.backpropagate(data)):
        assert result.dtype == np.float32
        assert (result == expected).all()


class Alpha(Layer):
    """A layer with a parameter that has the same name wherever it stands."""

    kind = "alpha"

    def infer_shape(self, shape):
        self.alpha = Parameter("alpha", np.ones(shape[-1]), np.zeros(shape[-1]), decay=False)
        return shape

    def parameters(self):
        return [self.alpha] if hasattr(self, "alpha") else []


def test_two_parameters_of_one_name_are_refused():
    net_of(Alpha(), FullyConnected(2), shape=(3,))
    with pytest.raises(MinidlError, match="alpha1 and alpha2 both have a parameter called 'alpha', which a saved net"):
        net_of(Alpha(), FullyConnected(2), Alpha(), shape=(3,))


def test_a_reparametrization_hangs_at_one_place():
    net = net_of(Convolution(3, 3), Convolution(3, 3), shape=(4, 4, 2))
    (normalization,) = parse("WC").normalizations
    one = Reparametrization(normalization.bind(net.kernels))
    first, second = net.layers
    first.at_weights.hook = one
    with pytest.raises(MinidlError, match="hangs at other weights"):
        second.at_weights.hook = one
    second.at_weights.hook = deepcopy(one)
    with pytest.raises(MinidlError, match="hangs at other weights"):
        second.at_weights.hook = one
    twin = deepcopy(net)
    assert [layer.at_weights.hook.point for layer in twin.layers] == [layer.at_weights for layer in twin.layers]
    first.at_weights.hook = None
    second.at_weights.hook = one


@pytest.mark.parametrize("number", [np.int64, np.uint8, np.int8])
def test_numpys_whole_numbers_are_as_good_as_pythons(random, number):
    def layers(n):
        return [
            Convolution(n(5), n(3), n(1), n(1)),
            AveragePool(n(12), n(2)),
            MaxPool(n(2), n(2)),
            Resize((n(3), n(4))),
            TransposedConvolution(n(2), n(2), stride=n(2)),
            Flatten(),
            FullyConnected(n(100)),
        ]

    data = random.standard_normal((2, 30, 30, 2))
    expected, found = (net_of(*layers(n), shape=(30, 30, 2)).predict(data) for n in (int, number))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Convolution(2, 3, padding="same"), "padding of Convolution must be a whole number of at least 0"),
        (lambda: Convolution(2, 3, padding=1.0), "padding of Convolution must be a whole number of at least 0"),
        (lambda: Resize(5), r"Resize needs a size \(y, x\)"),
        (lambda: SGD([], kernels.load("cpu"), np.inf), "learning rate must be a number above 0"),
        (lambda: SGD([], kernels.load("cpu"), "1"), "learning rate must be a number above 0"),
        (lambda: setattr(SGD([], kernels.load("cpu"), 1), "learning_rate", np.nan), "learning rate must be"),
        (lambda: setattr(SGD([], kernels.load("cpu"), 1), "learning_rate", -1), "learning rate must be"),
        (lambda: setattr(SGD([], kernels.load("cpu"), 1), "learning_rate", None), "learning rate must be"),
        (lambda: SGD([], kernels.load("cpu"), 1, weight_decay=np.inf), "weight decay must be a number of at least 0"),
        (lambda: Adam([], kernels.load("cpu"), 1, betas=(0.9,)), "betas must be two numbers"),
    ],
)
def test_arguments_that_no_layer_and_no_optimizer_accepts(make, message):
    with pytest.raises(MinidlError, match=message):
        make()


def test_a_net_loads_its_own_arrays_exchanged(random):
    net = net_of(FullyConnected(3), FullyConnected(3), shape=(3,))
    one, other = (net.layers[i].weights for i in (0, 1))
    expected = one.value.copy(), other.value.copy()
    arrays = {p.name: p.value for p in net.parameters}
    net.load(arrays | {one.name: other.value, other.name: one.value})
    np.testing.assert_array_equal(one.value, expected[1])
    np.testing.assert_array_equal(other.value, expected[0])


needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))), reason="needs the extra export"
)


@needs_onnx
@pytest.mark.parametrize("norm", NORMS[1:])
def test_norms_of_constants_in_onnx(norm):
    """Some versions of ONNX Runtime compute the variance as a difference, which can be negative and gives nan."""
    import onnxruntime

    from minidl.onnx_model import onnx_model

    net = net_of(norm(), shape=(8, 8, 4), dtype=np.float32)
    net.eval()
    session = onnxruntime.InferenceSession(onnx_model(net, {}, "0"), providers=["CPUExecutionProvider"])
    for value in (7.7, 13.1, 21.3, 33.3):
        data = np.full((2, 4, 8, 8), value, np.float32)
        assert abs(session.run(None, {"data": data})[0]).max() < 1e-2
        assert abs(net.predict(data.transpose(0, 2, 3, 1))).max() < 1e-2


@needs_onnx
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (5, 4, 2, 3), (6, 5, 4)])
def test_norms_of_data_of_any_axes_in_onnx(random, norm, shape):
    import onnxruntime

    from minidl.onnx_model import onnx_model

    net = net_of(norm(), ReLU(), Flatten(), FullyConnected(3), shape=shape, dtype=np.float32)
    for parameter in net.parameters:
        parameter.value[...] = random.standard_normal(parameter.value.shape)
    for layer in net.layers:
        for name, array in layer.running().items():
            if not name.endswith("updates"):
                array[...] = 0.1 + random.random(array.shape)
    data = random.standard_normal((2, *shape)).astype(np.float32)
    expected = net.predict(data)
    session = onnxruntime.InferenceSession(onnx_model(net, {}, "0"), providers=["CPUExecutionProvider"])
    there = data.transpose(0, 3, 1, 2) if len(shape) == 3 else data
    np.testing.assert_allclose(session.run(None, {"data": there})[0], expected, rtol=1e-4, atol=1e-5)


def test_flattened_images_through_a_residual_in_pytorch():
    from minidl.pytorch import axes_of

    net = net_of(Residual(Sequential(Convolution(2, 3), Flatten()), Flatten()), FullyConnected(3), shape=(4, 5, 2))
    assert axes_of(net)["fc1.weight"].view == (3, 4, 5, 2)
    net = net_of(Flatten(), Residual(FullyConnected(40)), ReLU(), FullyConnected(3), shape=(4, 5, 2))
    with pytest.raises(MinidlError, match=r"add1.*flattened together"):
        axes_of(net)


def test_a_watch_may_lie_in_a_watch_of_the_same_net(backend, random):
    """After the inner watch, the outer one still observes, and the layers are still apart."""
    net = models.build("c", shape=(16, 16, 3), method="WC, GC", device=backend)
    loss, data, labels = SoftmaxCrossEntropy(backend), random.standard_normal((3, 16, 16, 3)), np.array([0, 1, 0])
    with watch(net) as outer:
        with watch(net) as inner:
            loss(net.forward(data), labels)
            net.backpropagate(loss.error)
        assert net.observed
        assert not net.fused
        net.backpropagate(loss.error)
    assert not net.observed
    assert net.fused
    for name, one in outer.items():
        np.testing.assert_array_equal(backend.host(one.output), backend.host(inner[name].output))
        np.testing.assert_array_equal(backend.host(one.data), backend.host(inner[name].data))


def test_a_watch_ends_as_it_began_whatever_happens_inside(backend, random):
    """An error, a hook point whose observers are taken off, and another watch that ends later leave no observer."""
    net, other = (models.build("c", shape=(16, 16, 3), method="WC, GC", device=backend) for _ in range(2))
    loss, data, labels = SoftmaxCrossEntropy(backend), random.standard_normal((3, 16, 16, 3)), np.array([0, 1, 0])

    def step(one):
        loss(one.forward(data), labels)
        one.backpropagate(loss.error)

    def failing():
        with watch(net):
            step(net)
            raise ZeroDivisionError

    def cleared():
        with watch(net):
            net.layers[0].at_grads.before.clear()
            step(net)

    for block, error in (failing, ZeroDivisionError), (cleared, MinidlError):
        with pytest.raises(error):
            block()
        assert not net.observed
    one, two = watch(net), watch(net)
    seen = one.__enter__(), two.__enter__()
    step(net)
    one.__exit__(None, None, None)
    step(net)
    two.__exit__(None, None, None)
    assert not net.observed
    assert all(layer.grads.after is not None for found in seen for layer in found.values())
    with watch(net) as first, watch(other) as second:
        step(net)
        step(other)
    assert first["conv1"].layer is net.layers[0]
    assert second["conv1"].layer is other.layers[0]
    assert not backend.xp.may_share_memory(first["conv1"].output, second["conv1"].output)
    net.forward(data)
    assert net.fused


def test_a_copy_that_is_made_inside_of_a_watch_is_not_observed(backend, random):
    net = models.build("a", shape=(16, 16, 3), method="WC, GC", device=backend)
    loss, data, labels = SoftmaxCrossEntropy(backend), random.standard_normal((3, 16, 16, 3)), np.array([0, 1, 0])
    with watch(net) as seen:
        twin = deepcopy(net)
        loss(net.forward(data), labels)
        net.backpropagate(loss.error)
        grads = seen["conv1"].grads.after
        loss(twin.forward(-data), labels)
        twin.backpropagate(loss.error)
        assert seen["conv1"].grads.after is grads
    assert not twin.observed
    assert twin.fused
    assert [str(point) for point in twin.hook_points] == [str(point) for point in net.hook_points]


def test_a_parameter_of_two_layers_is_refused_before_its_gradients_are_wrong(backend, random):
    """Each layer overwrites its gradients instead of adding to them, so the sum over both would not exist."""

    class Tied(FullyConnected):
        def create_parameters(self, *_):
            self.weights, self.biases = (getattr(first.layers[0], name) for name in ("weights", "biases"))

    first = net_of(FullyConnected(5), ReLU(), FullyConnected(5), shape=(5,), backend=backend)
    with pytest.raises(
        MinidlError, match=r"fc1 and fc2 have the same parameter fc1.weights, whose .*; give each layer"
    ):
        net_of(Tied(5), ReLU(), Tied(5), shape=(5,), backend=backend)
    with pytest.raises(MinidlError, match=r"weights of fc2 must be a Parameter, and stay the one"):
        first.layers[2].weights = first.layers[0].weights


@pytest.mark.parametrize("optimizer", [SGD, Adam])
@pytest.mark.parametrize("method", ["WC, GC, BN, fully", "WS, GC, LN"])
def test_underflows_are_no_errors(backend, random, method, optimizer):
    """Whatever np.seterr says; an overflow is still an error."""
    net = models.build("a", shape=(16, 16, 3), method=method, device=backend)
    loss, update = SoftmaxCrossEntropy(backend), optimizer(net.parameters, backend, 0.01, weight_decay=1e-4)
    data = random.standard_normal((4, 16, 16, 3)) * np.array([1, 0, 1e-30, 1e-40]).reshape(4, 1, 1, 1)
    with np.errstate(all="raise"):
        for scale in (1.0, 1e-30, 1e-38):
            output = net.forward(data)
            loss(output * np.float32(1000), np.arange(4))
            net.backpropagate(backend.array(np.float64(scale) * backend.host(loss.error).astype(float), "float64"))
            update.step()
        net.predict(data)
        net.effective_weights()
        net.freeze()
        net.predict(data)
        if backend.device != "gpu":  # whose arithmetic NumPy does not check
            with pytest.raises(FloatingPointError, match="overflow"):
                net.predict(data * 1e300)
