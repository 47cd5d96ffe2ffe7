"""Steps that are recorded as a CUDA graph and played back."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import needs_cudnn

from minidl import kernels
from minidl.kernels import Kernels
from minidl.kernels.errors import MinidlError

Array = Any


class Step:
    """A step that adds ``rate`` to each element of ``total``, and counts how often Python was asked to."""

    def __init__(self, gpu: Kernels) -> None:
        self.xp = gpu.xp
        self.total, self.rate = gpu.xp.zeros(4, np.float32), gpu.xp.ones(4, np.float32)
        self.calls, self.version = 0, 0
        self.also: Callable[[], Any] = lambda: None
        self.recorded = gpu.record(self.run, lambda: self.version)

    def run(self) -> None:
        from minidl.kernels.gpu import bias

        self.calls += 1
        bias.add(self.rate, self.total)
        self.also()


@pytest.fixture
def step(gpu: Kernels) -> Step:
    """Return a step that is called again and again."""
    return Step(gpu)


def test_after_two_calls_python_is_left_out(gpu: Kernels, step: Step) -> None:
    for count in range(1, 7):
        step.recorded()
        np.testing.assert_array_equal(gpu.host(step.total), count)
        assert step.calls == min(count, 3)  # the third call only records


def test_what_lies_on_the_device_may_change(gpu: Kernels, step: Step) -> None:
    for _ in range(4):
        step.recorded()
    step.rate[...] = 10
    step.recorded()
    np.testing.assert_array_equal(gpu.host(step.total), 14)


def test_another_version_is_recorded_anew(gpu: Kernels, step: Step) -> None:
    for _ in range(4):
        step.recorded()
    old, step.total, step.version = step.total, gpu.xp.zeros(4, np.float32), 1
    for count in range(1, 6):
        step.recorded()
        np.testing.assert_array_equal(gpu.host(step.total), count)
    assert step.calls == 6
    np.testing.assert_array_equal(gpu.host(old), 4)


def test_a_version_that_settles_in_the_first_call(step: Step) -> None:
    """As when the first step allocates the buffers."""
    step.also = lambda: setattr(step, "version", 1)
    for _ in range(5):
        step.recorded()
    assert step.calls == 3


def test_what_cannot_be_recorded_runs_by_itself_and_says_so_once(
    gpu: Kernels, step: Step, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []
    step.also = lambda: seen.append(float(gpu.host(step.total)[0]))
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            step.recorded()
        step.version = 1
        for _ in range(4):
            step.recorded()
    np.testing.assert_array_equal(gpu.host(step.total), 8)
    assert seen == list(range(1, 9))
    assert len(caplog.records) == 1
    assert "run one kernel at a time" in caplog.records[0].message


def test_an_error_ends_the_recording(gpu: Kernels, step: Step) -> None:
    def fail() -> None:
        raise MinidlError("no")

    for _ in range(2):
        step.recorded()
    step.also = fail
    with pytest.raises(MinidlError, match="no"):
        step.recorded()
    step.also = lambda: None
    for _ in range(2):
        step.recorded()
    np.testing.assert_array_equal(gpu.host(step.total), 4)


@pytest.mark.parametrize("library", ["cuBLAS", "cuDNN"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_products_can_be_recorded(gpu: Kernels, random: np.random.Generator, library: str, precision: str) -> None:
    """With temporary memory in them: columns, workspaces, operands of bfloat16."""
    from minidl.kernels.gpu import products

    before = products.library()
    try:
        if library == "cuDNN":
            needs_cudnn()
        products.choose(precision, library)
        plan = gpu.convolution.plan(gpu.convolution.Geometry((6, 7, 4), 5, (3, 3), 2, 1))
        dense = gpu.fully_connected
        shapes = [(3, 6, 7, 4), (5, 3, 3, 4), (5,), (3, 3, 4, 5), (8, 60), (8,), (3, 8)]
        data, weights, biases, out, matrix, offsets, logits = (
            gpu.xp.asarray(random.standard_normal(shape), np.float32) for shape in shapes
        )
        grads, of_biases, of_matrix, of_offsets = map(gpu.xp.empty_like, (weights, biases, matrix, offsets))
        error, back = gpu.xp.empty_like(out), gpu.xp.empty_like(data)

        def step() -> None:
            plan.forward(data, weights, biases, out)
            dense.forward(out.reshape(3, -1), matrix, offsets, logits)
            dense.comp_grads(logits, out.reshape(3, -1), of_matrix, of_offsets)
            dense.backward(logits, matrix, error.reshape(3, -1))
            plan.comp_grads(error, data, grads, of_biases)
            plan.backward(error, weights, back)

        results = (out, logits, of_matrix, of_offsets, error, grads, of_biases, back)
        recorded = gpu.record(step, lambda: 0)
        for _ in range(5):
            data[...] = gpu.xp.asarray(random.standard_normal(data.shape), np.float32)
            step()
            expected = [gpu.host(result) for result in results]
            for result in results:
                result[...] = np.nan
            recorded()
            for result, wanted in zip(results, expected, strict=True):
                np.testing.assert_array_equal(gpu.host(result), wanted)
        assert recorded.graph is not None
    finally:
        products.choose("fp32", before)


def test_the_cpu_repeats_by_calling() -> None:
    calls = []
    recorded = kernels.load("cpu").record(lambda: calls.append(1), lambda: 0)
    for _ in range(5):
        recorded()
    assert len(calls) == 5
