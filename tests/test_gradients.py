"""Every layer, hook, mode and area, the loss and a whole net against central differences, in float64."""

import re
from itertools import product

import numpy as np
import pytest

from minidl import models
from minidl.context import Context
from minidl.gradcheck import (
    GradientError,
    check_layer,
    check_net,
    check_normalization,
    numeric_gradient,
    relative_error,
)
from minidl.hooks import HookPoint, Reparametrization
from minidl.kernels import load
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.layers import (
    Convolution,
    Flatten,
    FullyConnected,
    Sequential,
)
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import parse
from minidl.models import a, b, c, d
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS, Normalization
from minidl.registry import PROBE
from minidl.study.specimens import LAYERS, set_up

# Containers, and layers that differ only in their extents from others in the list.
MADE_OF_OTHERS = {
    "concat",
    "concat resized",
    "residual",
    "residual down",
    "max pool",
    "average pool",
    "conv 5×5",
    "any size",
}


@pytest.mark.quick_on("reference", "numba")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough) if name in MADE_OF_OTHERS else name for name in LAYERS]
)
def test_layer(context, random, name):
    make, shape = LAYERS[name]
    layer = set_up(make, shape, context)
    data = context.kernels.xp.asarray(random.standard_normal((2 if len(shape) == 3 else 3, *shape)))
    layer.backpropagate(layer.forward(data))
    for part in layer.layers():
        for buffer in part.buffers.values():
            buffer.fill(np.nan if buffer.dtype.kind == "f" else 255)
    check_layer(layer, data, random)


# The modes differ only in the weights. In projection the hooks are off while gradients are compared, so one layer is
# enough; "instance" on a fully connected layer is refused (test_normalize.py).
HOOKED = {"conv 3×3": (lambda: Convolution(2, 3), (3, 2, 2)), "fc": (lambda: FullyConnected(3), (5,))}
HOOKS = [
    (layer, name, mode)
    for layer in HOOKED
    for name, n in NORMALIZATIONS.items()
    for mode in (("projection", "reparametrization") if n.point == "weights" else ("projection",))
    if layer != "fc" or (mode == "reparametrization" and n.area != "instance")
]


# A layer treats a hook in the same way on each device, and test_adjoint runs all normalizations on each. So for the
# quick tests and on the emulated GPU, one normalization for each transform at each point is enough.
ONE_OF_EACH = {(n.point, n.function): name for name, n in reversed(NORMALIZATIONS.items())}.values()


@pytest.mark.quick_on("reference", "numba")
@pytest.mark.parametrize(
    "backend, layer_name, name, mode",
    [
        pytest.param(backend, *hook, marks=() if hook[1] in ONE_OF_EACH else pytest.mark.thorough)
        for backend in ("reference", "numpy", "numba", "gpu")
        for hook in HOOKS
        if backend != "gpu" or hook[1] in ONE_OF_EACH
    ],
    indirect=["backend"],
)
def test_hook(context, random, layer_name, name, mode):
    normalization = NORMALIZATIONS[name].bind(context.kernels)
    make, shape = HOOKED[layer_name]
    layer = set_up(make, shape, context)
    reparametrize = mode == "reparametrization"
    point = layer.points[normalization.point]
    point.hook = Reparametrization(normalization) if reparametrize else normalization
    checks = check_layer(layer, random.standard_normal((2, *shape)), random)
    assert len(checks) == 3
    assert [check.name for check in checks.adjoints] == [name]
    assert point.hook is not None
    assert [name in sentence for sentence in checks.unchecked] == ([] if reparametrize else [True])


@pytest.mark.quick_on("reference", "numba")
@pytest.mark.parametrize("shape", [(4, 3, 2, 3), (3, 5)])
@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_adjoint(backend, random, name, shape):
    if len(shape) == 2 and NORMALIZATIONS[name].area == "instance":
        pytest.skip("one element per group")
    (check,) = check_normalization(name, shape, random, backend)
    assert check.name == name


def test_loss(backend, random):
    output, labels = map(backend.xp.asarray, (random.standard_normal((5, 4)), random.integers(0, 4, 5)))
    loss = SoftmaxCrossEntropy(backend)
    loss(output, labels)
    computed = backend.host(loss.error).copy()
    numeric = numeric_gradient(lambda: loss.score_of(output, labels).loss, output)
    assert relative_error(computed, numeric) < 1e-6


@pytest.mark.parametrize(
    "method, mode, scale",
    [
        ("Baseline", "projection", 1),
        ("WC, GC, fully", "projection", 1),
        ("WN, fully", "reparametrization", 1),
        ("WS, GC, fully", "reparametrization", 1e-6),  # each standardized layer multiplies by the root of its fan-in
        ("EL", "projection", 1),
    ],
)
def test_net_c(random, method, mode, scale):
    net = models.build("c", method=method, mode=mode, classes=10, shape=(8, 8, 3), dtype="float64", device="cpu")
    data, labels = scale * random.standard_normal((4, 8, 8, 3)), random.integers(0, 10, 4)
    checks = check_net(net, SoftmaxCrossEntropy(net.kernels), data, labels, random)
    assert len(checks) == 16


SMALL = {  # every net of Figure 1 at small widths: how it is made, and the size of its images
    "a": (lambda method: a.net(4, method, filters=(2, 3, 4), hidden=20), 16),
    "b": (lambda method: b.net(4, method, filters=(2, 3, 4, 5), blocks=(2, 1, 2, 1)), 33),
    "b-cifar": (lambda method: b.net(4, method, "cifar", filters=(2, 2, 3, 3), blocks=(1, 2, 1, 1)), 16),
    "c": (lambda method: c.net(4, method, filters=(2, 3, 4), hidden=20), 8),
    "d": (lambda method: d.net(4, method, filters=(2, 3, 3), count=0), 67),
}


METHODS = ("Baseline", "WC, GC, BN", "Baseline, GN")


@pytest.mark.parametrize(
    "name, method",
    [
        pytest.param(*case, marks=() if case[0] in ("a", "c") else pytest.mark.thorough)
        for case in product(SMALL, METHODS)
        if case[0] not in ("b", "d") or case[1] == METHODS[1]
    ],
)
def test_small_net(backend, random, request, name, method):
    by = request.node.callspec.params["backend"]
    if by != "numpy" and (name not in ("a", "c") or method != METHODS[1]):
        pytest.skip("takes too long; test_gpu_nets.py and test_reference.py have ten steps of every net")
    make, size = SMALL[name]
    net = Net(make(parse(method)), (size, size, 3), backend, method=method, dtype="float64")
    for p in net.parameters:
        if not p.decay:  # with biases of zero, units whose inputs are all zero would be at the kink of the ReLU
            p.value[...] += backend.xp.asarray(random.normal(0, 0.1, p.value.shape))
    data = random.standard_normal((3, *net.shape))
    labels = random.integers(0, 4, (3, *net.output_shape[:-1]))
    checks = check_net(net, SoftmaxCrossEntropy(net.kernels), data, labels, random)
    assert len(checks) == len(net.parameters)


class Ripples(Layer):
    """y = x + 2·10⁻¹¹·sin(5·10⁷·x): differences with steps of 10⁻⁷ and of 10⁻⁸ give different slopes."""

    kind = "ripples"
    times = 1.0

    def infer_shape(self, shape):
        return shape

    def compute_output(self, data):
        return data + 2e-11 * np.sin(5e7 * data)

    def compute_error(self, error):
        return self.times * error * (1 + 1e-3 * np.cos(5e7 * self.data))


class TestTheChecker:
    """The checker itself must reject an error of 0.1 %, wherever it is."""

    @pytest.mark.quick_on("reference")
    @pytest.mark.parametrize("what", ["error", "weights", "biases"])
    def test_rejects_a_thousandth_in_a_layer(self, context, random, what):
        layer = set_up(*LAYERS["conv 3×3"], context)
        product = layer.compute_error if what == "error" else layer.compute_grads

        def wrong(error):
            result = product(error)
            for array in [result] if what == "error" else [getattr(layer, what).grads]:
                array *= 1.001
            return result

        setattr(layer, product.__name__, wrong)
        with pytest.raises(GradientError, match=r"error differs" if what == "error" else rf"{what} differs"):
            check_layer(layer, random.standard_normal((3, 5, 4, 2)), random)

    def test_rejects_a_gradient_that_was_never_written(self, context, random):
        layer = set_up(*LAYERS["fc"], context)
        layer.compute_grads = lambda error: None
        with pytest.raises(GradientError):
            check_layer(layer, random.standard_normal((3, 6)), random)

    def test_rejects_a_missing_adjoint(self, context, random, monkeypatch):
        layer = set_up(*LAYERS["fc"], context)
        layer.at_weights.hook = Reparametrization(NORMALIZATIONS["WS"].bind(context.kernels))
        monkeypatch.setattr(HookPoint, "adjoint", lambda *_: None)
        with pytest.raises(GradientError):
            check_layer(layer, random.standard_normal((3, 6)), random)

    def test_rejects_a_thousandth_in_a_net(self, random):
        net = models.build("c", shape=(16, 16, 3), dtype="float64", device="cpu")
        layer = net.layers[3]
        product = layer.compute_error

        def wrong(error):
            result = product(error)
            result *= 1.001
            return result

        layer.compute_error = wrong
        data, labels = random.standard_normal((2, 16, 16, 3)), np.array([1, 2])
        with pytest.raises(GradientError):
            check_net(net, SoftmaxCrossEntropy(net.kernels), data, labels, random)

    def test_rejects_a_thousandth_in_the_last_layer_of_a_net(self, random):
        net = Net(Sequential(FullyConnected(4), FullyConnected(3)), (5,), "reference", dtype="float64")
        product = net.layers[1].compute_grads

        def wrong(error):
            product(error)
            net.layers[1].weights.grads *= 1.001

        net.layers[1].compute_grads = wrong
        data, labels = random.standard_normal((2, 5)), np.array([1, 2])
        with pytest.raises(GradientError, match=r"fc2\.weights differs"):
            check_net(net, SoftmaxCrossEntropy(net.kernels), data, labels, random)

    def test_names_the_random_layer_of_a_net(self, random):
        net = Net(Sequential(FullyConnected(4), Dropout(), FullyConnected(3)), (5,), "reference", dtype="float64")
        data, labels = random.standard_normal((2, 5)), np.array([1, 2])
        with pytest.raises(MinidlError, match=r"dropout1 \(dropout\) is random"):
            check_net(net, SoftmaxCrossEntropy(net.kernels), data, labels, random)

    def test_says_how_close_it_came_where_slopes_of_short_steps_differ(self, random):
        net = Net(Sequential(FullyConnected(3), Ripples()), (4,), load("reference"), dtype="float64")
        loss, data, labels = SoftmaxCrossEntropy(net.kernels), random.standard_normal((2, 4)), np.array([1, 2])
        report = check_net(net, loss, data, labels, random)
        assert not report
        (weights, biases) = report.unchecked
        assert re.fullmatch(r"fc1\.weights: closer than to \de-0[56], as units switch, or the loss bends, .*", weights)
        assert biases.startswith("fc1.biases: closer than to ")
        net.layers[1].times = 1.01
        with pytest.raises(GradientError, match=r"fc1\.weights differs from its definition by .*e-0[23] of"):
            check_net(net, loss, data, labels, random)

    @pytest.mark.quick_on("reference")
    @pytest.mark.parametrize("mode", ["projection", "reparametrization"])
    @pytest.mark.parametrize("wrong", ["a thousandth", "no mean"])
    def test_rejects_a_wrong_adjoint_in_either_mode(self, context, random, wrong, mode):
        normalization = own(*CENTER, wrong={"a thousandth": thousandth_off, "no mean": copy}[wrong])
        with pytest.raises(GradientError, match="the adjoint of OWN"):
            check_normalization(normalization, PROBE, random, context.kernels)
        layer = set_up(*LAYERS["fc"], context)
        hook = normalization.bind(context.kernels)
        layer.at_weights.hook = Reparametrization(hook) if mode == "reparametrization" else hook
        with pytest.raises(
            GradientError, match="the adjoint of OWN" if mode == "projection" else r"fc1\.weights differs"
        ):
            check_layer(layer, random.standard_normal((3, 6)), random)
        assert layer.at_weights.hook is not None

    def test_accepts_the_right_adjoint_and_says_if_there_is_none(self, backend, random):
        assert len(check_normalization(own(*CENTER, wrong=center_adjoint), PROBE, random, backend)) == 1
        with pytest.raises(MinidlError, match=r"OWN has no adjoint, .*, and nothing else of it can be checked; name"):
            check_normalization(own(*CENTER, wrong=None), PROBE, random, backend)

    @pytest.mark.quick_on("reference")
    def test_rejects_a_missing_mean_in_a_layer(self, context, random):
        layer = set_up(*LAYERS["BN"], context)
        product = layer.compute_error
        mean = layer.gamma.value / 50
        layer.compute_error = lambda error: product(error) + mean
        with pytest.raises(GradientError, match="error differs"):
            check_layer(layer, random.standard_normal((3, 3, 4, 6)), random)

    @pytest.mark.quick_on("reference")
    @pytest.mark.parametrize("point", ["weights", "error", "grads"])
    def test_no_hook_makes_zeros(self, context, random, point):
        layer = set_up(*LAYERS["conv 3×3"], context)
        getattr(layer, f"at_{point}").hook = context.kernels.xp.zeros_like
        with pytest.raises(GradientError, match=f"zeros_like at the {point} of conv1 makes zeros of any array"):
            check_layer(layer, random.standard_normal((3, 5, 4, 2)), random)

    def test_no_hook_of_a_net_makes_zeros(self, random):
        net = models.build("c", method="EL", shape=(8, 8, 3), dtype="float64", device="cpu")
        net.layers[2].at_grads.hook = np.zeros_like
        data, labels = random.standard_normal((2, 8, 8, 3)), np.array([1, 2])
        with pytest.raises(GradientError, match="zeros_like at the grads of conv2"):
            check_net(net, SoftmaxCrossEntropy(net.kernels), data, labels, random)

    @pytest.mark.parametrize("hook", [np.sign, lambda array: 0 * array + 1])
    def test_no_hook_hides_an_error(self, random, hook):
        """Even an error in a container, below another hook."""
        net = models.build("c", shape=(8, 8, 3), dtype="float64", device="cpu")
        root = Sequential(Convolution(2, 3), Convolution(2, 3))
        root.setup((4, 3, 2), Context(net.kernels, np.dtype(np.float64), random))
        first, second = root.children
        second.at_error.hook = first.at_grads.hook = first.at_error.hook = hook
        data = random.standard_normal((2, 4, 3, 2))
        report = check_layer(root, data, random)
        assert len(report.unchecked) == 3
        assert "conv1: what" in report.unchecked[0]
        assert "not checked: conv1: what" in str(report)
        assert second.at_error.hook is hook
        product = first.compute_grads

        def wrong(error):
            product(error)
            first.weights.grads *= 1.001

        first.compute_grads = wrong
        with pytest.raises(GradientError, match=r"conv1\.weights differs"):
            check_layer(root, data, random)
        assert second.at_error.hook is hook

    def test_says_which_zeros_prove_nothing(self, context, random):
        layer = set_up(*LAYERS["relu"], context)
        report = check_layer(layer, -1 - random.random((3, *LAYERS["relu"][1])), random)
        assert report.unchecked == ["error: its gradient is zero throughout, as far as numbers tell"]

    def test_names_the_random_layer(self, context, random):
        root = Sequential(Flatten(), Dropout(), FullyConnected(3))
        root.setup((2, 3, 2), context)
        with pytest.raises(MinidlError, match=r"dropout1 \(dropout\) is random: .* no derivative; keep its random"):
            check_layer(root, random.standard_normal((3, 2, 3, 2)), random)

    def test_names_the_layer_that_writes_into_its_data(self, context, random):
        root = Sequential(Flatten(), Flatten(), FullyConnected(3))
        root.setup((2, 3, 2), context)
        second = root.children[1]
        product = second.compute_output

        def wrong(data):
            data *= 0.5
            return product(data)

        second.compute_output = wrong
        with pytest.raises(MinidlError, match=r"flatten2 \(flatten\) writes into its data, which others read"):
            check_layer(root, random.standard_normal((3, 2, 3, 2)), random)

    @pytest.mark.quick_on("reference")
    def test_hints_at_a_kink(self, context, random):
        layer = set_up(*LAYERS["relu"], context)
        data = random.standard_normal((3, *LAYERS["relu"][1]))
        data[0, 0, 0, 0] = 1e-8
        with pytest.raises(GradientError, match="lie at a kink"):
            check_layer(layer, data, random)
        layer.compute_error = lambda error: 1.001 * error
        with pytest.raises(GradientError) as caught:
            check_layer(layer, random.standard_normal((3, *LAYERS["relu"][1])), random)
        assert "kink" not in str(caught.value)

    def test_leaves_running_statistics_alone(self, context, random):
        layer = set_up(*LAYERS["BN"], context)
        before = {name: context.kernels.host(array).copy() for name, array in layer.running().items()}
        check_layer(layer, random.standard_normal((3, 3, 4, 6)), random)
        for name, array in layer.running().items():
            np.testing.assert_array_equal(context.kernels.host(array), before[name])

    def test_data_of_any_type_are_left_alone(self, context, random):
        layer = set_up(*LAYERS["conv 1×1"], context)
        data = random.integers(-3, 4, (3, *LAYERS["conv 1×1"][1]))
        check_layer(layer, data, random)
        check_layer(layer, data.astype(np.float32), random)
        assert data.dtype.kind == "i"

    def test_says_what_it_needs(self, backend, random):
        data = random.standard_normal((3, 5, 4, 2))
        layer = Convolution(3, 3)
        with pytest.raises(MinidlError, match=r"conv \(conv 3×3, 3\) cannot be checked before setup"):
            check_layer(layer, data, random)
        layer.setup((5, 4, 2), Context(backend, np.dtype(np.float32), random))
        with pytest.raises(
            MinidlError, match=r"conv1 .* is in float32, too coarse .* set it up in float64, by Context"
        ):
            check_layer(layer, data, random)
        layer = Convolution(3, 3)
        layer.setup((5, 4, 2), Context(backend, np.dtype(np.float64), random))
        with pytest.raises(MinidlError, match="at least one sample"):
            check_layer(layer, data[:0], random)
        with pytest.raises(MinidlError, match=r"expected data of shape \(samples, 5, 4, 2\)"):
            check_layer(layer, data[..., :1], random)
        layer.compute_error = lambda error: error[..., :1]
        with pytest.raises(MinidlError, match=r"returned an array of shape \(3, 5, 4, 1\) from compute_error"):
            check_layer(layer, data, random)
        layer.compute_error = lambda error: None
        with pytest.raises(MinidlError, match=r"conv1 .* from compute_error"):
            check_layer(layer, data, random)
        net = Net(Sequential(Flatten(), FullyConnected(2)), (2, 2, 1), backend)
        with pytest.raises(MinidlError, match=r"the net is in float32, too coarse"):
            check_net(net, SoftmaxCrossEntropy(backend), data, np.zeros(3, int), random)
        double = Net(Sequential(Flatten(), FullyConnected(2)), (2, 2, 1), backend, dtype="float64")
        with pytest.raises(MinidlError, match="the net cannot be checked on data with nan or inf"):
            check_net(double, SoftmaxCrossEntropy(backend), np.full((1, 2, 2, 1), np.inf), [0], random)
        shapes = (
            (3, "two axes or more, .* not 3"),
            ((3,), "two axes"),
            ((2.5, 3), "a whole number"),
            ((0, 3), "not 0"),
        )
        for shape, message in shapes:
            with pytest.raises(MinidlError, match=f"shape of check_normalization must .*{message}"):
                check_normalization("WC", shape, random, backend)
        for name, message in (("BN", "not the name of one normalization"), ("WX", "unknown word 'WX'")):
            with pytest.raises(MinidlError, match=message):
                check_normalization(name, PROBE, random)


class Dropout(Layer):
    """Sets a random half of the data to zero."""

    kind = "dropout"

    def infer_shape(self, shape):
        return shape

    def compute_output(self, data):
        self.mask = self.kernels.xp.asarray(self.context.random.integers(0, 2, data.shape))
        return data * self.mask

    def compute_error(self, error):
        return error * self.mask


def center(x, out):
    out[...] = x - x.mean((1, 3), keepdims=True)


def center_adjoint(error, output, scale, out):
    out[...] = error - error.mean((1, 3), keepdims=True)


def thousandth_off(error, output, scale, out):
    out[...] = 1.001 * (error - error.mean((1, 3), keepdims=True))


def copy(error, output, scale, out):
    out[...] = error


CENTER = ("weights", "tensor", center)


def own(point, area, function, wrong):
    """Return a user-defined normalization with a given adjoint."""
    return Normalization("OWN", point, area, function, wrong)
