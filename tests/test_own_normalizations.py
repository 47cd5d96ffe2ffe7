"""User-defined normalizations: functions that return or write their result, adjoints, and names."""

import sys

import numpy as np
import pytest
from small_nets import one_step, small_batch, small_net

import minidl
from minidl.experiment.cli.own_code import import_files
from minidl.experiment.sweeps.process_run import slug
from minidl.gradcheck import GradientError, check_layer, check_normalization
from minidl.kernels import load
from minidl.kernels.errors import MinidlError
from minidl.layers import Convolution, Sequential
from minidl.method import parse
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS, normalization, register
from minidl.optimizers import SGD

pytestmark = pytest.mark.usefixtures("names")


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


def test_evaluating_a_net_does_not_change_its_training(random, names):
    """Even if applying a normalization twice gives another result than applying it once."""
    register("HALF", "weights", "tensor", halve)
    looked_at, alone = small_net("HALF"), small_net("HALF")
    for _ in range(3):
        data, labels = small_batch(random)
        outputs = [looked_at.predict(data) for _ in range(2)]
        np.testing.assert_array_equal(*outputs)
        for net in (looked_at, alone):
            one_step(net, SGD(net.parameters, net.kernels, learning_rate=0.1), data, labels)
    for one, other in zip(looked_at.parameters, alone.parameters, strict=True):
        np.testing.assert_array_equal(one.value, other.value)


@pytest.mark.usefixtures("names")
class TestOwnNormalizations:
    @pytest.mark.parametrize("function", [halve, write_first, spoil])
    @pytest.mark.parametrize("mode", ["projection", "reparametrization"])
    def test_a_user_defined_function_gets_separate_memory(self, backend, random, function, mode):
        """For functions that work in place and others: nothing else uses the memory of x, and out is not x."""
        register("HALF", "weights", "tensor", function, lambda error, output, scale, out: halve(error, out))
        root = Sequential(Convolution(2, 3), Convolution(2, 3))
        net = Net(root, (4, 4, 3), backend, method="HALF", mode=mode)
        layer = net.layers[0]
        before = backend.host(layer.weights.value).copy()
        net.forward(backend.xp.asarray(random.standard_normal((2, 4, 4, 3)).astype(np.float32)))
        np.testing.assert_array_equal(backend.host(layer.weights.in_use), before / 2)
        kept = before if mode == "reparametrization" else before / 2
        np.testing.assert_array_equal(backend.host(layer.weights.value), kept)

    @pytest.mark.parametrize("where", ["function", "adjoint"])
    @pytest.mark.parametrize(
        "wrong, message",
        [
            (lambda x: x / 2, "returned its result instead of writing it into out; write out"),
            (lambda x: None, "did not write all of out; write out"),
            ("first", "did not write all of out"),
            ("in place", "gave numbers above 1e30 for random numbers, or read out before it wrote there"),
            ("huge", "gave numbers above 1e30 for random numbers, or read out before it wrote there"),
            ("raises", r"failed on random numbers of shape \(4, 1, 1, 36\) with ValueError: no, in .*\.py, line \d+"),
        ],
    )
    def test_functions_that_write_or_return_wrong_results_are_refused(self, backend, wrong, message, where):
        def function(*args):
            x, out = args[0], args[-1]
            if wrong == "raises":
                raise ValueError("no")
            if wrong == "first":
                out[0] = x[0]
            if wrong == "in place":
                out[...] = out / 2
            if wrong == "huge":
                out[...] = 1e31 * x
            return wrong(x) if callable(wrong) else None

        register("OWN", "weights", "tensor", *([function] if where == "function" else [halve, function]))
        with pytest.raises(MinidlError, match=f"OWN cannot be used: function {message}"):
            Net(Sequential(Convolution(2, 3), Convolution(2, 3)), (4, 4, 3), backend, method="OWN")

    @pytest.mark.parametrize("given", [("MAX",), (halve,)])
    def test_a_hook_point_that_is_forgotten(self, given):
        with pytest.raises(
            MinidlError, match="a normalization needs a name and its hook point, at= one of weights, error"
        ):
            normalization(*given)

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
            (
                ("A", "weight", "tensor", halve),
                r"the hook point 'weight' is unknown \(did you mean weights\?\); use weights, e",
            ),
            (("A", "weights", "row", halve), "the area 'row' of weights is unknown; use global, tensor"),
            (("A", "error", "group", halve), "the area 'group' of error is unknown"),
            (
                ("A", "weights", "tensor", "centre"),
                r"the transform 'centre' is unknown \(did you mean center\?\); use center, standardize or rescale, or",
            ),
            (("A", "weights", "tensor", "center", halve), "cannot have another adjoint than that of center"),
            (("A", "weights", "tensor", None), r"A needs a function \(x, out\), or one \(x\) that .*, not None"),
            (("A", "weights", "tensor", lambda: 0), r"A calls <lambda>\(x\), which takes other arguments"),
            (("A", "weights", "tensor", halve, halve), r"calls halve\(error, output, scale, out\), which takes other"),
        ],
    )
    def test_normalizations_that_cannot_be_registered(self, args, message):
        known = dict(NORMALIZATIONS)
        with pytest.raises(MinidlError, match=message):
            register(*args)
        assert known == NORMALIZATIONS

    def test_a_name_can_be_registered_again(self):
        for _ in range(2):
            register("A b", "weights", "tensor", halve)
            with pytest.raises(MinidlError, match=r"del NORMALIZATIONS\['a B'\]|after del"):
                register("a B", "weights", "tensor", halve)
            del NORMALIZATIONS["A b"]
        register("A b", "weights", "tensor", np.positive)  # a function in C with the arguments (x, out)
        assert [n.name for n in parse("a  B, GC").normalizations] == ["A b", "GC"]


@pytest.mark.parametrize(
    "at, area, axes",
    [("weights", "tensor", (1, 2, 3)), ("error", "channel", (0, 1, 2)), ("grads", "instance", (1, 2))],
)
def test_a_function_that_returns_works_at_every_point_on_every_shelf(backend, random, at, area, axes):
    @minidl.normalization("median", at=at, area=area)
    def median(x):
        return x - np.median(x, axis=(1, 3), keepdims=True)

    root = Sequential(Convolution(2, 3), Convolution(4, 3), Convolution(2, 3))
    net = Net(root, (5, 4, 3), backend, method="Median", dtype="float64")
    seen, point = [], getattr(net.layers[1], f"at_{at}")
    point.before.append(seen.append)
    point.after.append(seen.append)
    output = net.forward(backend.xp.asarray(random.standard_normal((3, 5, 4, 3))))
    net.backpropagate(backend.xp.asarray(random.standard_normal(output.shape)))
    before, after = map(backend.host, seen)
    np.testing.assert_allclose(after, before - np.median(before, axes, keepdims=True), rtol=0, atol=1e-14)
    assert abs(before - after).max() > 1e-6


def test_the_normalizations_of_the_page_on_every_shelf(backend, random, page):
    import_files([str(page)])
    root = Sequential(Convolution(3, 2, padding=0), Convolution(1, 1))
    net = Net(root, (3, 2, 2), backend, method="spectral", mode="reparametrization", dtype="float64")
    raw = backend.host(net.layers[0].weights.value).reshape(3, -1).copy()
    data = backend.xp.asarray(random.standard_normal((1, 3, 2, 2)))
    net.forward(data)
    used = backend.host(net.layers[0].weights.in_use).reshape(3, -1)
    np.testing.assert_allclose(used, raw / np.linalg.norm(raw, 2), atol=1e-14)
    assert [check.name for check in check_normalization("spectral", (3, 1, 2, 2), random, backend)] == ["spectral"]
    names = [check.name for check in check_layer(net.root, data, random)]
    assert "conv1.weights" in names


def test_the_layer_of_the_page_on_every_shelf(backend, random, page):
    import_files([str(page)])
    layer = sys.modules["my_own"].LeakyReLU()
    Net(layer, (3, 4, 2), backend, dtype="float64")
    data = random.standard_normal((2, 3, 4, 2))
    np.testing.assert_array_equal(backend.host(layer.forward(data)), np.maximum(data, data / 10))
    assert [check.name for check in check_layer(layer, data, random)] == ["error"]


def test_an_adjoint_gets_the_x_that_came_whatever_the_function_did_to_its_own(random):
    """The adjoint of x³ needs x, as the derivative is 3x²."""

    def adjoint(error, x):
        return 3 * x**2 * error

    @minidl.normalization("CUBE", at="weights", adjoint=adjoint)
    def cube(x):
        x *= x * x
        return x

    assert [check.name for check in check_normalization("CUBE", (3, 2, 2, 2), random)] == ["CUBE"]

    @minidl.normalization("WRONG", at="weights", adjoint=lambda error, x: 2 * adjoint(error, x))
    def wrong(x):
        return x**3

    with pytest.raises(GradientError, match="the adjoint of WRONG"):
        check_normalization("WRONG", (3, 2, 2, 2), random)


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda x: None, "returned NoneType for float32 of shape"),
        (
            lambda x: x.mean(axis=(1, 3), keepdims=True),
            r"returned float32 of shape \(4, 1, 1, 1\) for float32 of shape",
        ),
        (lambda x: x[:2], r"returned float32 of shape \(2, 1, 1, 36\)"),
        (lambda x: x + 0j, "returned complex64 of shape"),
        (lambda x: float(x.mean()), "returned float for"),
        (lambda x: x.nothing, "failed on random numbers of shape .* with AttributeError"),
        (lambda x: x * np.nan, r"gave nan or inf for random numbers of shape \(4, 1, 1, 36\); let it return finite"),
        (lambda x: x * np.float32(np.inf), "gave nan or inf for random numbers"),
    ],
)
@pytest.mark.parametrize("where", ["function", "adjoint"])
def test_results_that_a_function_must_not_return(backend, function, message, where):
    functions = [function] if where == "function" else [lambda x: x / 2, lambda error, x: function(error)]
    register("OWN", "weights", "tensor", *functions)
    with pytest.raises(MinidlError, match=f"OWN cannot be used: <lambda> {message}"):
        Net(Sequential(Convolution(2, 3), Convolution(2, 3)), (4, 4, 3), backend, method="OWN")


@pytest.mark.parametrize(
    "function, adjoint, message",
    [
        (lambda: 0, None, r"OWN calls <lambda>\(x\), which takes other arguments"),
        (lambda x: x, lambda error, output, scale, out: 0, r"OWN calls <lambda>\(error, x\), which takes other"),
        (lambda x, out: 0, lambda error, x: error, r"<lambda>\(error, output, scale, out\), which takes other"),
        ("median", None, "the transform 'median' is unknown"),
        (7, None, r"OWN needs a function \(x, out\), or one \(x\) that returns its result, not 7"),
    ],
)
def test_a_function_or_adjoint_that_is_no_function_is_refused(function, adjoint, message):
    with pytest.raises(MinidlError, match=message):
        minidl.normalization("OWN", at="weights", adjoint=adjoint)(function)
    assert "OWN" not in NORMALIZATIONS


def test_names_that_differ_have_folders_that_differ():
    names = [
        "my norm",
        "my-norm",
        "my_norm",
        "my- norm",
        "my -norm",
        "my",
        "norm",
        "my_",
        "_norm",
        "c++",
        "größe",
        "..",
    ]
    for i, name in enumerate(names):
        register(name, ("weights", "grads", "error")[i % 2], "tensor", lambda x: x)
    methods = [*names, "my, norm", "my_, norm", "my, _norm", "my_, _norm"]
    assert len({slug(method) for method in methods}) == len(methods)
    assert not any(set(slug(method)) & set("/\\:;, ") for method in methods)
    assert slug("C++") == slug("c++")


def test_a_function_that_is_defined_again_replaces_the_earlier_one():
    cell = "import minidl\n@minidl.normalization('OWN', at='weights')\ndef own(x): return {} * x\n"
    for factor in (2, 3):
        exec(cell.format(factor), {"__name__": "notebook"})
    one = np.ones((2, 1, 1, 3))
    np.testing.assert_array_equal(parse("own").normalizations[0].bind(load("cpu"))(one), 3 * np.ones(one.shape))
    with pytest.raises(MinidlError, match="the name 'OWN' is taken by OWN"):
        exec(cell.format(4), {"__name__": "another"})
    with pytest.raises(MinidlError, match="the name 'OWN' is taken by OWN"):
        exec(cell.replace("def own(x)", "def other(x)").format(4), {"__name__": "notebook"})
    register("L", "weights", "tensor", lambda x: x)
    with pytest.raises(MinidlError, match="the name 'L' is taken by L"):
        register("L", "weights", "tensor", lambda x: 2 * x)
