"""Code of one's own: normalizations and models that are named in a file, and what runs remember of it."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from run_logs import log
from test_docs import python_blocks

import minidl
import reproduce
import train
from minidl import models
from minidl.__main__ import main as minidl_main
from minidl.experiment import checkpoint, process_run
from minidl.experiment.budget import budget
from minidl.experiment.own_code import import_files, records_of
from minidl.experiment.process_run import slug
from minidl.experiment.row_run import run_of
from minidl.experiment.rows import read_rows
from minidl.gradcheck import GradientError, check_layer, check_normalization
from minidl.kernels import load
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.layers import BatchNorm, Convolution, Flatten, FullyConnected, ReLU, Sequential
from minidl.method import parse
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS, register
from minidl.optimizers import SGD
from minidl.study.card import card

pytestmark = pytest.mark.usefixtures("names")

CHECKOUT = Path(__file__).parents[1]
PLAIN = ("--quiet", "--model", "a", "--epochs", 1, "--batch-size", 4, "--train-size", 4, "--test-size", 2)
SMALL = ("--quiet", "--model", "three", "--batch-size", 5)
TINY = """import minidl


@minidl.normalization("median", at="weights")
def median(x):
    return x - x.mean()
"""


@pytest.fixture
def page(tmp_path):
    """Return the file of docs/your-own.md, of which the first four blocks are the parts."""
    blocks = python_blocks(CHECKOUT / "docs" / "your-own.md")
    assert all(len(list(filter(None, block.code.splitlines()))) <= 15 for block in blocks[:4])
    path = tmp_path / "my_own.py"
    path.write_text("\n\n".join(block.code for block in blocks[:4]))
    return path


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file of one's own, and returns its path."""

    def call(text, name="my_norm.py"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return call


@pytest.fixture
def sentence(capsys):
    """Return a function that returns the one sentence that was said last."""

    def read():
        shown = capsys.readouterr().err
        assert shown.count("\n") == 1
        return shown

    return read


def medians(path):
    """Return the largest median of a filter in the first layer of a saved net."""
    weights = checkpoint.load(path, "cpu").layers[0].weights.value
    return abs(np.median(weights.reshape(len(weights), -1), axis=1)).max()


# -- normalizations ---------------------------------------------------------------------------------------------------


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
    used = backend.host(net.layers[0].weights_in_use).reshape(3, -1)
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
    """The derivative of x³, 3x², needs x."""

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
        (lambda x: x * np.nan, r"made nan or inf of random numbers of shape \(4, 1, 1, 36\); let it make finite"),
        (lambda x: x * np.float32(np.inf), "made nan or inf of random numbers"),
    ],
)
@pytest.mark.parametrize("where", ["function", "adjoint"])
def test_what_a_function_must_not_return(backend, function, message, where):
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
def test_what_is_no_pair_of_functions(function, adjoint, message):
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


def test_a_function_that_is_defined_again_takes_the_place_of_its_earlier_self():
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


# -- models and layers ------------------------------------------------------------------------------------------------


def layers(classes, method):
    return Sequential(Convolution(3, 3), *method.norm(), ReLU(), Flatten(), FullyConnected(classes))


def test_a_model_has_a_name_a_method_and_what_it_labels():
    assert minidl.model("mine", method="WC, BN")(layers) is layers
    assert (models.best_method("mine"), models.per_pixel("mine")) == ("WC, BN", False)
    minidl.model("labelling", per_pixel=True)(lambda classes, method: Convolution(classes, 1))
    assert models.per_pixel("labelling")
    assert models.build("labelling", classes=4, shape=(6, 5, 3), device="cpu").output_shape == (6, 5, 4)
    net = models.build("mine", method="WC, BN", classes=4, shape=(6, 5, 3), device="cpu")
    assert (net.name, net.output_shape, [layer.kind for layer in net.layers][1]) == ("mine", (4,), "bn")
    assert "mine" not in models.NAMES


@pytest.mark.parametrize(
    "args, function, message",
    [
        (("c",), layers, "the name 'c' is taken by another model"),
        (("my net",), layers, "a model cannot be called 'my net'; use one word"),
        (("../net",), layers, "a model cannot be called '../net'"),
        ((7,), layers, "a model cannot be called 7"),
        (("mine", "WX"), layers, "unknown word 'WX'"),
        (("mine",), lambda: None, r"the model 'mine' calls <lambda>\(classes, method\), which takes other arguments"),
        (("mine",), None, r"the model 'mine' needs a function \(classes, method\), not None"),
    ],
)
def test_what_is_no_model(args, function, message):
    with pytest.raises(MinidlError, match=message):
        minidl.model(*args)(function)


def test_a_model_that_makes_no_layer():
    minidl.model("list")(lambda classes, method: [ReLU()])
    with pytest.raises(MinidlError, match=r"'list' returned list; let it return one layer, such as Sequential"):
        models.build("list", device="cpu")


@pytest.mark.parametrize(
    "last, per_pixel, message",
    [
        (
            (Flatten(), FullyConnected(7)),
            False,
            r"shape \(7,\) of an image, and \(4,\) is needed for 4 classes; end it with Ful",
        ),
        ((Convolution(4, 1),), False, r"shape \(6, 5, 4\) of an image, and \(4,\) is needed"),
        ((Convolution(3, 1),), True, r"\(6, 5, 4\) is needed for 4 classes; end it with Convolution\(classes, 1\)"),
    ],
)
def test_a_model_whose_output_is_not_the_classes(last, per_pixel, message):
    minidl.model("odd", per_pixel=per_pixel)(lambda classes, method: Sequential(*last))
    with pytest.raises(MinidlError, match=f"the model 'odd' makes an output of .*{message}"):
        models.build("odd", classes=4, shape=(6, 5, 3), device="cpu")


class Correlation(Layer):
    """A convolution of one's own, 2×2 without padding; the weights have four axes, or two."""

    kind = "own"

    def __init__(self, filters, axes):
        super().__init__()
        self.filters, self.axes = filters, axes

    def infer_shape(self, shape):
        y, x, channels = shape
        weights = {4: (self.filters, 2, 2, channels), 2: (self.filters, 4 * channels)}[self.axes]
        self.create_parameters(weights, 4 * channels, self.filters)
        return y - 1, x - 1, self.filters

    def spots(self):
        y, x, _ = self.output_shape
        return [(slice(None), slice(i, i + y), slice(j, j + x)) for i in range(2) for j in range(2)]

    def compute_output(self, data):
        weights = self.weights_in_use.reshape(self.filters, 4, -1)
        return sum(data[at] @ weights[:, k].T for k, at in enumerate(self.spots())) + self.biases.value

    def compute_error(self, error):
        weights = self.weights_in_use.reshape(self.filters, 4, -1)
        out = self.new_error((len(error), *self.input_shape))
        out[...] = 0
        for k, at in enumerate(self.spots()):
            out[at] += error @ weights[:, k]
        return out

    def compute_grads(self, error):
        grads = self.weights.grads.reshape(self.filters, 4, -1)
        for k, at in enumerate(self.spots()):
            grads[:, k] = np.tensordot(error, self.data[at], axes=([0, 1, 2], [0, 1, 2]))
        self.biases.grads[...] = error.sum(axis=(0, 1, 2))


@pytest.mark.parametrize("axes", [4, 2])
def test_methods_reach_layers_of_ones_own_at_both_places(backend, random, axes):
    data = random.standard_normal((4, 5, 4, 3))
    trained = []
    for place in ("hooks", "optimizer"):
        root = Sequential(Correlation(4, axes), ReLU(), Flatten(), FullyConnected(2))
        net = Net(root, (5, 4, 3), backend, method="WC, GC", place=place, dtype="float64")
        optimizer, cotangent = SGD(net.parameters, backend, learning_rate=0.1), np.random.default_rng(1)
        for _ in range(3):
            output = net.forward(data)
            net.backpropagate(backend.xp.asarray(cotangent.standard_normal(output.shape)))
            optimizer.step()
        net.eval()
        trained.append(backend.host(net.layers[0].weights_in_use).copy())
    np.testing.assert_allclose(trained[0], trained[1], rtol=0, atol=1e-14)
    np.testing.assert_allclose(trained[0].reshape(4, -1).mean(axis=1), 0, atol=1e-15)


@pytest.mark.parametrize("axes", [4, 2])
def test_a_layer_of_ones_own_has_the_gradients_of_a_convolution(backend, random, axes):
    layer = Correlation(3, axes)
    Net(layer, (4, 3, 2), backend, dtype="float64")
    data = random.standard_normal((2, 4, 3, 2))
    checked = check_layer(layer, data, random)
    assert [check.name for check in checked] == ["error", "own1.weights", "own1.biases"]
    same = Convolution(3, 2, padding=0)
    Net(same, (4, 3, 2), backend, dtype="float64")
    same.weights.value[...] = layer.weights.value.reshape(same.weights.value.shape)
    np.testing.assert_allclose(*(backend.host(one.forward(data)) for one in (layer, same)), atol=1e-14)


LAYER = """import minidl
from minidl.layer import Layer
from minidl.layers import Flatten, FullyConnected, Sequential


class A(Layer):
    kind = "a"

    def infer_shape(self, shape):
        return shape

    def compute_output(self, data):
        return data

    def compute_error(self, error):
        return error


@minidl.model("mine")
def mine(classes, method):
    return Sequential(Flatten(), FullyConnected(3), A(), FullyConnected(classes))
"""


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("def infer_shape", "def other", "a1 (a) has no infer_shape; a layer needs infer_shape, compute_output and"),
        ("def compute_output", "def other", "a1 (a) has no compute_output; a layer needs"),
        ("def compute_error", "def other", "a1 (a) has no compute_error; a layer needs"),
        ("return shape", "pass", "a1 (a) returned None from infer_shape; let it return the output's shape"),
        ("return shape", "return 3", "a1 (a) returned 3 from infer_shape"),
        (
            "return data",
            "data * 2",
            "a1 (a) returned NoneType from compute_output; let it return an array of shape (5, 3)",
        ),
        ("return data", "return data[:, 1:]", "a1 (a) returned an array of shape (5, 2) from compute_output"),
        ("return data", "return data[1:]", "a1 (a) returned an array of shape (4, 3) from compute_output"),
        (
            "return error",
            "error * 2",
            "a1 (a) returned NoneType from compute_error; let it return an array of shape (5, 3)",
        ),
        ("return error", "return error.T", "a1 (a) returned an array of shape (3, 5) from compute_error"),
        ("return data", "return data.nothing", "my_norm.py, line 13: AttributeError: "),
        ("return error", "return error @ error", "my_norm.py, line 16: ValueError: matmul"),
        ("Flatten(), ", "Flatten(), no, ", "my_norm.py, line 21: NameError: name 'no' is not defined"),
    ],
)
def test_a_mistake_in_a_layer_is_one_sentence_that_names_it(run, write, sentence, old, new, message):
    assert LAYER.count(old) == 1
    assert run("--import", write(LAYER.replace(old, new)), "--model", "mine", *PLAIN[:1], "--epochs", 1) == 2
    assert message in sentence()


# -- checkpoints ------------------------------------------------------------------------------------------------------


def own_net(method="Baseline", norm=True):
    root = Sequential(Correlation(4, 4), *([BatchNorm()] if norm else []), ReLU(), Flatten(), FullyConnected(2))
    return Net(root, (5, 4, 3), load("cpu"), method=method, dtype="float64")


def saved(net, path, random):
    """Train a net for a step, save it, and return its outputs."""
    data = random.standard_normal((4, 5, 4, 3))
    optimizer = SGD(net.parameters, net.kernels, learning_rate=0.1)
    net.backpropagate(np.ones_like(net.forward(data)))
    optimizer.step()
    net.eval()
    outputs = net.forward(data).copy()
    checkpoint.save(path, net, optimizer, 1)
    return data, outputs


def test_a_net_of_ones_own_is_saved_and_loaded(random, tmp_path):
    """Even into a net whose hooks would change the weights once more."""
    register("HALF", "weights", "tensor", lambda x: x / 2)
    data, expected = saved(own_net("HALF"), tmp_path / "net", random)
    with pytest.raises(MinidlError, match=r"of the model '', which is unknown; .* load\(path, net=\.\.\.\)"):
        checkpoint.load(tmp_path / "net")
    for method in ("HALF", "Baseline"):
        net = own_net(method)
        assert checkpoint.load(tmp_path / "net", net=net) is net
        np.testing.assert_allclose(net.forward(data), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "other, message",
    [
        (lambda: own_net(norm=False), "the saved net has bn1.beta, which this net lacks"),
        (
            lambda: Net(
                Sequential(Correlation(4, 2), BatchNorm(), Flatten(), FullyConnected(2)), (5, 4, 3), load("cpu")
            ),
            r"the saved own1.weights has shape \(4, 2, 2, 3\) where this net expects \(4, 12\)",
        ),
        (
            lambda: Net(
                Sequential(Correlation(4, 4), Convolution(4, 1), BatchNorm(), Flatten(), FullyConnected(2)),
                (5, 4, 3),
                load("cpu"),
            ),
            "the saved net has no conv1.weights",
        ),
    ],
)
def test_another_net_is_refused(random, tmp_path, other, message):
    saved(own_net(), tmp_path / "net", random)
    net = other()
    before = [p.value.copy() for p in net.parameters]
    with pytest.raises(MinidlError, match=message):
        checkpoint.load(tmp_path / "net", net=net)
    for p, kept in zip(net.parameters, before, strict=True):
        np.testing.assert_array_equal(p.value, kept)


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_with_the_page_loads_without_it(run, page, tmp_path):
    assert run("--import", page, *SMALL, "--epochs", 1) == 0
    assert run("--import", page, *PLAIN, "--method", "median, BN", out="plain") == 0
    assert medians(tmp_path / "run") < 1e-7
    load_it = (
        "import sys, numpy as np; from minidl import checkpoint; net = checkpoint.load(sys.argv[1], 'reference'); "
        "print(net.method, *(layer.kind for layer in net.layers[:2]), "
        "net.predict(np.zeros((2, 32, 32, 3), np.uint8)).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", load_it, tmp_path / "plain"], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert done.stdout == "Baseline, BN conv relu (2, 2)\n"
    about = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (about["model"], about["method"]) == ("three", "median, GC")


def test_a_run_goes_on_with_the_same_file_wherever_it_lies(run, page, tmp_path, sentence):
    assert run("--import", page, *SMALL, out="whole") == 0
    assert run("--import", page, *SMALL, "--epochs", 1) == 0
    go_on = ("--resume", tmp_path / "run", "--epochs", 2, "--quiet")
    assert run(*go_on) == 2
    assert f"was begun with --import {page}, and nothing is imported that you do not name; add that" in sentence()
    (tmp_path / "elsewhere").mkdir()
    moved = page.rename(tmp_path / "elsewhere" / "renamed.py")
    assert run(*go_on, "--import", moved, "--import", moved) == 2
    assert f"was begun with --import {page} alone; go on with it in the same way" in sentence()
    NORMALIZATIONS.pop("median")
    NORMALIZATIONS.pop("spectral")
    models.MODELS.pop("three")
    assert run(*go_on, "--import", moved) == 0
    assert log(tmp_path / "run") == log(tmp_path / "whole")
    kept = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["import"]
    assert [record["file"] for record in kept] == [str(moved)]


def test_a_file_that_has_changed_is_not_run(run, page, tmp_path, sentence):
    assert run("--import", page, *SMALL, "--epochs", 1) == 0
    page.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + page.read_text())
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    assert run("--resume", tmp_path / "run", "--epochs", 2, "--import", page) == 2
    said = sentence()
    assert f"{page} is not what the run in {tmp_path / 'run'} was begun with" in said
    assert "put it back as it was, or start a new run" in said
    assert not (tmp_path / "ran").exists()
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}


def test_nothing_is_imported_because_a_configuration_names_it(run, write, tmp_path, sentence):
    assert run(*PLAIN) == 0
    mark = tmp_path / "ran"
    path = write(f"open({str(mark)!r}, 'w')\n")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["settings"]["import"] = [{"file": path, "sha256": "0"}]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert run("--resume", tmp_path / "run", "--epochs", 2) == 2
    assert "nothing is imported that you do not name" in sentence()
    checkpoint.load(tmp_path / "run", "cpu")
    assert not mark.exists()


@pytest.mark.parametrize("written", [5, "my_norm.py", ["my_norm.py"], [{"file": "my_norm.py"}], None])
def test_a_configuration_that_does_not_say_what_it_imports(written, tmp_path):
    with pytest.raises(MinidlError, match="does not say by file and sha256 what it imports; put it back"):
        records_of({"import": written}, tmp_path)


def test_a_run_without_import_goes_on_without_it(run, page, tmp_path, sentence):
    assert run(*PLAIN) == 0
    assert run("--resume", tmp_path / "run", "--epochs", 2, "--import", page) == 2
    assert "was begun without --import; go on with it in the same way, or start a new run" in sentence()


def test_an_interrupted_run_says_what_to_import(run, page, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("minidl.experiment.trainer.Trainer.next_step", interrupted)
        assert run("--import", page, *SMALL) == 130
    assert f"--resume {tmp_path / 'run'} --import {page}\n" in capsys.readouterr().err


def test_a_table_passes_its_files_on(write, tmp_path, monkeypatch):
    called = []

    def start(command, **_):
        called.append(command)
        return SimpleNamespace(returncode=1, stderr="")

    path, row = write(TINY), read_rows(2)[0]
    monkeypatch.setattr(process_run, "finished", start)
    monkeypatch.setattr("minidl.experiment.reproduction.data.load", lambda *_: None)
    words = ["--table", "2", "--rows", "Baseline", "--out", str(tmp_path / "out"), "--import", path]
    options = reproduce.parser().parse_args(words)
    assert reproduce.main(words) == 1
    settings, files = budget(options, row), import_files([path])
    folder = run_of(tmp_path / "out", row, 0, settings, files).folder
    assert folder != run_of(tmp_path / "out", row, 0, settings).folder
    folder.mkdir()
    (folder / "config.json").touch()
    assert reproduce.main(words) == 1
    begun, resumed = (" ".join(command) for command in called)
    assert f"--out {folder}" in begun
    assert f"--resume {folder}" in resumed
    assert f"--import {path}" in begun
    assert f"--import {path}" in resumed


@pytest.mark.parametrize(
    "words, shown",
    [
        (["gradcheck", "--model", "three", "--method", "spectral", "--mode", "reparametrization"], "conv1"),
        (["gradcheck", "--layer", "relu"], "relu"),
        (["gradcheck", "--layer", "leaky"], "\nLeakyReLU 5×4×2  data "),
        (["walk", "--model", "three", "--batch-size", "5"], "net (three), median, GC"),
        (["compare", "--model", "three", "--methods", "median"], "--methods names 1 method"),
    ],
)
def test_every_command_takes_the_file(page, folder, words, shown, capsys):
    data = ["--data", str(folder)] if words[0] == "walk" else []
    status = minidl_main([*words, *data, "--import", str(page)])
    said = capsys.readouterr()
    assert shown in said.out + said.err
    assert status == (2 if words[0] == "compare" else 0)


def test_a_card_of_ones_own(page, backend):
    import_files([str(page)])
    for name in ("median", "spectral"):
        (normalization,) = parse(name).normalizations
        assert card(normalization.bind(backend), backend)


# -- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, message",
    [
        ("x = 1\ny = (\n", "line 2: SyntaxError: '(' was never closed"),
        ("x = 1\n\nimport nowhere\n", "line 3: ModuleNotFoundError: No module named 'nowhere'"),
        ("def f():\n    return 1 / 0\n\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError: "),
        ("raise ValueError\n", "line 1: ValueError\n"),
        ("x = 'ü'\n".encode("latin-1"), "SyntaxError: "),
        (TINY.replace("median", "WC"), "line 4: the name 'WC' is taken by WC; use another"),
        (TINY.replace("weights", "weight"), "line 4: the hook point 'weight' is unknown; use one of weights"),
    ],
)
def test_a_mistake_in_a_file_is_one_sentence_with_its_line(run, tmp_path, sentence, text, message):
    path = tmp_path / "my_norm.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert run("--import", path) == 2
    said = sentence()
    assert said.startswith(f"train.py: {path}, line ")
    assert message in said
    assert "my_norm" not in sys.modules
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name, message",
    [
        ("nowhere.py", "nowhere.py cannot be imported (No such file or directory); --import takes a file in Python"),
        ("my-norm.py", "the file my-norm.py cannot be a module; give it a name such as my_norm.py"),
        ("my_norm.txt", "the file my_norm.txt cannot be a module"),
        ("numpy.py", "numpy.py has the name of another module; rename it, such as my_numpy.py"),
        ("antigravity.py", "antigravity.py has the name of another module"),
    ],
)
def test_a_file_that_cannot_be_a_module(run, write, tmp_path, sentence, name, message):
    path = str(tmp_path / name) if name == "nowhere.py" else write(TINY, name)
    assert run("--import", path) == 2
    assert message in sentence()
    assert sys.modules["numpy"] is np
    assert "antigravity" not in sys.modules


def test_files_are_modules_of_their_names_and_may_be_several(run, write, tmp_path):
    first = write("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: 'int'\n" + TINY, "one.py")
    second = write(
        "import one\nassert one.A(3).x == 3\n" + TINY.replace("median", "other").replace("weights", "grads"), "two.py"
    )
    assert run("--import", first, "--import", second, "--method", "median, other", *PLAIN) == 0
    assert str(parse("median, other")) == "median, other"
    assert import_files([first])[0].record["file"] == first  # the same again


def test_a_file_runs_once_as_it_is_and_again_where_it_has_changed(write, tmp_path):
    """One that names a transform of the library cannot be told from another one that takes its name."""
    named = "import minidl.normalizations as n\nn.register('channel WS', 'weights', 'channel', 'standardize')\n"
    path = write(named)
    import_files([path])
    import_files([path])
    mark = tmp_path / "ran"
    write(f"open({str(mark)!r}, 'w').close()\n")
    import_files([path])
    assert mark.exists()


def test_a_word_that_no_file_has_named_says_where_it_may_come_from(run, sentence):
    assert run("--method", "median") == 2
    assert "or --import the file that names one of your own" in sentence()
    assert run("--model", "three") == 2
    assert "use one of a, b, b-cifar, c, d, or --import the file that names it" in sentence()
    assert vars(train.parser().parse_args([]))["import"] is None
