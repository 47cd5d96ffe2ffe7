"""Every layer, hook, mode and area, the loss and a whole net against central differences, in float64."""

import numpy as np
import pytest

from minidl import models
from minidl.gradcheck import GradientError, check_layer, check_net, numeric_gradient, relative_error
from minidl.hooks import Reparametrization
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
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import parse
from minidl.models import a, b, c, d
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS

LAYERS = {
    "conv 3×3": (lambda: Convolution(3, 3), (5, 4, 2)),
    "conv 5×5": (lambda: Convolution(2, 5), (5, 6, 2)),
    "conv 3×3 stride 2": (lambda: Convolution(3, 3, stride=2), (6, 7, 2)),
    "conv 7×7 stride 2": (lambda: Convolution(2, 7, stride=2), (9, 8, 1)),
    "conv 1×1": (lambda: Convolution(3, 1), (2, 3, 4)),
    "transposed conv 3×3 stride 2": (lambda: TransposedConvolution(3, 3, stride=2), (3, 4, 2)),
    "transposed conv 2×2 stride 2": (lambda: TransposedConvolution(2, 2, stride=2), (3, 2, 3)),
    "transposed conv 3×3": (lambda: TransposedConvolution(2, 3), (3, 4, 2)),
    "fc": (lambda: FullyConnected(4), (6,)),
    "relu": (ReLU, (3, 4, 2)),
    "max pool": (lambda: MaxPool(2, 2), (4, 5, 2)),
    "max pool overlapping": (lambda: MaxPool(3, 2), (7, 5, 2)),
    "flatten": (Flatten, (2, 3, 2)),
    "average pool": (lambda: AveragePool(2, 2), (4, 5, 2)),
    "average pool overlapping": (lambda: AveragePool(3, 2), (7, 5, 2)),
    "global average pool": (GlobalAveragePool, (3, 2, 4)),
    "BN": (BatchNorm, (3, 4, 6)),
    "BN after fc": (BatchNorm, (5,)),
    "LN": (LayerNorm, (3, 4, 6)),
    "LN after fc": (LayerNorm, (5,)),
    "IN": (InstanceNorm, (3, 4, 6)),
    "GN": (GroupNorm, (3, 4, 6)),
    "resize up": (lambda: Resize((7, 5)), (4, 3, 2)),
    "resize down": (lambda: Resize((3, 1)), (4, 5, 2)),
    "resize to the same size": (lambda: Resize((2, 3)), (2, 3, 1)),
    "concat": (lambda: Concat(Convolution(3, 3)), (3, 4, 2)),
    "concat resized": (lambda: Concat(Sequential(Convolution(3, 3, stride=2), ReLU())), (5, 6, 2)),
    "concat in concat": (lambda: Concat(Sequential(MaxPool(2, 2), Concat(Convolution(1, 3)), ReLU())), (4, 5, 2)),
    "any size": (lambda: AnySize(Convolution(2, 3), least=5, step=3), (4, 7, 2)),
    "residual": (lambda: Residual(Sequential(Convolution(2, 3), ReLU(), Convolution(2, 3))), (4, 3, 2)),
    "residual down": (lambda: Residual(Convolution(3, 3, stride=2), AveragePool(2, 2)), (6, 5, 2)),
    "residual of smaller body": (lambda: Residual(Convolution(1, 3, padding=0)), (4, 5, 2)),
}


def set_up(make, shape, context):
    """Return a layer whose biases, γ and β are random and whose gradients are poisoned."""
    layer = make()
    layer.setup(shape, context)
    for p in layer.parameters():
        if not p.decay:
            p.value[...] = context.kernels.xp.asarray(context.random.standard_normal(p.value.shape))
        p.grads[...] = np.nan
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_layer(context, random, name):
    make, shape = LAYERS[name]
    layer = set_up(make, shape, context)
    data = context.kernels.xp.asarray(random.standard_normal((3, *shape)))
    layer.backpropagate(layer.forward(data))
    for part in layer.layers():
        for buffer in part.buffers.values():
            buffer.fill(np.nan if buffer.dtype.kind == "f" else 255)
    check_layer(layer, data, random)


# The modes differ in the weights alone, and "instance" on a fully connected layer is refused (test_statistic.py).
HOOKS = [
    (layer, name, mode)
    for layer in ("conv 3×3", "fc")
    for name, n in NORMALIZATIONS.items()
    for mode in (("projection", "reparametrization") if n.point == "weights" else ("projection",))
    if not (layer == "fc" and n.area == "instance")
]


@pytest.mark.parametrize("layer_name, name, mode", HOOKS)
def test_hook(context, random, layer_name, name, mode):
    normalization = NORMALIZATIONS[name].bind(context.kernels)
    make, shape = LAYERS[layer_name]
    layer = set_up(make, shape, context)
    reparametrize = mode == "reparametrization"
    point = {"weights": layer.at_weights, "error": layer.at_error, "grads": layer.at_grads}[normalization.point]
    point.hook = Reparametrization(normalization) if reparametrize else normalization
    checks = check_layer(layer, random.standard_normal((3, *shape)), random)
    assert len(checks) == 3


def test_loss(backend, random):
    output, labels = map(backend.xp.asarray, (random.standard_normal((5, 4)), random.integers(0, 4, 5)))
    loss = SoftmaxCrossEntropy(backend)
    loss(output, labels)
    computed = backend.host(loss.error).copy()
    numeric = numeric_gradient(lambda: loss.alone(output, labels).loss, output)
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
    net = models.build("c", method=method, mode=mode, classes=10, shape=(16, 16, 3), dtype="float64", device="cpu")
    data, labels = scale * random.standard_normal((4, 16, 16, 3)), random.integers(0, 10, 4)
    checks = check_net(net, SoftmaxCrossEntropy(net.kernels), data, labels, random)
    assert len(checks) == 16


SMALL = {  # every net of Figure 1 at small widths: how it is made, and the size of its images
    "a": (lambda method: a.net(4, method, filters=(2, 3, 4)), 16),
    "b": (lambda method: b.net(4, method, filters=(2, 3, 4, 5), blocks=(2, 1, 2, 1)), 33),
    "b-cifar": (lambda method: b.net(4, method, "cifar", filters=(2, 2, 3, 3), blocks=(1, 2, 1, 1)), 16),
    "c": (lambda method: c.net(4, method, filters=(2, 3, 4)), 8),
    "d": (lambda method: d.net(4, method, filters=(2, 3, 3, 3), count=0), 70),
}


@pytest.mark.parametrize("method", ["Baseline", "WC, GC, BN", "Baseline, GN"])
@pytest.mark.parametrize("name", SMALL)
def test_small_net(backend, random, name, method):
    if backend.device != "cpu" and name in ("b", "d"):
        pytest.skip("takes too long; test_gpu_nets.py and test_reference.py have ten steps of this net")
    make, size = SMALL[name]
    net = Net(make(parse(method)), (size, size, 3), backend, method=method, dtype="float64")
    for p in net.parameters:
        if not p.decay:  # with biases of zero, units whose inputs are all off would be where ReLU has no derivative
            p.value[...] += backend.xp.asarray(random.normal(0, 0.1, p.value.shape))
    data = random.standard_normal((3, *net.shape))
    labels = random.integers(0, 4, (3, *net.output_shape[:-1]))
    checks = check_net(net, SoftmaxCrossEntropy(net.kernels), data, labels, random)
    assert len(checks) == len(net.parameters)


class TestTheChecker:
    """The checker itself must reject an error of 0.1 %, wherever it stands."""

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

    def test_rejects_a_missing_adjoint(self, context, random):
        layer = set_up(*LAYERS["fc"], context)
        layer.at_weights.hook = Reparametrization(NORMALIZATIONS["WS"].bind(context.kernels))
        layer.at_weights.adjoint = lambda grads: None
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
