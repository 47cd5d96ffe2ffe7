"""Where WC and GC are done: at the hook points, or inside the update (place="optimizer"), which trains the same."""

import copy

import numpy as np
import pytest
from small_nets import one_step, small_batch, small_net

from minidl import MinidlError, models
from minidl.layers import Convolution, Sequential
from minidl.method import PLACES
from minidl.net import Net
from minidl.optimizers import OPTIMIZERS, SGD, Adam


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
    def test_which_of_wc_and_gc_the_update_does(self, random, method, mode, inside):
        net, hooked = small_net(method, mode, "optimizer"), small_net(method, mode)
        optimizer = SGD(net.parameters, net.kernels, learning_rate=0.1)
        assert {(state.wc, state.gc) for state in optimizer.states} == inside
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
    def test_a_late_observer_gets_an_error_that_says_where_the_work_is_done(self, random, point, word, when):
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
    def test_a_hook_is_refused_where_the_optimizer_does_its_work(self, point):
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

    def test_an_unknown_place_is_refused(self, backend):
        message = "the place 'update' is unknown; use hooks or optimizer"
        with pytest.raises(MinidlError, match=message):
            models.build("c", method="WC", place="update", device="cpu")
        with pytest.raises(MinidlError, match=message):
            Net(Sequential(Convolution(2, 3), Convolution(2, 3)), (4, 4, 3), backend, place="update")

    def test_areas_are_checked_in_the_update_too(self, backend):
        root = Sequential(Convolution(4, 1), Convolution(4, 3))
        with pytest.raises(MinidlError, match=r"conv1 .* cannot have WC"):
            Net(root, (4, 4, 1), backend, method="WC", place="optimizer")


@pytest.mark.parametrize("word", ["gc", "wc"])
def test_an_optimizer_centralizes_what_it_learns(word):
    net = small_net("Baseline")
    first, *others = net.parameters
    with pytest.raises(MinidlError, match=rf"{word.upper()} is for conv1.weights, which is not among the parameters"):
        SGD(others, net.kernels, learning_rate=0.1, **{word: [first]})
