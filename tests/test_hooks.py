"""The hook points of Algorithm 1: the paper's names and areas, projection and reparametrization, observers."""

import numpy as np
import pytest

from minidl import MinidlError, kernels, models
from minidl.hooks import Reparametrization
from minidl.layers import Convolution, FullyConnected, ReLU, Sequential
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import parse
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS, register
from minidl.optimizers import OPTIMIZERS, SGD, Adam

FORMULAS = {  # of Table 1, with the paper's means over (out, y, x, in) or (s, y, x, c)
    "WN": ("at_weights", lambda w: w / np.sqrt((w**2).sum((1, 2, 3), keepdims=True))),
    "WC": ("at_weights", lambda w: w - w.mean((1, 2, 3), keepdims=True)),
    "WS": ("at_weights", lambda w: standardized(w, (1, 2, 3))),
    "GC": ("at_grads", lambda g: g - g.mean((1, 2, 3), keepdims=True)),
    "EBN": ("at_error", lambda e: standardized(e, (0, 1, 2))),
    "ELN": ("at_error", lambda e: standardized(e, (1, 2, 3))),
    "EB": ("at_error", lambda e: e - e.mean((0, 1, 2), keepdims=True)),
    "EL": ("at_error", lambda e: e - e.mean((1, 2, 3), keepdims=True)),
}
AREAS = {
    "global": (0, 1, 2, 3),
    "tensor": (1, 2, 3),
    "sample": (1, 2, 3),
    "channel": (0, 1, 2),
    "instance": (1, 2),
}
for area in AREAS:
    for target, point in (("weight", "at_weights"), ("gradient", "at_grads"), ("error", "at_error")):
        if (target == "error") == (area == "sample") or area not in ("tensor", "sample"):
            axes = AREAS[area]
            FORMULAS[f"{target} {area}"] = (point, lambda x, axes=axes: x - x.mean(axes, keepdims=True))


def standardized(x, axes):
    centered = x - x.mean(axes, keepdims=True)
    return centered / np.sqrt((centered**2).mean(axes, keepdims=True) + 1e-5)


def test_every_name_has_its_formula():
    assert set(FORMULAS) == set(NORMALIZATIONS)
    assert len([name for name in NORMALIZATIONS if " " in name]) == 12


@pytest.mark.parametrize("name", FORMULAS)
def test_names_are_the_papers_formulas(context, random, name):
    point, formula = FORMULAS[name]
    plain, hooked = Convolution(4, 3), Convolution(4, 3)
    for layer in (plain, hooked):
        layer.setup((6, 5, 3), context)
    hooked.weights.value[...] = plain.weights.value
    getattr(hooked, point).hook = NORMALIZATIONS[name].bind(context.kernels)
    xp, host = context.kernels.xp, context.kernels.host

    def compare(array, expected):
        np.testing.assert_allclose(host(array), expected, atol=1e-12)

    if point == "at_weights":
        plain.weights.value[...] = xp.asarray(formula(host(plain.weights.value)))
    data, error = random.standard_normal((3, 6, 5, 3)), random.standard_normal((3, 6, 5, 4))
    data, error = xp.asarray(data), xp.asarray(error)
    compare(hooked.forward(data), host(plain.forward(data)))
    hooked.comp_grads(error)
    plain.comp_grads(error)
    grads, back = host(plain.weights.grads), host(plain.backward(error))
    compare(hooked.weights.grads, formula(grads) if point == "at_grads" else grads)
    compare(hooked.backward(error), formula(back) if point == "at_error" else back)
    compare(hooked.weights.value, host(plain.weights.value))
    compare(hooked.biases.grads, host(plain.biases.grads))


@pytest.mark.parametrize("name", ["WC", "WN", "weight global", "weight channel", "weight instance"])
def test_projection_is_idempotent(backend, random, name):
    hook = NORMALIZATIONS[name].bind(backend)
    once = hook(backend.xp.asarray(random.standard_normal((5, 3, 3, 4))))
    np.testing.assert_allclose(backend.host(hook(once.copy())), backend.host(once), atol=1e-14)


def one_step(net, optimizer, data, labels):
    loss = SoftmaxCrossEntropy(net.kernels)
    loss(net.forward(data), labels)
    net.backpropagate(loss.error)
    optimizer.step()


def small_net(method, mode="projection"):
    return models.build("c", method=method, mode=mode, shape=(8, 8, 3), dtype="float64", device="cpu")


def small_batch(random):
    return random.standard_normal((6, 8, 8, 3)), random.integers(0, 10, 6)


def test_gc_keeps_the_mean_of_every_filter_under_sgd(random):
    """Adam divides each element by a root of its own, and keeps no mean."""
    net = small_net("GC, fully")
    optimizer = SGD(net.parameters, net.kernels, learning_rate=0.1)
    weights = [p.value for p in net.normalized_weights()]
    before = [w.mean(tuple(range(1, w.ndim))) for w in weights]
    moved = [w.copy() for w in weights]
    for _ in range(3):
        one_step(net, optimizer, *small_batch(random))
    for w, mean, old in zip(weights, before, moved, strict=True):
        assert np.abs(w - old).max() > 1e-6
        np.testing.assert_allclose(w.mean(tuple(range(1, w.ndim))), mean, atol=1e-15)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("method", ["WC, GC, fully", "WC, fully", "GC, fully"])
def test_hooks_are_the_optimizers_of_algorithms_2_and_3(random, kind, method):
    hooked, plain = small_net(method), small_net("Baseline")
    weights = {p.name: p for p in plain.parameters}
    chosen = [weights[p.name] for p in hooked.normalized_weights()]
    settings = {"learning_rate": 0.01, "weight_decay": 1e-2}
    first = OPTIMIZERS[kind](hooked.parameters, hooked.kernels, **settings)
    inside = {word: chosen for word in ("gc", "wc") if word.upper() in method}
    second = OPTIMIZERS[kind](plain.parameters, plain.kernels, **settings, **inside)
    plain.load(hooked.effective_weights())
    for _ in range(10):
        data, labels = small_batch(random)
        one_step(hooked, first, data, labels)
        one_step(plain, second, data, labels)
    ours = hooked.effective_weights()
    for p in plain.parameters:
        np.testing.assert_allclose(ours[p.name], p.value, atol=1e-10, err_msg=p.name)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("method", ["WC, GC, fully", "WC", "GC", "WC, EL", "weight tensor, gradient global", "WS, GC"])
def test_an_optimizer_that_takes_over_trains_the_same(random, kind, method):
    nets = [small_net(method), small_net(method)]
    settings = {"learning_rate": 0.01, "weight_decay": 1e-2}
    optimizers = [OPTIMIZERS[kind](net.parameters, net.kernels, **settings) for net in nets]
    optimizers[1].take_over(nets[1].layers)
    for _ in range(5):
        data, labels = small_batch(random)
        for net, optimizer in zip(nets, optimizers, strict=True):
            one_step(net, optimizer, data, labels)
    expected, found = (net.effective_weights() for net in nets)
    for name, weights in expected.items():
        np.testing.assert_allclose(found[name], weights, atol=1e-10, err_msg=name)


def test_what_an_optimizer_takes_over(random):
    def taken(method, mode="projection", observed=False):
        net = small_net(method, mode)
        seen = []
        if observed:
            for layer in net.layers:
                layer.at_grads.after.append(seen.append)
        optimizer = SGD(net.parameters, net.kernels, learning_rate=0.1)
        optimizer.take_over(net.layers)
        one_step(net, optimizer, *small_batch(random))
        means = [abs(array.mean(axis=tuple(range(1, array.ndim)))).max() for array in seen]
        return {(tensor.wc, tensor.gc) for tensor in optimizer.tensors}, "in the optimizer" in str(net), means

    assert taken("WC, GC") == ({(False, False), (True, True)}, True, [])
    assert taken("WC, GC", "reparametrization") == ({(False, False), (False, True)}, True, [])
    assert taken("weight channel, gradient instance") == ({(False, False)}, False, [])
    inside, shown, means = taken("WC, GC", observed=True)
    assert inside == {(False, False), (True, False)}
    assert shown
    assert sorted(means)[:6] == pytest.approx([0] * 6, abs=1e-12)  # six convolutions


def test_projection_overwrites_the_weights_and_reparametrization_does_not(random):
    projected, raw = small_net("WC"), small_net("WC", "reparametrization")
    before = raw.layers[2].weights.value.copy()
    data, _ = small_batch(random)
    np.testing.assert_allclose(projected.forward(data), raw.forward(data), atol=1e-12)
    np.testing.assert_array_equal(raw.layers[2].weights.value, before)
    assert np.abs(before.mean((1, 2, 3))).max() > 1e-3
    assert np.abs(projected.layers[2].weights.value.mean((1, 2, 3))).max() < 1e-15


def test_reparametrized_centering_is_projection_with_gc(random):
    """The adjoint of centering is centering: WC reparametrized trains as GC does on centered weights."""
    one, other = small_net("WC", "reparametrization"), small_net("WC, GC")
    data, labels = small_batch(random)
    for net in (one, other):
        loss = SoftmaxCrossEntropy(net.kernels)
        loss(net.forward(data), labels)
        net.backpropagate(loss.error)
    for a, b in zip(one.parameters, other.parameters, strict=True):
        np.testing.assert_allclose(a.grads, b.grads, atol=1e-12)


def test_any_callable_is_a_hook(context, random):
    layer = Convolution(2, 3)
    layer.setup((4, 4, 1), context)
    weights = layer.weights.value
    layer.at_weights.hook = context.kernels.xp.sign
    layer.forward(context.kernels.xp.asarray(random.standard_normal((1, 4, 4, 1))))
    assert set(np.unique(context.kernels.host(weights))) == {-1.0, 1.0}
    assert layer.weights_in_use is weights


def test_observers_see_before_and_after_and_change_nothing(random):
    data, labels = small_batch(random)
    grads, seen = [], {}
    for watched in (False, True):
        net = small_net("WC, GC, fully")
        if watched:
            layer = net.layers[2]
            for point in ("at_weights", "at_error", "at_grads"):
                for when in ("before", "after"):
                    key = (point, when)
                    getattr(getattr(layer, point), when).append(lambda a, key=key: seen.update({key: a.copy()}))
        one_step(net, SGD(net.parameters, net.kernels, learning_rate=0.1), data, labels)
        grads.append([p.grads for p in net.parameters])
    assert len(seen) == 6
    for point in ("at_weights", "at_grads"):
        before, after = seen[point, "before"], seen[point, "after"]
        assert np.abs(before.mean((1, 2, 3))).max() > 1e-6
        np.testing.assert_allclose(after, before - before.mean((1, 2, 3), keepdims=True), atol=1e-12)
    np.testing.assert_array_equal(seen["at_error", "before"], seen["at_error", "after"])
    for a, b in zip(*grads, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_hook_is_called_at_inference(random):
    net = small_net("WC, GC, EL, fully")
    calls = []
    for layer in net.layers:
        layer.at_weights.before.append(lambda _: calls.append("weights"))
    net.eval()
    assert len(calls) == 8
    net.forward(small_batch(random)[0])
    assert len(calls) == 8


def test_evaluation_uses_the_weights_that_forward_would(random):
    net = small_net("WC, fully")
    optimizer = Adam(net.parameters, net.kernels, learning_rate=0.01)
    data, labels = small_batch(random)
    one_step(net, optimizer, data, labels)
    net.eval()
    inference = net.forward(data).copy()
    net.train()
    np.testing.assert_allclose(net.forward(data), inference, atol=1e-12)


def test_an_own_normalization_works_by_its_name(random):
    register("HALF", "weights", "tensor", lambda x, out: np.divide(x, 2, out=out))
    try:
        net = small_net("half, GC")
        before = net.layers[0].weights.value.copy()
        net.forward(small_batch(random)[0])
        np.testing.assert_array_equal(net.layers[0].weights.value, before / 2)
        raw = small_net("HALF", "reparametrization")
        output = raw.forward(small_batch(random)[0])
        with pytest.raises(MinidlError, match="HALF has no adjoint"):
            raw.backpropagate(np.ones_like(output))
    finally:
        del NORMALIZATIONS["HALF"]


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
        ("WC,,GC", "unknown word ''"),
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


def test_the_error_that_the_first_layer_would_make_is_not_looked_at():
    net = Net(Sequential(FullyConnected(3), ReLU(), FullyConnected(2)), (4,), kernels.load("cpu"), method="EB, fully")
    net.check_batches([1])
    net.train()
    net.forward(np.ones((1, 4), np.float32))
    net.backpropagate(np.ones((1, 2), np.float32))
