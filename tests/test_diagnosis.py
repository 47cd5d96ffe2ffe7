"""The diagnosis of wrong gradients: known mistakes in layers are explained, and noise gets no explanation."""

import numpy as np
import pytest

from minidl import kernels
from minidl.layer import Layer
from minidl.layers import BatchNorm, Convolution, FullyConnected, LayerNorm
from minidl.normalizations import Normalization
from minidl.study import checking, specimens
from minidl.study.checking import check_layers
from minidl.study.diagnosis import NOTHING, diagnose


class MeanForSum(FullyConnected):
    """The gradient is divided by the batch."""

    def compute_grads(self, error):
        super().compute_grads(error)
        self.weights.grads /= len(error)


class WrongSign(FullyConnected):
    """The error of the data has the wrong sign."""

    def compute_error(self, error):
        return -super().compute_error(error)


class Tripled(Convolution):
    """The gradient of the biases is too large."""

    def compute_grads(self, error):
        super().compute_grads(error)
        self.biases.grads *= 3


class Transposed(FullyConnected):
    """The weights' gradient is written as (in, out)."""

    def compute_grads(self, error):
        super().compute_grads(error)
        self.weights.grads[...] = self.weights.grads.T.copy().reshape(self.weights.grads.shape)


class Exchanged(Convolution):
    """The filters' gradient has y and x exchanged."""

    def compute_grads(self, error):
        super().compute_grads(error)
        self.weights.grads[...] = self.weights.grads.transpose(0, 2, 1, 3).copy()


class Reversed(Convolution):
    """The filters' gradient has the taps in reversed order."""

    def compute_grads(self, error):
        super().compute_grads(error)
        self.weights.grads[...] = self.weights.grads[:, ::-1, ::-1].copy()


class Border(Convolution):
    """The last row of the data gets no error."""

    def compute_error(self, error):
        out = super().compute_error(error)
        out[:, -1] = 0
        return out


class NoMean(LayerNorm):
    """The error lacks the term of the mean."""

    def compute_error(self, error):
        out = super().compute_error(error)
        view = self.view(error * self.gamma.value)
        scale = 1 / np.sqrt(self.view(self.data).var(axis=(1, 3), keepdims=True) + self.epsilon)
        return out + np.broadcast_to(view.mean(axis=(1, 3), keepdims=True) * scale, view.shape).reshape(out.shape)


class NoDeviation(BatchNorm):
    """The error lacks the term of the deviation."""

    def compute_error(self, error):
        axes = tuple(range(error.ndim - 1))
        scaled = error * self.gamma.value / np.sqrt(self.data.var(axes) + self.epsilon)
        return scaled - scaled.mean(axes)


class Zero(FullyConnected):
    """The gradient of the biases was forgotten."""

    def compute_grads(self, error):
        super().compute_grads(error)
        self.biases.grads[...] = 0


class NotANumber(FullyConnected):
    """The gradient of the biases is divided by zero in one place."""

    def compute_grads(self, error):
        super().compute_grads(error)
        self.biases.grads[1] = np.inf


class Random(FullyConnected):
    """The weights' gradient is random."""

    def compute_grads(self, error):
        super().compute_grads(error)
        self.weights.grads[...] = np.random.default_rng(0).standard_normal(self.weights.grads.shape)


class Nothing(Layer):
    """No error comes back."""

    kind = "nothing"

    def infer_shape(self, shape):
        return shape

    def compute_output(self, data):
        return 2 * data

    def backpropagate(self, error, need_error=True):
        return None


BROKEN = [
    (lambda: MeanForSum(4), (5,), "weights", "it is 0.333333 times the true one, in every element: a mean over the"),
    (lambda: WrongSign(4), (5,), "data", "it is -1 times the true one, in every element: the sign is wrong"),
    (lambda: Tripled(2, 3), (4, 5, 2), "biases", "it is 3 times the true one, in every element"),
    (lambda: Transposed(4), (5,), "weights", "a transposed axis: with axes 0 and 1 exchanged (counted from 0) it"),
    (lambda: Transposed(5), (5,), "weights", "a transposed axis: with axes 0 and 1 exchanged (counted from 0) it"),
    (lambda: Exchanged(2, 3), (4, 5, 2), "weights", "a transposed axis: with axes 1 and 2 exchanged (counted"),
    (lambda: Reversed(2, 3), (4, 5, 2), "weights", "a reversed axis: read backwards along axis 1 and 2 (counted"),
    (
        lambda: Border(2, 3),
        (4, 5, 2),
        "data",
        "only 30 of its 120 elements are wrong; these have the index 3 of 4",
    ),
    (NoMean, (3, 4, 2), "data", "a missing term of the mean: it differs from the true one by a constant within each i"),
    (NoDeviation, (3, 4, 2), "data", "a missing term of the deviation: it differs from the true one by a multiple of"),
    (lambda: Zero(4), (5,), "biases", "it is zero throughout: nothing was written, or the error was not passed on"),
    (lambda: NotANumber(4), (5,), "biases", "1 of its 4 elements are no finite numbers"),
    (lambda: Random(4), (5,), "weights", NOTHING),
]


@pytest.fixture(scope="module")
def reference():
    return kernels.load("reference")


@pytest.mark.parametrize("make, shape, of, explanation", BROKEN, ids=lambda one: getattr(one, "__name__", None))
def test_a_broken_layer(reference, monkeypatch, make, shape, of, explanation):
    monkeypatch.setitem(specimens.LAYERS, "broken", (make, shape))
    findings = check_layers("broken", None, "projection", reference)
    assert [row.of for row in findings.failed] == [of]
    assert findings.failed[0].explanation.startswith(explanation)
    assert len(findings.rows) == 3


def test_a_layer_that_passes_no_error_on(reference, monkeypatch):
    monkeypatch.setitem(specimens.LAYERS, "broken", (Nothing, (4,)))
    (row,) = check_layers("broken", None, "projection", reference).rows
    assert "no error comes back" in row.explanation


def test_a_wrong_adjoint(reference, monkeypatch):
    def center(x, out):
        out[...] = x - x.mean(axis=(1, 3), keepdims=True)

    def adjoint(error, output, scale, out):
        out[...] = error

    own = Normalization("own", "weights", "tensor", center, adjoint)
    monkeypatch.setattr(checking, "NORMALIZATIONS", {"own": own})
    monkeypatch.setattr(checking, "LAYERS", {})
    (row,) = check_layers(None, None, "projection", reference).failed
    assert (row.layer, row.of) == ("own", "adjoint")
    assert row.explanation.endswith("a constant within each index of the first axis (a filter, or a sample)")


@pytest.mark.parametrize("area, axes", [("the whole array", None), ("each channel", (0, 1, 2)), ("each pair", (1, 2))])
def test_the_area_of_a_missing_mean(random, area, axes):
    true = random.standard_normal((4, 3, 3, 2))
    constant = random.standard_normal(true.shape).mean(axes, keepdims=True)
    assert f"a constant within {area}" in diagnose(true + constant, true)


def test_a_constant_in_a_vector(random):
    true = random.standard_normal(5)
    assert "a constant within the whole array" in diagnose(true + 0.3, true)


def test_noise_and_values_that_should_be_zero_get_no_explanation(random):
    for shape in ((7,), (2,), (4, 5), (2, 2), (3, 2, 2, 2)):
        computed, true, data = (random.standard_normal(shape) for _ in range(3))
        assert diagnose(computed, true, 3, data) == NOTHING
    assert diagnose(true, 0 * true).startswith("it should be zero throughout")
