"""The command that checks gradients: what it checks, what it says about the rest, and its exit status."""

import re

import numpy as np
import pytest

import minidl
from minidl import kernels
from minidl.__main__ import main
from minidl.gradcheck import GradientError
from minidl.kernels.cpu import loops
from minidl.layers import Convolution, FullyConnected, GlobalAveragePool, ReLU, Sequential
from minidl.normalizations import register
from minidl.study import checking, specimens
from minidl.study.checking import HOOKED, find_layers, grouped
from minidl.study.specimens import LAYERS


@pytest.fixture(autouse=True)
def loops_as_before():
    """Restore the loops that later tests expect."""
    yield
    loops.use_best()


def test_a_layer(capsys):
    assert main(["gradcheck", "--layer", "fc"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Gradients against central differences, in float64 on the CPU; ")
    assert [line.split()[:-2] for line in lines[3:6]] == [["fc", "data"], ["weights"], ["biases"]]
    assert [line.split()[-1] for line in lines[3:6]] == ["passes"] * 3
    assert lines[-1] == "All 3 gradients pass."


def test_without_arguments_all_layers_and_adjoints_are_checked(monkeypatch):
    asked = []
    monkeypatch.setattr(checking, "_add_layer", lambda name, *_: asked.append(name))
    findings = checking.check_layers(None, None, "projection", kernels.load("reference"))
    assert asked == list(LAYERS)
    assert [(row.layer, row.of) for row in findings.rows] == [(name, "adjoint") for name in checking.NORMALIZATIONS]
    assert not findings.failed
    assert {name for name in HOOKED if name in LAYERS} == set(HOOKED)


def test_derivatives_that_projection_leaves_unchecked_are_reported(capsys):
    assert main(["gradcheck", "--layer", "conv 1x1", "--method", "WC, GC, EB", "--device", "reference"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "in float64 on the reference" in out
    assert "In projection the gradient does not pass the normalization" in out
    assert "conv1: the derivative of WC, past which the gradient goes (projection)" in out
    assert "conv1: what GC makes of its grads, which was compared before" in out
    assert all(f"{name} adjoint" in out for name in ("WC", "GC", "EB"))


def test_a_reparametrization_is_checked_through(capsys):
    assert main(["gradcheck", "--layer", "fc", "--method", "WS", "--mode", "reparametrization"]) == 0
    assert "not checked" not in capsys.readouterr().out


def test_a_hook_that_a_layer_cannot_have(capsys):
    assert main(["gradcheck", "--layer", "fc", "--method", "weight instance"]) == 0
    assert "fc1: weight instance there, as the area 'instance' leaves one" in capsys.readouterr().out


def test_the_layers_of_a_method_s_data_norm(monkeypatch):
    asked = []
    monkeypatch.setattr(checking, "_add_layer", lambda name, *_: asked.append(name))
    checking.check_layers(None, "WC, BN", "projection", kernels.load("reference"))
    assert asked == [*HOOKED, "BN", "BN after fc"]


@pytest.fixture
def broken(monkeypatch):
    class Doubled(FullyConnected):
        def compute_error(self, error):
            return 2 * super().compute_error(error)

    monkeypatch.setitem(specimens.LAYERS, "doubled", (lambda: Doubled(3), (4,)))


@pytest.mark.usefixtures("broken")
def test_a_failure_is_explained_and_is_the_exit_status(capsys):
    assert main(["gradcheck", "--layer", "doubled"]) == 1
    out = capsys.readouterr().out
    assert "FAILS" in out
    assert "  doubled, data: it is 2 times the true one, in every element: it is counted twice\n" in out
    assert out.endswith("1 of 3 gradients fail.\n")


@pytest.fixture
def small(monkeypatch):
    """Make net (c) small."""
    monkeypatch.setattr("minidl.models.c.net.__defaults__", ((2, 2, 2), 20))
    monkeypatch.setattr(checking, "SHAPE", (8, 8, 3))


@pytest.mark.usefixtures("small")
def test_a_net(capsys):
    assert main(["gradcheck", "--model", "c", "--method", "WC, GC, EB"]) == 0
    out = capsys.readouterr().out
    assert "conv6  weights" in out
    assert "Each parameter was checked along one random direction" in out
    told = " ".join(out.split())
    assert "conv2, conv3, conv4, conv5, conv6: what EB makes of its error" in told
    assert "conv1, conv2, conv3, conv4, conv5, conv6: what EB" not in told  # conv1's error is never computed
    assert out.endswith("All 16 gradients pass.\n")


@pytest.mark.usefixtures("small")
def test_a_net_that_fails(monkeypatch, capsys):
    monkeypatch.setattr(checking, "check_net", lambda *_: (_ for _ in ()).throw(GradientError("the hook makes zeros")))
    assert main(["gradcheck", "--model", "c", "--method", "Baseline"]) == 1
    assert "the hook makes zeros" in capsys.readouterr().out
    wrong = FullyConnected.compute_grads
    monkeypatch.undo()
    monkeypatch.setattr("minidl.models.c.net.__defaults__", ((2, 2, 2), 20))
    monkeypatch.setattr(checking, "SHAPE", (8, 8, 3))

    def compute_grads(self, error):
        wrong(self, error)
        self.weights.grads *= 1.01

    monkeypatch.setattr(FullyConnected, "compute_grads", compute_grads)
    assert main(["gradcheck", "--model", "c", "--method", "Baseline"]) == 1
    assert capsys.readouterr().out.endswith("2 of 16 gradients fail.\n")


OWN = """
import numpy as np
from minidl.layer import Layer
from minidl.layers import FullyConnected as Fully

class Halved(Layer):
    kind = "half"
    def infer_shape(self, shape):
        y, x, channels = shape
        return shape
    def compute_output(self, data):
        return data / 2
    def compute_error(self, error):
        return error

class Small(Fully):
    def __init__(self):
        super().__init__(2)

class Sized(Fully):
    pass

class Nothing(Layer):
    kind = "nothing"
"""


@pytest.fixture
def own(names, tmp_path):
    (tmp_path / "my_layers.py").write_text(OWN)
    return str(tmp_path / "my_layers.py")


def test_a_user_defined_layer_is_tried_on_all_shapes(own, capsys):
    assert main(["gradcheck", "--import", own, "--layer", "Half"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "Halved 5×4×2, data: it is 2 times the true one, in every element" in out
    assert "minidl tried your own layer on 3 random samples of each shape beside its name." in out
    assert "Halved: data of shape (3, 6), which it refuses (ValueError: not enough values to unpack" in out
    assert out.endswith("The gradient fails.")
    assert main(["gradcheck", "--import", own, "--layer", "small", "--method", "WC", "--device", "reference"]) == 0
    out = capsys.readouterr().out
    assert "\nSmall 6  data " in out
    assert "fc1: the derivative of WC" in out


def test_user_defined_layers_are_among_all_layers(own, monkeypatch, capsys):
    monkeypatch.setattr(checking, "LAYERS", {"relu": LAYERS["relu"]})
    monkeypatch.setattr(checking, "NORMALIZATIONS", {})
    assert main(["gradcheck", "--import", own]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "Small 6 data" in out
    assert "Sized: it cannot be made without arguments (" in out
    assert "Nothing: data of shape (3, 6), which it refuses (nothing1 (nothing) has no infer_shape; a layer" in out
    assert "Fully 6" not in out
    assert out.endswith("No gradient of Nothing was checked.")


@pytest.mark.parametrize(
    "name, message",
    [
        ("sized", "Sized: it cannot be made without arguments ("),
        ("nothing", "Nothing: data of shape (3, 5, 4, 2), which it refuses (nothing1 (nothing) has no infer_shape; a"),
        (
            "halv",
            "no layer is called 'halv' (did you mean Halved?); the layers are Halved, Small, Sized, Nothing, relu, ",
        ),
    ],
)
def test_a_user_defined_layer_that_cannot_be_checked(own, name, message, monkeypatch, capsys):
    monkeypatch.setattr(checking, "LAYERS", {"relu": LAYERS["relu"]})
    assert main(["gradcheck", "--import", own, "--layer", name]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"minidl gradcheck: {message}")
    assert (out, err.count("\n")) == ("", 1)


def lost_in_double(x):
    return x * np.nan if x.dtype == np.float64 else x


@pytest.mark.parametrize(
    "function, adjoint, said",
    [
        (lambda x: x, lambda error, x: lost_in_double(error), "144 of its 144 elements are no finite numbers"),
        (
            lambda x: lost_in_double(x),
            lambda error, x: error,
            "its definition has no finite value for 144 of its 144 elements",
        ),
    ],
)
@pytest.mark.usefixtures("names")
def test_a_gradient_of_nan_fails(function, adjoint, said, capsys):
    """Even if it is a number in float32, with which a function is tried."""
    register("OWN", "weights", "tensor", function, adjoint)
    words = ["--method", "OWN", "--mode", "reparametrization", "--device", "reference"]
    assert main(["gradcheck", "--layer", "fc", *words]) == 1
    out = capsys.readouterr().out
    assert f"  OWN, adjoint: {said}" in out
    assert "  fc, weights: " in out


@pytest.mark.parametrize(
    "words, message",
    [
        (["--layer", "konv"], "no layer is called 'konv' (did you mean conv?); the layers are conv 3×3, "),
        (["--method", "XY"], "the method 'XY' has the unknown word 'XY'"),
        (["--model", "e"], "the model 'e' is unknown"),
        (["--mode", "e"], "the mode 'e' is unknown"),
        (["--device", "tpu"], "the device 'tpu' is unknown"),
        (["--loops", "numbaa"], "the library of loops 'numbaa' is unknown (did you mean numba?); use numpy or numba"),
    ],
)
def test_errors_are_one_sentence(words, message, capsys):
    assert main(["gradcheck", *words]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"minidl gradcheck: {message}")
    assert not out


def test_layers_are_found_by_their_first_words():
    assert find_layers("CONV 3x3") == ["conv 3×3", "conv 3×3 stride 2"]
    assert find_layers("conv 3×3 stride 2") == ["conv 3×3 stride 2"]
    assert find_layers("residual") == ["residual", "residual down", "residual of smaller body"]


def test_sentences_are_grouped():
    said = ["conv1: it bends", "conv2: it bends", "no layer said: this", "conv1: it breaks", "conv1: it bends"]
    assert list(grouped(said)) == ["conv1, conv2: it bends", "no layer said: this", "conv1: it breaks"]


def test_random_numbers_are_the_same_in_every_check():
    shelf = kernels.load("reference")
    one, two = (checking.check_layers("relu", None, "projection", shelf).rows for _ in range(2))
    assert one == two
    assert np.isfinite(one[0].error)


def test_weights_that_meet_only_padding_are_not_called_wrong(names):
    @minidl.model("padded")
    def padded(classes, method):
        wide = Convolution(6, 3, padding=3)
        return Sequential(Convolution(6, 3), ReLU(), wide, ReLU(), GlobalAveragePool(), FullyConnected(classes))

    assert main(["gradcheck", "--model", "padded"]) == 0


@pytest.mark.thorough
@pytest.mark.parametrize("model", ["a", "b"])
def test_biases_before_bn_whose_gradient_is_zero_are_not_called_wrong(capsys, model):
    assert main(["gradcheck", "--model", model, "--method", "WC, GC, BN"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"conv1\.biases[^:]*: its slope", told)
    assert re.search(r"gradients pass, and \d+ are too small to tell", told)
