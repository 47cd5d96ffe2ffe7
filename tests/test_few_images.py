"""Batches with few pixels, for which workers share the filters: the same results as the plain convolution's.

Scratch memory is full of nan before each pass, so that a number that no program wrote would show.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from test_convolution_kernels import Array, Case, relative

from minidl.kernels.cpu import chunks, loops, scratch, threads
from minidl.kernels.cpu.constants import constant
from minidl.kernels.cpu.convolution import Convolution, Geometry, plan
from minidl.kernels.cpu.im2col import Im2col
from minidl.kernels.cpu.transposed_convolution import TransposedConvolution
from minidl.kernels.cpu.winograd import Winograd

# (y, x, in), filters, kernel size, stride, padding
GEOMETRIES = [
    ((5, 4, 17), 33, (3, 3), 1, 1),
    ((1, 2, 64), 5, (3, 3), 1, 1),  # fewer filters than fill a line
    ((2, 3, 40), 48, (5, 5), 1, 2),  # im2col needs only a part of the filters
    ((6, 5, 24), 31, (5, 5), 2, 2),  # phases
    ((7, 7, 20), 17, (5, 5), 3, 1),
    ((1, 1, 65), 70, (3, 3), 1, 1),
]


@pytest.fixture(params=loops.NAMES)
def each_loops(request: pytest.FixtureRequest) -> Any:
    loops.use(request.param)
    yield
    loops.use_best()


@pytest.fixture(autouse=True)
def all_workers() -> Any:
    """Let later tests have as many workers as before."""
    yield
    threads.set_workers(threads.available_cores())


def poison() -> None:
    for buffer in scratch.buffers().values():
        buffer[: buffer.size // 8 * 8].view(np.float64)[...] = np.nan


def passes(convolution: Convolution, case: Case, weights: Array, relu: bool = False) -> list[Array]:
    out, data_error, weights_grads, biases_grads = results = case.poisoned()
    poison()
    convolution.forward(case.data, weights, case.biases, out, relu)
    poison()
    convolution.backward(case.error, weights, data_error)
    poison()
    convolution.comp_grads(case.error, case.data, weights_grads, biases_grads)
    return results


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize("algorithm", ["im2col", "winograd"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_few_and_many_images_equal_plain(
    each_loops: None, geometry: tuple[Any, ...], algorithm: str, workers: int
) -> None:
    """One plan computes batches on both sides of the rule, with changing and constant weights, twice each."""
    threads.set_workers(workers)
    convolution = plan(Geometry(*geometry, dtype=np.float64), algorithm=algorithm)
    plain = plan(Geometry(*geometry, dtype=np.float64), algorithm="plain")
    assert isinstance(convolution, Im2col | Winograd)
    rules = set()
    for seed, samples in enumerate((1, 3, 60, 3, 1)):
        rules.add(convolution._are_few(samples))
        case = Case(geometry, samples, seed=seed)
        relu = seed % 2 == 1
        expected = case.run(plain)
        if relu:
            expected[0] = np.maximum(expected[0], 0)
        for weights in (case.weights, constant(case.weights)):
            first = passes(convolution, case, weights, relu)
            second = passes(convolution, case, weights, relu)
            for result, again, wanted in zip(first, second, expected, strict=True):
                np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-10 * (np.abs(wanted).max() + 1))
                np.testing.assert_array_equal(result, again)
    assert rules >= {True}


@pytest.mark.parametrize("workers", [1, 2, 5, 7])
@pytest.mark.parametrize("algorithm", ["im2col", "winograd", "direct"])
@pytest.mark.parametrize("stride", [1, 2])
def test_workers_share_the_rows_of_a_large_image(
    each_loops: None, stride: int, algorithm: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "MIN_PRODUCTS", 1)  # so that several workers share also this image
    threads.set_workers(workers)
    geometry = (21, 17, 5), 4, (5, 5), stride, 2
    convolution = plan(Geometry(*geometry, dtype=np.float64), algorithm=algorithm)
    rows, part = set(), chunks.Work.part
    monkeypatch.setattr(
        chunks.Work, "part", lambda work, *share: rows.add(part(work, *share).rows) or part(work, *share)
    )
    case = Case(geometry, samples=1)
    expected = case.run(plan(Geometry(*geometry, dtype=np.float64), algorithm="plain"))
    changing = [] if algorithm == "direct" else [case.weights]
    for weights in (*changing, constant(case.weights)):
        for result, wanted in zip(passes(convolution, case, weights), expected, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-10 * (np.abs(wanted).max() + 1))
    assert len(rows) >= min(workers, 3)


@pytest.mark.parametrize("algorithm", ["im2col", "winograd"])
def test_few_images_in_scratch_memory_that_grows(algorithm: str) -> None:
    """A larger convolution takes the scratch memory, which then lies elsewhere, between two equal calls."""
    threads.set_workers(2)
    small, large = GEOMETRIES[0], ((30, 30, 48), 64, (3, 3), 1, 1)
    convolution = plan(Geometry(*small, dtype=np.float64), algorithm=algorithm)
    case = Case(small, samples=3)
    first = passes(convolution, case, case.weights)
    other = Case(large, samples=4)
    other.run(plan(Geometry(*large, dtype=np.float64), algorithm=algorithm))
    for result, wanted in zip(passes(convolution, case, case.weights), first, strict=True):
        np.testing.assert_array_equal(result, wanted)
    scratch.buffers().clear()
    for result, wanted in zip(passes(convolution, case, case.weights), first, strict=True):
        np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("algorithm", ["im2col", "winograd"])
def test_few_images_in_several_threads(algorithm: str) -> None:
    """They share a plan with its recordings, but not scratch memory."""
    threads.set_workers(2)
    convolution = plan(Geometry(*GEOMETRIES[0]), algorithm=algorithm)
    cases = [Case(GEOMETRIES[0], samples, dtype=np.float32, seed=samples) for samples in (1, 2, 3, 9)]
    expected = [case.run(convolution) for case in cases]

    def work(k: int) -> list[list[Array]]:
        return [cases[k].run(convolution) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(work, range(4)), expected, strict=True):
            for results in found:
                for one, other in zip(results, wanted, strict=True):
                    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("geometry", [((6, 6, 128), 128, (3, 3), 1, 1), ((2, 2, 256), 256, (4, 4), 2, 1)], ids=str)
def test_few_images_in_float32(geometry: tuple[Any, ...]) -> None:
    """With OpenBLAS's kernels for small products, if the processor has them."""
    exact = Case(geometry, samples=5)
    expected = exact.run(plan(Geometry(*geometry, dtype=np.float64), algorithm="plain"))
    case = Case(geometry, samples=5, dtype=np.float32)
    for workers in (1, 2, 3):
        threads.set_workers(workers)
        for algorithm, bound in (("im2col", 1e-6), ("winograd", 1e-5)):
            for result, wanted in zip(case.run(plan(Geometry(*geometry), algorithm)), expected, strict=True):
                assert relative(result, wanted) < bound


def test_a_transposed_convolution_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the process allocates other small arrays between its calls."""
    current, recorded = loops.current(), []
    if not current.RECORDS:
        pytest.skip("nothing is recorded without Numba")
    record = current.record
    monkeypatch.setattr(current, "record", lambda parts: recorded.append(0) or record(parts))
    random = np.random.default_rng(0)
    convolution = TransposedConvolution(Geometry((2, 2, 256), 128, (4, 4), 2, 1))
    data = random.standard_normal((4, 2, 2, 256)).astype(np.float32)
    error = random.standard_normal((4, *convolution.output_shape)).astype(np.float32)
    weights_grads, biases_grads = np.empty((128, 4, 4, 256), np.float32), np.empty(128, np.float32)
    kept = []
    for call in range(20):
        if call == 2:  # the first calls may have enlarged the scratch memory
            recorded.clear()
        convolution.comp_grads(error, data, weights_grads, biases_grads)
        kept.append(np.empty(256, np.float32))
    assert not recorded
