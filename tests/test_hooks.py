"""The hook points of Algorithm 1: the paper's names and areas, projection and reparametrization, observers."""

import numpy as np
import pytest
from small_nets import one_step, small_batch, small_net

from minidl import MinidlError, models
from minidl.layer import Layer
from minidl.layers import Convolution, ReLU, Sequential
from minidl.losses import SoftmaxCrossEntropy
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS
from minidl.optimizers import OPTIMIZERS, SGD, Adam

FORMULAS = {  # the formulas of Table 1, with the paper's means over (out, y, x, in) or (s, y, x, c)
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


@pytest.mark.parametrize("name", ["WC", "WN", "WS"])
def test_what_a_normalization_cannot_write_into_is_refused(backend, random, name):
    """Else it would write to a copy, and return an array that is not normalized."""
    hook, w, wrong = NORMALIZATIONS[name].bind(backend), random.standard_normal((3, 4, 5, 2)), [None]
    if backend.xp is np:
        expected = FORMULAS[name][1](w)
        read_only = w.copy()
        read_only.flags.writeable = False
        np.testing.assert_allclose(hook(w.copy()), expected, rtol=1e-9, atol=1e-9)
        wrong += [read_only, w.astype(">f8"), w.tolist()]
    given = backend.xp.asarray(w)
    wrong += [given.transpose(0, 3, 1, 2), given[..., ::2], given.astype("f2"), given.astype(int), given[0, 0, 0]]
    for array in wrong:
        with pytest.raises(MinidlError, match=rf"^{name} takes an array of float32 or float64, .*; give np\.array"):
            hook(array)
    for out in (given.astype("f4"), given[:2].copy(), given.copy().transpose(3, 1, 2, 0)):
        with pytest.raises(MinidlError, match="writes into one like it"):
            hook.transform(given, out)


class Turned(Layer):
    """A layer of one's own whose error does not lie in C's order."""

    def infer_shape(self, shape):
        return shape

    def compute_output(self, data):
        return data

    def compute_error(self, error):
        return np.asfortranarray(2 * error)


def test_an_error_in_any_order_is_normalized(random):
    net = Net(Sequential(ReLU(), Turned()), (4, 3, 2), "cpu", dtype="float64")
    layer, error = net.layers[1], random.standard_normal((3, 4, 3, 2))
    layer.at_error.hook = NORMALIZATIONS["EB"].bind(net.kernels)
    net.forward(error)
    np.testing.assert_allclose(layer.backward(error), FORMULAS["EB"][1](2 * error), atol=1e-12)


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


def test_gc_keeps_the_mean_of_every_filter_under_sgd(random):
    """Adam divides each element by a different root, and so changes the mean."""
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
    for _ in range(5):
        data, labels = small_batch(random)
        one_step(hooked, first, data, labels)
        one_step(plain, second, data, labels)
    ours = hooked.effective_weights()
    for p in plain.parameters:
        np.testing.assert_allclose(ours[p.name], p.value, atol=1e-10, err_msg=p.name)


def test_projection_overwrites_the_weights_and_reparametrization_does_not(random):
    projected, raw = small_net("WC"), small_net("WC", "reparametrization")
    before = raw.layers[2].weights.value.copy()
    data, _ = small_batch(random)
    np.testing.assert_allclose(projected.forward(data), raw.forward(data), atol=1e-12)
    np.testing.assert_array_equal(raw.layers[2].weights.value, before)
    assert np.abs(before.mean((1, 2, 3))).max() > 1e-3
    assert np.abs(projected.layers[2].weights.value.mean((1, 2, 3))).max() < 1e-15


def test_reparametrized_centering_is_projection_with_gc(random):
    """The adjoint of centering is centering: reparametrized WC trains like GC on centered weights."""
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
    assert layer.weights.in_use is weights


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
    """Eval calls each hook of weights once more, and no observer, as these look at training."""
    net = small_net("WC, GC, EL, fully")
    called, seen = [], []
    for layer in net.layers:
        layer.at_weights.before.append(seen.append)
        if layer.at_weights.hook is not None:

            def counted(array, name=layer.name, hook=layer.at_weights.hook):
                called.append(name)
                return hook(array)

            layer.at_weights.hook = counted
    hooked = [layer.name for layer in net.layers if layer.at_weights.hook is not None]
    net.eval()
    assert called == hooked != []
    net.forward(small_batch(random)[0])
    assert called == hooked
    assert not seen


def test_evaluation_uses_the_weights_that_forward_would(random):
    net = small_net("WC, fully")
    optimizer = Adam(net.parameters, net.kernels, learning_rate=0.01)
    data, labels = small_batch(random)
    one_step(net, optimizer, data, labels)
    net.eval()
    inference = net.forward(data).copy()
    net.train()
    np.testing.assert_allclose(net.forward(data), inference, atol=1e-12)


def test_an_observer_at_an_output_sees_it_before_the_relu(random):
    """Without an observer, the layers compute both in one pass, in the same memory."""
    net, seen = small_net("Baseline"), []
    data, labels = small_batch(random)
    conv, relu = net.layers[:2]
    unseen = net.forward(data).copy()
    for layer in (conv, relu):
        layer.at_output.after.append(seen.append)
    for _ in range(2):
        np.testing.assert_array_equal(net.forward(data), unseen)
    assert seen[0].min() < 0
    for one, other in zip(seen[:2], seen[2:], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.maximum(seen[0], 0), seen[1])
    one_step(net, SGD(net.parameters, net.kernels, learning_rate=0.1), data, labels)
    for layer in (conv, relu):
        layer.at_output.after.clear()
    net.forward(data)
    assert relu.writes_over is conv


def test_a_hook_of_a_net_is_listed_by_its_name():
    net = models.build("c", device="cpu")

    def halved(array):
        return array / 2

    net.layers[0].at_weights.hook = halved
    assert "halved" in str(net)
    assert "<function" not in str(net)
