"""Normalizations of one's own, registered by a name."""

import numpy as np
import pytest
from small_nets import one_step, small_batch, small_net

from minidl import MinidlError
from minidl.layers import Convolution, Sequential
from minidl.method import parse
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS, register
from minidl.optimizers import SGD


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
