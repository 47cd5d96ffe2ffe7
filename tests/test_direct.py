"""Inference with constant weights: the direct convolution and related algorithms equal the definitions."""

import gc
from itertools import pairwise

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels.convolution import Convolution, Geometry
from minidl.kernels.cpu import convolution, extents, fully_connected, loops, threads, transposed_convolution
from minidl.kernels.cpu.calls import capture
from minidl.kernels.cpu.constants import Kept, constant
from minidl.kernels.cpu.lines import in_lines, per_line
from minidl.kernels.cpu.tape import Tape

REFERENCE = kernels.load("reference")
GEOMETRIES = [
    ((7, 9, 3), 21, (3, 3), 1, 1),  # filters that do not fill a line, rows that are shared among the workers or not
    ((9, 9, 5), 16, (5, 5), 2, 2),
    ((33, 20, 4), 33, (3, 3), 1, 1),
    ((1, 1, 8), 20, (3, 3), 1, 1),  # a part of the filter meets only padding
    ((8, 8, 70), 37, (1, 1), 1, 0),
    ((16, 16, 3), 10, (7, 7), 2, 0),
    ((50, 60, 17), 40, (3, 2), (2, 1), (1, 2)),  # several chunks
]


@pytest.fixture(params=[("numpy", 2), ("numba", 1), ("numba", 2), ("numba", 3)], ids=str)
def workers(request):
    """Use each kind of loops, with several workers."""
    loops.use(request.param[0])
    threads.set_workers(request.param[1])
    yield request.param
    loops.use_best()
    threads.set_workers(threads.available_cores())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_the_direct_convolution_equals_the_definition(workers, random, geometry, dtype):
    definition = Convolution(Geometry(*geometry, dtype=np.float64))
    direct = convolution.plan(Geometry(*geometry, dtype=dtype), "direct")
    shape, filters, kernel_size, *_ = geometry
    weights = random.standard_normal((filters, *kernel_size, shape[2])).astype(dtype)
    biases = random.standard_normal(filters).astype(dtype)
    kept = constant(weights)
    for samples, relu in ((1, True), (5, False), (1, False)):
        data = random.standard_normal((samples, *shape)).astype(dtype)
        expected = np.empty((samples, *definition.output_shape))
        definition.forward(data.astype(float), weights.astype(float), biases.astype(float), expected, relu)
        wide = np.full((*expected.shape[:-1], filters + 1), np.nan, dtype)  # nothing is written beyond the filters
        out = np.full(expected.shape, np.nan, dtype)
        for target in (out, wide[..., :-1]):
            direct.forward(data, kept, biases, target, relu)
            np.testing.assert_allclose(target, expected, rtol=0, atol=2e-4 if dtype == np.float32 else 1e-11)
        assert np.isnan(wide[..., -1]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape, filters, size, stride", [((13, 9, 21), 35, 3, 1), ((9, 8, 5), 16, 5, 1), ((13, 14, 3), 3, 7, 2)]
)
def test_winograd_with_constants_equals_the_definition(workers, random, dtype, shape, filters, size, stride):
    """For batches and single images, in the forward pass and, as in a transposed convolution, in the backward pass."""
    geometry = Geometry(shape, filters, (size, size), stride, 1, dtype)
    definition, plan = Convolution(geometry), convolution.plan(geometry, "winograd")
    weights = random.standard_normal((filters, size, size, shape[2])).astype(dtype)
    biases, kept = random.standard_normal(filters).astype(dtype), constant(weights)
    for samples, relu in ((1, True), (5, False), (1, False)):
        data = random.standard_normal((samples, *shape)).astype(dtype)
        error = random.standard_normal((samples, *definition.output_shape)).astype(dtype)
        (out, wanted), (back, wanted_back) = np.full((2, *error.shape), np.nan), np.full((2, *data.shape), np.nan)
        out, back = out.astype(dtype), back.astype(dtype)
        definition.forward(data.astype(float), weights.astype(float), biases.astype(float), wanted, relu)
        definition.backward(error.astype(float), weights.astype(float), wanted_back)
        plan.forward(data, kept, biases, out, relu)
        plan.backward(error, kept, back)
        for found, expected in ((out, wanted), (back, wanted_back)):
            tolerance = 2e-5 if dtype == np.float32 else 1e-12
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_long_sums_round_less_than_one_element_after_the_other(workers, random):
    data, weights = random.random((5, 4096), np.float32), random.random((32, 4096), np.float32)
    exact, out = data.astype(float) @ weights.T.astype(float), np.empty((5, 32), np.float32)
    fully_connected.forward(data, constant(weights), np.zeros(32, np.float32), out)
    one_by_one = np.cumsum(data[:, None] * weights, axis=-1, dtype=np.float32)[..., -1]
    least = 4 if workers[0] == "numba" else 0.5  # BLAS chooses its own order of summation
    assert least * np.abs(out - exact).mean() < np.abs(one_by_one - exact).mean()


def test_nan_stays_nan(workers):
    data, out = np.ones((1, 2, 2, 4), np.float32), np.zeros((1, 2, 2, 3), np.float32)
    data[0, 1, 1, 2] = np.nan
    weights = constant(-np.ones((3, 1, 1, 4), np.float32))
    convolution.plan(Geometry((2, 2, 4), 3, (1, 1)), "direct").forward(data, weights, np.zeros(3, "f4"), out, True)
    assert np.isnan(out[0, 1, 1]).all()
    assert (out.reshape(-1, 3)[:3] == 0).all()


@pytest.mark.parametrize("shape, filters", [((4, 4, 512), 512), ((3, 3, 256), 256)])
def test_the_algorithm_is_the_one_that_costs_less_for_the_batch(shape, filters):
    plan = convolution.plan(Geometry(shape, filters, (3, 3), 1, 1))
    assert plan.direct.cost(1) < plan.usual.cost(1)
    assert plan.direct.cost(50) > plan.usual.cost(50)


def test_a_batch_of_another_size_may_take_another_algorithm(workers, random):
    geometry = Geometry((13, 13, 64), 65, (3, 3), 1, 1)
    plan = convolution.plan(geometry)
    weights, biases = random.normal(0, 0.1, (65, 3, 3, 64)).astype("f4"), random.standard_normal(65).astype("f4")
    kept = constant(weights)
    for costs in ((1, 2), (2, 1), (1, 2)):
        plan.direct.cost, plan.usual.cost = (lambda images, cost=cost: cost for cost in costs)
        for samples in (2, 1):
            data = random.standard_normal((samples, 13, 13, 64)).astype("f4")
            out, expected = np.full((2, samples, 13, 13, 65), np.nan, "f4")
            plan.forward(data, kept, biases, out)
            Convolution(geometry).forward(data, weights, biases, expected)
            np.testing.assert_allclose(out, expected, rtol=0, atol=5e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("samples, inputs, outputs", [(1, 70, 300), (7, 5, 3), (13, 64, 128)])
def test_fully_connected(workers, random, dtype, samples, inputs, outputs):
    data, weights = (random.standard_normal((n, inputs)).astype(dtype) for n in (samples, outputs))
    biases, out = random.standard_normal(outputs).astype(dtype), np.full((samples, outputs), np.nan, dtype)
    for relu in (False, True):
        fully_connected.forward(data, constant(weights), biases, out, relu)
        expected = data.astype(float) @ weights.T.astype(float) + biases
        expected = np.maximum(expected, 0) if relu else expected
        np.testing.assert_allclose(out, expected, rtol=0, atol=1e-4 if dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("size, stride", [(3, 2), (2, 2), (7, 2), (3, 1)])
def test_transposed_convolution(workers, random, size, stride):
    geometry = Geometry((6, 5, 16), 17, (size, size), stride, 0)
    weights, biases = random.standard_normal((17, size, size, 16)).astype("f4"), random.standard_normal(17).astype("f4")
    plan, kept = transposed_convolution.plan(geometry), constant(weights)
    for _ in range(2):
        data = random.standard_normal((1, 6, 5, 16)).astype("f4")
        out, expected = np.full((2, 1, *plan.output_shape), np.nan, "f4")
        plan.forward(data, kept, biases, out)
        REFERENCE.transposed_convolution.plan(geometry).forward(data, weights, biases, expected)
        np.testing.assert_allclose(out, expected, rtol=0, atol=5e-4)


def test_lines_are_aligned_and_filled_with_zeros(random):
    weights = random.standard_normal((21, 3, 2)).astype("f4")
    lines = in_lines(weights)
    assert lines.shape == (2, 6, per_line("f4"))
    assert lines.ctypes.data % 64 == 0
    np.testing.assert_array_equal(lines.transpose(0, 2, 1).reshape(-1, 6)[:21], weights.reshape(21, 6))
    assert (lines[1, :, 5:] == 0).all()


def test_results_computed_from_a_constant_are_deleted_with_it():
    kept, made = Kept(), []

    def make(array):
        made.append(array.copy())
        return made[-1]

    one, other = constant(np.zeros(3)), constant(np.ones(3))
    for _ in range(2):
        assert kept.of(one, make) is made[0]
        assert kept.of(other, make) is made[1]
    assert len(made) == 2
    del one
    gc.collect()
    assert len(kept._made) == 1
    assert kept.of(other, make) is made[1]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_tape_of_many_operations_is_one_call_that_does_them_in_their_order(count, random):
    """Each step reads what the step before wrote in other parts; operations of two number types become two calls."""
    threads.set_workers(count)
    try:
        for dtype in (np.float32, np.float64):
            steps = [np.zeros((6, 64, 64, 4), dtype) for _ in range(30)]

            def compute(steps=steps):
                for before, after in pairwise(steps):
                    extents.copy(before, after)
                    extents.add(after, before[::-1], after)

            tape = Tape(compute)
            calls = tape._calls
            if loops.name() == "numba":
                assert len(calls) == 1
            for _ in range(5):
                steps[0][...] = random.integers(-4, 4, steps[0].shape)
                tape.play()
                expected = steps[0].copy()
                for _ in range(29):
                    expected = expected + expected[::-1]
                np.testing.assert_array_equal(steps[-1], expected)
    finally:
        threads.set_workers(threads.available_cores())


def test_other_calls_on_a_tape_keep_their_order():
    cpu, order = kernels.load("cpu"), []
    a, b, c = (np.full((2, 3), value, "f4") for value in (1, 2, 3))

    def compute():
        cpu.extents.copy(a, b)
        threads.share(lambda *part: order.append(float(b[0, 0])), 1)
        cpu.extents.copy(b, c)
        cpu.extents.copy(c.astype("f8"), np.empty((2, 3)))

    tape = Tape(compute)
    a[...] = 7
    tape.play()
    assert order == [1, 7]
    assert (c == 7).all()
    with capture() as captured_again:
        tape.play()
    assert captured_again.calls
