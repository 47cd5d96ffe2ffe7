"""Normalizations of the data: the formulas, BN's running statistics and folding, checkpoints, the method's words."""

import numpy as np
import pytest

from minidl import MinidlError, checkpoint, models
from minidl.context import Context
from minidl.fold import fold
from minidl.kernels.areas import area_view
from minidl.layers import (
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
    FullyConnected,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    ReLU,
    Residual,
    Sequential,
    TransposedConvolution,
)
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import DATA_NORMS, parse
from minidl.optimizers import Adam

AXES = {BatchNorm: (0, 1, 2), LayerNorm: (1, 2, 3), InstanceNorm: (1, 2)}
SHAPES = [(3, 4, 5, 6), (40, 24, 24, 4), (10, 37, 37, 64), (2, 1, 2, 1)]


def set_up(kind, shape, context):
    layer = kind()
    layer.setup(shape, context)
    for p in layer.parameters():
        p.value[...] = context.kernels.xp.asarray(context.random.standard_normal(p.value.shape))
    return layer


def host(layer, array):
    return layer.kernels.host(array)


@pytest.mark.quick_on("reference", "gpu")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", AXES)
def test_the_formulas_of_equations_5_to_7(context, random, kind, shape):
    layer = set_up(kind, shape[1:], context)
    data = random.standard_normal(shape) * 3 + 2
    mean, variance = (f(data, axis=AXES[kind], keepdims=True) for f in (np.mean, np.var))
    gamma, beta = host(layer, layer.gamma.value), host(layer, layer.beta.value)
    expected = (data - mean) / np.sqrt(variance + kind.epsilon) * gamma + beta
    output = layer.forward(context.kernels.xp.asarray(data))
    np.testing.assert_allclose(host(layer, output), expected, atol=1e-11)


def test_group_normalization_is_layer_normalization_of_each_group(context, random):
    layer = set_up(GroupNorm, (5, 3, 64), context)
    layer.gamma.value[...], layer.beta.value[...] = 1, 0
    data = random.standard_normal((4, 5, 3, 64))
    assert layer.groups == 32
    groups = data.reshape(4, 5, 3, 32, 2)
    mean, variance = (f(groups, axis=(1, 2, 4), keepdims=True) for f in (np.mean, np.var))
    expected = ((groups - mean) / np.sqrt(variance + 1e-5)).reshape(data.shape)
    output = layer.forward(context.kernels.xp.asarray(data))
    np.testing.assert_allclose(host(layer, output), expected, atol=1e-12)


@pytest.mark.parametrize("kind", DATA_NORMS.values())
def test_backward_and_comp_grads_alone_are_backpropagate(context, random, kind):
    layer = set_up(kind, (4, 3, 6), context)
    data, error = context.kernels.xp.asarray(random.standard_normal((2, 5, 4, 3, 6)))
    layer.forward(data)
    together = layer.backpropagate(error).copy()
    grads = [p.grads.copy() for p in layer.parameters()]
    np.testing.assert_array_equal(host(layer, layer.backward(error)), host(layer, together))
    layer.comp_grads(error)
    for p, expected in zip(layer.parameters(), grads, strict=True):
        np.testing.assert_array_equal(host(layer, p.grads), host(layer, expected))


@pytest.mark.parametrize("area, shape", [("channel", (50, 32, 32, 8)), ("sample", (2, 64, 64, 16))])
def test_float32_sums_are_accurate_far_from_zero(backend, random, area, shape):
    """A variance computed as Σx² − (Σx)²/n in float32 would have no correct digit here."""
    data = (random.standard_normal(shape) + 1000).astype(np.float32)
    view = area_view(shape, area)
    out = backend.xp.empty(view, np.float32)
    backend.normalize.standardize(backend.xp.asarray(data.reshape(view)), out)
    exact = data.reshape(view).astype(np.float64)
    exact -= exact.mean((1, 3), keepdims=True)
    exact /= np.sqrt((exact**2).mean((1, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(backend.host(out), exact, atol=2e-4)


def test_running_statistics_are_dlibs(context, random):
    layer = set_up(BatchNorm, (3, 2, 4), context)
    mean, variance, n = np.zeros(4), np.ones(4), 0
    layer.train()
    for _ in range(105):
        data = random.standard_normal((3, 3, 2, 4)) * 2 + 1
        layer.forward(context.kernels.xp.asarray(data))
        mean += (data.mean((0, 1, 2)) - mean) / (n + 1)
        variance += (data.var((0, 1, 2), ddof=1) - variance) / (n + 1)
        n = min(n + 1, 100)
    np.testing.assert_allclose(host(layer, layer.mean), mean, atol=1e-12)
    np.testing.assert_allclose(host(layer, layer.variance), variance, atol=1e-12)
    assert layer.updates[0] == 100
    layer.eval()
    gamma, beta = host(layer, layer.gamma.value), host(layer, layer.beta.value)
    expected = (data - mean) / np.sqrt(variance + 1e-4) * gamma + beta
    output = layer.forward(context.kernels.xp.asarray(data))
    np.testing.assert_allclose(host(layer, output), expected, atol=1e-12)
    assert layer.updates[0] == 100


def test_a_single_element_for_each_channel_becomes_beta(context, random):
    layer = set_up(BatchNorm, (1, 1, 4), context)
    data, error = context.kernels.xp.asarray(random.standard_normal((2, 1, 1, 1, 4)))
    np.testing.assert_allclose(host(layer, layer.forward(data)[0, 0, 0]), host(layer, layer.beta.value))
    np.testing.assert_allclose(host(layer, layer.backward(error)), 0, atol=1e-12)
    assert layer.updates[0] == 0


def trained(method, random, mode="projection"):
    net = models.build("a", method=method, mode=mode, shape=(8, 8, 3), dtype="float64", device="cpu")
    optimizer = Adam(net.parameters, net.kernels, learning_rate=0.01)
    loss = SoftmaxCrossEntropy(net.kernels)
    net.train()
    for _ in range(3):
        loss(net.forward(random.standard_normal((6, 8, 8, 3))), random.integers(0, 10, 6))
        net.backpropagate(loss.error)
        optimizer.step()
    return net, optimizer


@pytest.mark.parametrize("mode", ["projection", "reparametrization"])
def test_folding_changes_nothing_at_inference(random, mode):
    net, _ = trained("WS, GC, BN, fully", random, mode)
    data = random.standard_normal((5, 8, 8, 3))
    net.eval()
    expected = net.forward(data).copy()
    fold(net.root)
    assert not any(isinstance(layer, BatchNorm) for layer in net.layers)
    np.testing.assert_allclose(net.forward(data), expected, atol=1e-12)


@pytest.mark.quick_on("reference", "numba")
def test_folding_goes_into_branches_and_transposed_convolutions(context, random):
    """Into residual blocks with a layer in their shortcut, and into a U connection, as in net (d)."""
    up = Sequential(TransposedConvolution(3, 3, stride=2), BatchNorm(), ReLU(), Convolution(3, 3), BatchNorm())
    inner = Residual(up, TransposedConvolution(3, 2, stride=2))
    down = Residual(Sequential(Convolution(4, 3, stride=2), BatchNorm()), AveragePool(2, 2))
    net = Sequential(Convolution(2, 3), BatchNorm(), Concat(Sequential(down, inner)), ReLU())
    net.setup((7, 7, 3), context)
    xp = context.kernels.xp
    net.train()
    for _ in range(3):
        net.forward(xp.asarray(random.standard_normal((4, 7, 7, 3))))
    for layer in net.layers():
        for p in layer.parameters():
            p.value += 0.1 * xp.asarray(random.standard_normal(p.value.shape))
    net.eval()
    data = xp.asarray(random.standard_normal((4, 7, 7, 3)))
    expected = host(net, net.forward(data)).copy()
    fold(net)
    assert not any(isinstance(layer, BatchNorm) for layer in net.layers())
    np.testing.assert_allclose(host(net, net.forward(data)), expected, atol=1e-11)


class Squared(FullyConnected):
    """A user-defined layer, (W·x + b)², which is not linear in W."""

    def compute_output(self, data):
        return super().compute_output(data) ** 2


def test_bn_behind_a_user_defined_layer_is_not_folded(context, random):
    net = Sequential(Squared(3), BatchNorm(), FullyConnected(3), BatchNorm())
    net.setup((4,), context)
    data = context.kernels.xp.asarray(random.standard_normal((6, 4)))
    for _ in range(2):
        net.forward(data)
    net.eval()
    expected = host(net, net.forward(data)).copy()
    fold(net)
    assert [layer.kind for layer in net.layers()] == ["fc", "bn", "fc"]
    np.testing.assert_allclose(host(net, net.forward(data)), expected, atol=1e-12)


def test_only_bn_after_weights_is_folded(context):
    net = Sequential(BatchNorm(), Convolution(2, 3), ReLU(), BatchNorm(), Convolution(2, 3), LayerNorm(), BatchNorm())
    net.setup((4, 4, 2), context)
    net.eval()
    fold(net)
    assert [layer.kind for layer in net.layers()] == ["bn", "conv", "relu", "bn", "conv", "ln", "bn"]
    net = Sequential(FullyConnected(3), BatchNorm())
    net.setup((4,), context)
    fold(net)
    assert [layer.kind for layer in net.layers()] == ["fc"]


@pytest.mark.parametrize("mode", ["projection", "reparametrization"])
def test_a_checkpoint_holds_the_running_statistics(random, tmp_path, mode):
    net = models.build("a", method="WC, GC, BN, fully", mode=mode, shape=(8, 8, 3), dtype="float64", device="cpu")
    optimizer = Adam(net.parameters, net.kernels, learning_rate=0.01)
    net.train()
    net.forward(random.standard_normal((6, 8, 8, 3)))
    path = tmp_path / checkpoint.NAME
    checkpoint.save(path, net, optimizer, epoch=3)
    other = models.build(
        "a", method="WC, GC, BN, fully", mode=mode, shape=(8, 8, 3), dtype="float64", device="cpu", seed=1
    )
    assert checkpoint.resume(path, other, Adam(other.parameters, other.kernels, learning_rate=0.01)) == 3
    assert len(net.running()) == 9
    for name, array in net.running().items():
        np.testing.assert_array_equal(other.running()[name], array)
    for p, q in zip(net.parameters, other.parameters, strict=True):
        np.testing.assert_array_equal(p.value, q.value)


def test_a_loaded_net_is_plain(random, tmp_path):
    for method, kinds in (("WC, GC, BN, fully", set()), ("WC, IN", {"in"})):
        net, optimizer = trained(method, random)
        checkpoint.save(tmp_path / checkpoint.NAME, net, optimizer, epoch=3)
        loaded = checkpoint.load(tmp_path, "cpu")
        assert {layer.kind for layer in loaded.layers} & {"bn", "in"} == kinds
        data = random.standard_normal((5, 8, 8, 3))
        net.eval()
        np.testing.assert_allclose(loaded.forward(data.astype(np.float32)), net.forward(data), atol=1e-4)
        assert all(layer.at_weights.hook is None for layer in loaded.layers)


@pytest.mark.parametrize("text, name", [("Baseline, BN", "BN"), ("WC, GC, BN, fully", "BN"), ("gn", "GN"), ("WC", "")])
def test_the_methods_words(text, name):
    method = parse(text)
    assert method.data_norm == name
    assert parse(str(method)) == method
    assert [type(layer) for layer in method.norm()] == ([DATA_NORMS[name]] if name else [])


@pytest.mark.parametrize(
    "text, message", [("BN, LN", "normalizes the data twice, by BN and LN"), ("Baseline, BN, fully", "not what is")]
)
def test_bad_methods_are_refused(text, message):
    with pytest.raises(MinidlError, match=message):
        parse(text)


def test_gamma_and_beta_are_neither_normalized_nor_decayed():
    net = models.build("a", method="WC, GC, BN, fully", shape=(8, 8, 3), device="cpu")
    assert [p.name for p in net.parameters if p.decay] == [
        *(f"conv{i}.weights" for i in (1, 2, 3)),
        "fc1.weights",
        "fc2.weights",
    ]
    assert all(p.name.endswith("weights") for p in net.normalized_weights())


def test_instance_normalization_of_single_pixels_is_refused():
    with pytest.raises(MinidlError, match=r"in28 \(instance normalization\) got data of shape \(1, 1, 512\)"):
        models.build("b", method="Baseline, IN", device="cpu")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5,), (1, 1, 7), (1, 1, 2000)])
def test_bn_of_one_element_is_beta(backend, random, dtype, shape):
    """So β decides whether a following ReLU is on, and not a rounding error."""
    root = Sequential(BatchNorm(), ReLU())
    root.setup(shape, Context(backend, np.dtype(dtype), random))
    bn = root.children[0]
    for p in bn.parameters():
        p.value[...] = backend.xp.asarray(random.standard_normal(p.value.shape).astype(dtype))
    bn.beta.value[:2] = backend.xp.asarray(np.array([0, 1e-30], dtype))
    beta = backend.host(bn.beta.value)
    running = {name: backend.host(array).copy() for name, array in bn.running().items()}
    data = (1000 * random.standard_normal((1, *shape))).astype(dtype)
    output = backend.host(root.forward(backend.xp.asarray(data))).ravel()
    np.testing.assert_array_equal(output, np.maximum(beta, 0))
    error = random.standard_normal((1, *shape)).astype(dtype)
    back = root.backpropagate(backend.xp.asarray(error))
    np.testing.assert_array_equal(backend.host(back), np.zeros_like(error))
    np.testing.assert_array_equal(backend.host(bn.gamma.grads), np.zeros_like(beta))
    np.testing.assert_array_equal(backend.host(bn.beta.grads), np.where(beta > 0, error.ravel(), 0))
    for name, array in bn.running().items():
        np.testing.assert_array_equal(backend.host(array), running[name])


def test_the_sums_of_one_error_are_not_those_of_another(context, random):
    class Tenth(BatchNorm):
        def compute_grads(self, error):
            super().compute_grads(error / 10)

    norm = Tenth()
    norm.setup((3, 2, 4), context)
    norm.train()
    xp = context.kernels.xp
    data, error = (xp.asarray(random.standard_normal((5, 3, 2, 4))) for _ in range(2))
    norm.forward(data)
    expected = context.kernels.host(norm.backward(error)).copy()
    found = norm.backpropagate(error)
    np.testing.assert_allclose(context.kernels.host(found), expected, rtol=1e-12)
    sums = context.kernels.host(error).sum((0, 1, 2))
    np.testing.assert_allclose(context.kernels.host(norm.beta.grads), sums / 10, rtol=1e-12)
