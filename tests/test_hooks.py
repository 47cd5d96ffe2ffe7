"""The hook points of Algorithm 1: the paper's names and areas, projection and reparametrization, observers."""

import copy

import numpy as np
import pytest

from minidl import MinidlError, kernels, models
from minidl.hooks import Reparametrization
from minidl.kernels import load
from minidl.layer import Layer
from minidl.layers import (
    AnySize,
    BatchNorm,
    Concat,
    Convolution,
    Flatten,
    FullyConnected,
    ReLU,
    Residual,
    Sequential,
)
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import PLACES, parse
from minidl.models import c
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS, Normalization, register
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


def small_net(method, mode="projection", place="hooks"):
    root = c.net(10, parse(method), filters=(4, 6, 8), hidden=20)
    return Net(root, (8, 8, 3), load("cpu"), method=method, mode=mode, place=place, dtype="float64")


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
    for _ in range(5):
        data, labels = small_batch(random)
        one_step(hooked, first, data, labels)
        one_step(plain, second, data, labels)
    ours = hooked.effective_weights()
    for p in plain.parameters:
        np.testing.assert_allclose(ours[p.name], p.value, atol=1e-10, err_msg=p.name)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize(
    "method",
    [
        *("WC, GC, fully", "weight tensor, gradient global", "WS, GC"),
        *(pytest.param(method, marks=pytest.mark.thorough) for method in ("WC", "GC", "WC, EL")),
    ],
)
def test_an_optimizer_that_takes_over_trains_the_same(random, kind, method):
    nets = [small_net(method, place=place) for place in PLACES]
    settings = {"learning_rate": 0.01, "weight_decay": 1e-2}
    optimizers = [OPTIMIZERS[kind](net.parameters, net.kernels, **settings) for net in nets]
    for _ in range(5):
        data, labels = small_batch(random)
        for net, optimizer in zip(nets, optimizers, strict=True):
            one_step(net, optimizer, data, labels)
    expected, found = (net.effective_weights() for net in nets)
    for name, weights in expected.items():
        np.testing.assert_allclose(found[name], weights, atol=1e-10, err_msg=name)


class TestPlace:
    @pytest.mark.parametrize(
        "method, mode, inside",
        [
            ("WC, GC", "projection", {(False, False), (True, True)}),
            ("weight tensor, gradient tensor", "projection", {(False, False), (True, True)}),
            ("WC, GC", "reparametrization", {(False, False), (False, True)}),
            ("WC, EL", "projection", {(False, False), (True, False)}),
            ("weight channel, gradient instance", "projection", {(False, False)}),
            ("WS, EB", "projection", {(False, False)}),
        ],
    )
    def test_what_the_update_does(self, random, method, mode, inside):
        net, hooked = small_net(method, mode, "optimizer"), small_net(method, mode)
        optimizer = SGD(net.parameters, net.kernels, learning_rate=0.1)
        assert {(tensor.wc, tensor.gc) for tensor in optimizer.tensors} == inside
        assert ("in the optimizer" in str(net)) == (len(inside) == 2)
        assert not any(p.wc or p.gc for p in hooked.parameters)
        assert "in the optimizer" not in str(hooked)
        one_step(net, optimizer, *small_batch(random))

    def test_the_weights_are_centralized_before_the_first_update(self, random):
        nets = [small_net("WC, fully", place=place) for place in PLACES]
        data, _ = small_batch(random)
        np.testing.assert_array_equal(*(net.forward(data) for net in nets))

    @pytest.mark.parametrize("point, word", [("at_weights", "WC"), ("at_grads", "GC")])
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_late_observer_is_told_where_the_work_is_done(self, random, point, word, when):
        net = small_net("WC, GC, EL", place="optimizer")
        optimizer = SGD(net.parameters, net.kernels, learning_rate=0.1)
        observers = getattr(getattr(net.layers[0], point), when)
        observers.append(print)
        message = rf"conv1's {word} is done inside the update of the optimizer; build with place=\"hooks\" to watch it"
        with pytest.raises(MinidlError, match=message):
            one_step(net, optimizer, *small_batch(random))
        observers.clear()
        for layer in net.layers:
            layer.at_error.after.append(lambda error: None)  # errors are normalized where they always are
        one_step(net, optimizer, *small_batch(random))

    @pytest.mark.parametrize("point", ["at_weights", "at_grads"])
    def test_a_hook_is_not_hung_where_the_work_is_done_elsewhere(self, point):
        net = small_net("WC, GC", place="optimizer")
        with pytest.raises(MinidlError, match=r"done inside the update .* or to hang another hook there"):
            getattr(net.layers[0], point).hook = np.sign
        getattr(net.layers[2], point).hook = None
        getattr(net.layers[-1], point).hook = np.sign  # makes the output, and is not normalized

    def test_a_trace_looks_at_a_normalized_copy(self, random):
        nets = [small_net("WC, GC", place="optimizer") for _ in range(2)]
        optimizers = [Adam(net.parameters, net.kernels, learning_rate=0.01) for net in nets]
        batch = small_batch(random)
        for net, optimizer in zip(nets, optimizers, strict=True):
            one_step(net, optimizer, *batch)
            layer, filters = net.layers[2], (1, 2, 3)
            if net is nets[0]:
                grads = layer.weights.grads
                seen = layer.at_grads.in_update(grads.copy())
                np.testing.assert_allclose(seen, grads - grads.mean(filters, keepdims=True), atol=1e-14)
            one_step(net, optimizer, *batch)
        for one, other in zip(*(net.parameters for net in nets), strict=True):
            np.testing.assert_array_equal(one.value, other.value)

    def test_a_copy_of_the_net_trains_the_same(self, random):
        net = small_net("WC, GC", place="optimizer")
        nets = [net, copy.deepcopy(net)]
        batch = small_batch(random)
        for each in nets:
            one_step(each, SGD(each.parameters, each.kernels, learning_rate=0.1), *batch)
        for one, other in zip(*(each.parameters for each in nets), strict=True):
            np.testing.assert_array_equal(one.value, other.value)

    def test_a_place_that_is_unknown(self, backend):
        message = "the place 'update' is unknown; use hooks or optimizer"
        with pytest.raises(MinidlError, match=message):
            models.build("c", method="WC", place="update", device="cpu")
        with pytest.raises(MinidlError, match=message):
            Net(Sequential(Convolution(2, 3), Convolution(2, 3)), (4, 4, 3), backend, place="update")

    def test_areas_are_checked_in_the_update_too(self, backend):
        root = Sequential(Convolution(4, 1), Convolution(4, 3))
        with pytest.raises(MinidlError, match=r"conv1 .* cannot have WC"):
            Net(root, (4, 4, 1), backend, method="WC", place="optimizer")


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
        with pytest.raises(MinidlError, match="HALF has no adjoint, which reparametrization needs"):
            small_net("HALF", "reparametrization")
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
        ("WC,,GC", "unknown word ''; use"),
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


class TestWhatIsNoHook:
    """What would do nothing, or something else, in silence."""

    @pytest.mark.parametrize("hook", ["WC", 3, ["WC"], np.zeros(3)])
    def test_a_hook_is_a_callable(self, hook):
        point = Convolution(2, 3).at_weights
        with pytest.raises(MinidlError, match=r"a hook is a callable .* chosen by its name with method="):
            point.hook = hook
        assert point.hook is None

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_observer_is_a_callable(self, context, random, when):
        layer = set_up(Convolution(2, 3), context)
        getattr(layer.at_weights, when).append("print")
        with pytest.raises(MinidlError, match=r"an observer is a callable that takes an array, not 'print'.*conv1"):
            layer.forward(context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3))))

    @pytest.mark.parametrize(
        "hook, got",
        [
            (lambda array: None, "NoneType"),
            (lambda array: 0.5, "float"),
            (lambda array: array[:1], r"float64 of shape \(1, "),
            (lambda array: array.mean(), r"float64 of shape \(\)"),
            (lambda array: array.T, r"float64 of shape"),
            (lambda array: array * 1j, "complex128 of shape"),
        ],
    )
    @pytest.mark.parametrize("point", ["weights", "error", "grads"])
    def test_a_hook_returns_an_array_of_the_shape(self, context, random, point, hook, got):
        layer = set_up(Convolution(2, 3), context)
        getattr(layer, f"at_{point}").hook = hook
        data = context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3)))
        with pytest.raises(
            MinidlError, match=f"the hook <lambda> at the {point} of conv1 returned {got}.* let it return"
        ):
            layer.backpropagate(layer.forward(data).copy())

    @pytest.mark.parametrize("kind", ["int8", "bool", "float32"])
    def test_real_numbers_of_any_type_will_do(self, context, random, kind):
        layer = set_up(Convolution(2, 3), context)
        layer.at_weights.hook = lambda array: (array > 0).astype(kind)
        layer.forward(context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3))))
        assert set(np.unique(context.kernels.host(layer.weights.value))) == {0.0, 1.0}

    def test_a_normalization_knows_its_device(self, context, random):
        layer = set_up(Convolution(2, 3), context)
        layer.at_weights.hook = NORMALIZATIONS["WC"]
        with pytest.raises(MinidlError, match=r"WC does not know its device yet; .*bind\(net.kernels\)"):
            layer.forward(context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3))))

    def test_reparametrization_is_for_weights(self, backend):
        layer = Convolution(2, 3)
        hook = Reparametrization(NORMALIZATIONS["WC"].bind(backend))
        layer.at_weights.hook = hook
        for point in (layer.at_error, layer.at_grads):
            with pytest.raises(MinidlError, match="is for weights alone"):
                point.hook = hook

    @pytest.mark.parametrize("point", ["at_weights", "at_grads"])
    def test_where_there_are_no_weights(self, context, random, point):
        layer = set_up(ReLU(), context)
        getattr(layer, point).hook = np.sign
        with pytest.raises(MinidlError, match=r"relu1 \(relu\) has no weights, and the hook .* never be called"):
            layer.forward(context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3))))
        for container in (Sequential(ReLU()), Residual(ReLU()), Concat(ReLU()), AnySize(ReLU(), 1, 1)):
            with pytest.raises(MinidlError, match="has no weights of its own; hang the hook at one of its layers"):
                getattr(container, point).hook = np.sign

    @pytest.mark.parametrize("container", [Sequential, Residual, Concat, lambda body: AnySize(body, 4, 4)])
    def test_a_container_has_an_error(self, context, random, container):
        plain, hooked = (set_up(container(Sequential(ReLU(), Convolution(2, 3))), context) for _ in range(2))
        for p, other in zip(hooked.parameters(), plain.parameters(), strict=True):
            p.value[...] = other.value
        seen = []
        hooked.at_error.hook = lambda error: 3 * error
        hooked.at_error.before.append(lambda error: seen.append(error.copy()))
        data = context.kernels.xp.asarray(random.standard_normal((2, 4, 4, 3)))
        error = context.kernels.xp.asarray(random.standard_normal(plain.forward(data).shape))
        hooked.forward(data)
        expected = context.kernels.host(plain.backpropagate(error))
        np.testing.assert_allclose(context.kernels.host(hooked.backpropagate(error)), 3 * expected)
        np.testing.assert_allclose(context.kernels.host(seen[0]), expected)

    def test_a_method_does_not_take_another_hooks_place(self, backend):
        root = Sequential(Convolution(2, 3), Convolution(2, 3))
        root.children[0].at_grads.hook = np.sign
        with pytest.raises(
            MinidlError, match="the method's GC would take the place of the hook sign at the grads of conv1"
        ):
            Net(root, (4, 4, 3), backend, method="WC, GC")


def set_up(layer, context):
    layer.setup((4, 4, 3), context)
    return layer


def halve(x, out):
    out[...] = x / 2


def write_first(x, out):
    out[...] = 0
    out[...] += x / 2


def spoil(x, out):
    out[...] = x / 2
    x[...] = 7


def noise(x, out):
    out[...] = x / 2
    noise.calls += 1


noise.calls = 0


@pytest.mark.usefixtures("names")
class TestOwnNormalizations:
    @pytest.mark.parametrize("function", [halve, write_first, spoil])
    @pytest.mark.parametrize("mode", ["projection", "reparametrization"])
    def test_memory_that_is_apart(self, backend, random, function, mode):
        """In place as well as not: x is nobody else's, and out is not x."""
        register("HALF", "weights", "tensor", function, lambda error, output, scale, out: halve(error, out))
        root = Sequential(Convolution(2, 3), Convolution(2, 3))
        net = Net(root, (4, 4, 3), backend, method="HALF", mode=mode)
        layer = net.layers[0]
        before = backend.host(layer.weights.value).copy()
        net.forward(backend.xp.asarray(random.standard_normal((2, 4, 4, 3)).astype(np.float32)))
        np.testing.assert_array_equal(backend.host(layer.weights_in_use), before / 2)
        kept = before if mode == "reparametrization" else before / 2
        np.testing.assert_array_equal(backend.host(layer.weights.value), kept)

    @pytest.mark.parametrize("where", ["function", "adjoint"])
    @pytest.mark.parametrize(
        "wrong, message",
        [
            (lambda x: x / 2, "returned its result instead of writing it into out; write out"),
            (lambda x: None, "did not write all of out; write out"),
            ("first", "did not write all of out"),
            ("in place", "did not write all of out"),
            ("raises", r"failed on random numbers of shape \(4, 1, 1, 36\) with ValueError: no"),
        ],
    )
    def test_what_is_not_written(self, backend, wrong, message, where):
        def function(*args):
            x, out = args[0], args[-1]
            if wrong == "raises":
                raise ValueError("no")
            if wrong == "first":
                out[0] = x[0]
            if wrong == "in place":
                out[...] = out / 2
            return wrong(x) if callable(wrong) else None

        register("OWN", "weights", "tensor", *([function] if where == "function" else [halve, function]))
        with pytest.raises(MinidlError, match=f"OWN cannot be used: function {message}"):
            Net(Sequential(Convolution(2, 3), Convolution(2, 3)), (4, 4, 3), backend, method="OWN")

    def test_it_is_tried_once_for_a_net(self, random):
        register("NOISE", "grads", "tensor", noise)
        noise.calls = 0
        net = small_net("NOISE")
        assert noise.calls == 1
        one_step(net, SGD(net.parameters, net.kernels, learning_rate=0.1), *small_batch(random))
        assert noise.calls == 7

    @pytest.mark.parametrize(
        "args, message",
        [
            (("WC", "weights", "tensor", halve), "the name 'WC' is taken by WC"),
            (("wc", "weights", "tensor", halve), "the name 'wc' is taken by WC"),
            (("bn", "weights", "tensor", halve), "is taken by BN"),
            (("Fully", "weights", "tensor", halve), "is taken by fully"),
            (("baseline", "weights", "tensor", halve), "is taken by Baseline"),
            (("A, B", "weights", "tensor", halve), r"use words of letters, digits, _, -, \. and \+"),
            (("A (B)", "weights", "tensor", halve), r"cannot name 'A \(B\)'"),
            (("A; B", "weights", "tensor", halve), "cannot name 'A; B'"),
            (("A/B", "weights", "tensor", halve), "cannot name 'A/B'"),
            (("A  B", "weights", "tensor", halve), "with one space between them"),
            (("A\n", "weights", "tensor", halve), "cannot name"),
            (("", "weights", "tensor", halve), "cannot name ''"),
            ((" A", "weights", "tensor", halve), "cannot name ' A'"),
            ((7, "weights", "tensor", halve), "cannot name 7"),
            (("A", "weight", "tensor", halve), "the hook point 'weight' is unknown; use one of weights, error, grads"),
            (("A", "weights", "row", halve), "the area 'row' is unknown for weights; use one of global, tensor"),
            (("A", "error", "group", halve), "the area 'group' is unknown for error"),
            (
                ("A", "weights", "tensor", "centre"),
                "the transform 'centre' is unknown; use center, standardize, rescale",
            ),
            (("A", "weights", "tensor", "center", halve), "cannot have another adjoint than that of center"),
            (("A", "weights", "tensor", None), r"A needs a function \(x, out\), or one \(x\) that .*, not None"),
            (("A", "weights", "tensor", lambda: 0), r"A calls <lambda>\(x\), which takes other arguments"),
            (("A", "weights", "tensor", halve, halve), r"calls halve\(error, output, scale, out\), which takes other"),
        ],
    )
    def test_what_cannot_be_registered(self, args, message):
        known = dict(NORMALIZATIONS)
        with pytest.raises(MinidlError, match=message):
            register(*args)
        assert known == NORMALIZATIONS

    def test_a_name_can_be_given_anew(self):
        for _ in range(2):
            register("A b", "weights", "tensor", halve)
            with pytest.raises(MinidlError, match=r"del NORMALIZATIONS\['a B'\]|after del"):
                register("a B", "weights", "tensor", halve)
            del NORMALIZATIONS["A b"]
        register("A b", "weights", "tensor", np.positive)  # a function of C, which takes (x, out)
        assert [n.name for n in parse("a  B, GC").normalizations] == ["A b", "GC"]


class Own(Layer):
    """A weighted layer of one's own: the weights' axes are (out, in)."""

    kind = "own"

    def __init__(self, outputs=2, axes=4):
        super().__init__()
        self.outputs, self.axes = outputs, axes

    def infer_shape(self, shape):
        weights = {1: (shape[-1],), 2: (self.outputs, shape[-1]), 4: (self.outputs, 1, 1, shape[-1])}[self.axes]
        self.create_parameters(weights, 1, 1)
        return (*shape[:-1], self.outputs)

    def compute_output(self, data):
        return data @ self.weights_in_use.reshape(self.outputs, -1).T

    def compute_error(self, error):
        return error @ self.weights_in_use.reshape(self.outputs, -1)

    def compute_grads(self, error):
        columns = (array.reshape(-1, array.shape[-1]) for array in (error, self.data))
        self.weights.grads[...] = (next(columns).T @ next(columns)).reshape(self.weights.grads.shape)
        self.biases.grads[...] = 0


@pytest.mark.parametrize("axes", [2, 4])
def test_methods_reach_weighted_layers_of_ones_own(backend, random, axes):
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


def test_the_output_is_made_by_the_last_layer_with_filters(backend):
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
        Net(root(BatchNorm()), (4, 4, 3), backend, method="WC")  # what else stands there is its maker's affair

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


@pytest.mark.parametrize("word", ["gc", "wc"])
def test_an_optimizer_centralizes_what_it_learns(word):
    net = small_net("Baseline")
    first, *others = net.parameters
    with pytest.raises(MinidlError, match=rf"{word.upper()} is for conv1.weights, which is not among the parameters"):
        SGD(others, net.kernels, learning_rate=0.1, **{word: [first]})
