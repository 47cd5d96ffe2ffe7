"""The command that checks gradients: what it checks, what it says of the rest, and its exit status."""

import numpy as np
import pytest

from minidl import kernels
from minidl.__main__ import main
from minidl.gradcheck import GradientError
from minidl.kernels.cpu import loops
from minidl.layers import FullyConnected
from minidl.study import checking, specimens
from minidl.study.checking import HOOKED, find_layers, grouped
from minidl.study.specimens import LAYERS


@pytest.fixture(autouse=True)
def loops_as_before():
    """Let the tests that follow compute by the loops that they expect."""
    yield
    loops.use_best()


def test_a_layer(capsys):
    assert main(["gradcheck", "--layer", "fc"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Gradients against central differences, in float64 on the CPU; ")
    assert [line.split()[:-2] for line in lines[3:6]] == [["fc", "data"], ["weights"], ["biases"]]
    assert [line.split()[-1] for line in lines[3:6]] == ["passes"] * 3
    assert lines[-1] == "All 3 gradients pass."


def test_without_a_word_all_layers_and_adjoints_are_checked(monkeypatch):
    asked = []
    monkeypatch.setattr(checking, "_add_layer", lambda name, *_: asked.append(name))
    findings = checking.check_layers(None, None, "projection", kernels.load("reference"))
    assert asked == list(LAYERS)
    assert [(row.layer, row.of) for row in findings.rows] == [(name, "adjoint") for name in checking.NORMALIZATIONS]
    assert not findings.failed
    assert {name for name in HOOKED if name in LAYERS} == set(HOOKED)


def test_what_a_projection_has_no_gradient_of_is_said(capsys):
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
    """Let net (c) be small."""
    monkeypatch.setattr("minidl.models.c.net.__defaults__", ((2, 2, 2),))
    monkeypatch.setattr(checking, "SHAPE", (8, 8, 3))


@pytest.mark.usefixtures("small")
def test_a_net(capsys):
    assert main(["gradcheck", "--model", "c", "--method", "WC, GC, EB"]) == 0
    out = capsys.readouterr().out
    assert "conv6  weights" in out
    assert "Each parameter was checked along one random direction" in out
    assert "conv1, conv2, conv3, conv4, conv5, conv6: what EB makes of its error" in " ".join(out.split())
    assert out.endswith("All 16 gradients pass.\n")


@pytest.mark.usefixtures("small")
def test_a_net_that_fails(monkeypatch, capsys):
    monkeypatch.setattr(checking, "check_net", lambda *_: (_ for _ in ()).throw(GradientError("the hook makes zeros")))
    assert main(["gradcheck", "--model", "c", "--method", "Baseline"]) == 1
    assert "the hook makes zeros" in capsys.readouterr().out
    wrong = FullyConnected.compute_grads
    monkeypatch.undo()
    monkeypatch.setattr("minidl.models.c.net.__defaults__", ((2, 2, 2),))
    monkeypatch.setattr(checking, "SHAPE", (8, 8, 3))

    def compute_grads(self, error):
        wrong(self, error)
        self.weights.grads *= 1.01

    monkeypatch.setattr(FullyConnected, "compute_grads", compute_grads)
    assert main(["gradcheck", "--model", "c", "--method", "Baseline"]) == 1
    assert capsys.readouterr().out.endswith("2 of 16 gradients fail.\n")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--layer", "konv"], "no layer is called 'konv' (did you mean conv?); the layers are conv 3×3, "),
        (["--layer", " "], "no layer is called ' '; "),
        (["--method", "XY"], "the method 'XY' has the unknown word 'XY'"),
        (["--model", "e"], "the model 'e' is unknown"),
        (["--mode", "e"], "the mode 'e' is unknown"),
        (["--device", "tpu"], "the device 'tpu' is unknown"),
        (["--loops", "e"], "the loops"),
    ],
)
def test_errors_are_a_sentence(words, message, capsys):
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
