"""Every algorithm of a convolution against the plain one, and the plain one against its definition."""

import tracemalloc
from itertools import product
from typing import Any

import numpy as np
import pytest

from minidl.kernels.cpu import loops, program, threads
from minidl.kernels.cpu.convolution import Convolution, Geometry, plan
from minidl.kernels.cpu.cook_toom import transforms
from minidl.kernels.errors import MinidlError

Array = np.ndarray[Any, Any]

# (y, x, in), filters, kernel size, stride, padding
STRIDE_1 = [
    ((y, x, 3), 4, (k, k), 1, padding)
    for (y, x), k, padding in product([(1, 1), (4, 7), (8, 5), (13, 14)], [3, 5], [0, 1, 2, 3, 6])
    if min(y, x) + 2 * padding >= k
]
OTHERS = [
    *(((y, x, 2), 3, (k, k), stride, padding) for (y, x), k, stride, padding in product(
        [(7, 8), (13, 9)], [1, 2, 3, 7], [1, 2, 3], [0, 1, 3])),
    ((1, 1, 5), 3, (3, 3), 1, 1),
    ((2, 1, 3), 2, (5, 5), 2, 2),
    ((1, 1, 2), 2, (1, 1), 7, 5),
    ((6, 9, 1), 1, (2, 5), (1, 2), (0, 3)),
    ((8, 6, 3), 4, (2, 2), 2, 0),
    ((30, 90, 8), 4, (3, 3), 3, 0),
    ((60, 80, 40), 3, (1, 1), 1, 0),
    ((40, 300, 4), 2, (3, 3), 2, 1),
]  # fmt: skip
PHASES = [
    ((y, x, 3), 4, (k, k), stride, padding)
    for (y, x), (k, stride), padding in product(
        [(4, 7), (8, 5), (33, 20)], [(2, 1), (3, 2), (4, 2), (7, 2), (9, 2), (5, 3), (14, 3), (17, 4)], [0, 1, 2, 6]
    )
    if min(y, x) + 2 * padding >= k
]


def some_quick(geometries: list[Any]) -> list[Any]:
    """Return the geometries, of which two in three are marked as thorough, because all are of one kind."""
    return [each if i % 3 == 0 else pytest.param(each, marks=pytest.mark.thorough) for i, each in enumerate(geometries)]


LARGE = [
    ((32, 32, 3), 32, (3, 3), 1, 1),
    ((32, 32, 32), 32, (3, 3), 1, 1),
    ((13, 13, 64), 64, (3, 3), 1, 1),
    ((6, 6, 128), 128, (3, 3), 1, 1),
    ((3, 3, 256), 256, (3, 3), 1, 1),
    ((1, 1, 512), 512, (3, 3), 1, 1),
    ((13, 13, 64), 128, (3, 3), 2, 0),
    ((16, 16, 32), 64, (5, 5), 1, 2),
    ((111, 60, 16), 16, (3, 3), 1, 1),
    ((75, 61, 16), 24, (7, 7), 2, 0),
]


class Case:
    """Random arguments of the three passes, and memory full of nan for their results."""

    def __init__(self, geometry: tuple[Any, ...], samples: int, dtype: type = np.float64, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        (data_shape, filters, kernel_size, *_), self.geometry = geometry, geometry
        output_shape = Convolution(Geometry(*geometry)).output_shape
        self.samples = samples
        self.data = random.standard_normal((samples, *data_shape)).astype(dtype)
        self.weights = random.uniform(-1, 1, (filters, *kernel_size, data_shape[2])).astype(dtype)
        self.biases = random.standard_normal(filters).astype(dtype)
        self.error = random.standard_normal((samples, *output_shape)).astype(dtype)

    def poisoned(self) -> list[Array]:
        """Return memory for the output, the data's error, the weights' and the biases' gradients, all NaN."""
        return [np.full_like(array, np.nan) for array in (self.error, self.data, self.weights, self.biases)]

    def run(self, convolution: Convolution, results: list[Array] | None = None) -> list[Array]:
        """Return the results of the three passes."""
        out, data_error, weights_grads, biases_grads = results = results or self.poisoned()
        convolution.forward(self.data, self.weights, self.biases, out)
        convolution.backward(self.error, self.weights, data_error)
        convolution.comp_grads(self.error, self.data, weights_grads, biases_grads)
        return results


def relative(result: Array, expected: Array) -> float:
    """Return ‖result − expected‖ / ‖expected‖."""
    return float(np.linalg.norm(result - expected) / (np.linalg.norm(expected) or 1))


def compare(geometry: tuple[Any, ...], algorithm: str, samples: int) -> None:
    case = Case(geometry, samples)
    expected = case.run(plan(Geometry(*geometry, dtype=np.float64), algorithm="plain"))
    results = case.run(plan(Geometry(*geometry, dtype=np.float64), algorithm=algorithm))
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-10, atol=1e-10 * np.abs(wanted).max())


def test_plain_is_the_definition() -> None:
    geometry = ((5, 4, 2), 3, (3, 2), (2, 1), (1, 2))
    case = Case(geometry, samples=2)
    out = case.run(plan(Geometry(*geometry, dtype=np.float64), algorithm="plain"))[0]
    for s, y, x, o in np.ndindex(out.shape):
        total = case.biases[o]
        for i, j in np.ndindex(3, 2):
            at_y, at_x = 2 * y + i - 1, x + j - 2
            if 0 <= at_y < 5 and 0 <= at_x < 4:
                total += case.weights[o, i, j] @ case.data[s, at_y, at_x]
        assert out[s, y, x, o] == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("algorithm", ["im2col", "winograd"])
@pytest.mark.parametrize("geometry", some_quick(STRIDE_1), ids=str)
def test_stride_1_equals_plain(geometry: tuple[Any, ...], algorithm: str) -> None:
    compare(geometry, algorithm, samples=3)


@pytest.mark.parametrize("geometry", OTHERS, ids=str)
def test_any_stride_equals_plain(geometry: tuple[Any, ...]) -> None:
    compare(geometry, "im2col", samples=3)


@pytest.mark.parametrize("geometry", some_quick(PHASES), ids=str)
def test_winograd_on_phases_equals_plain(geometry: tuple[Any, ...]) -> None:
    """For filters of any size, phases that begin before the image, and pixels that no filter meets."""
    compare(geometry, "winograd", samples=3)


@pytest.mark.parametrize("geometry", LARGE, ids=str)
def test_chosen_path_equals_plain(geometry: tuple[Any, ...]) -> None:
    """With many chunks, bands of large images, and every tile size that the rule chooses."""
    for algorithm in (plan(Geometry(*geometry)).name.split()[0], "im2col"):
        compare(geometry, algorithm, samples=5)


@pytest.mark.parametrize("algorithm", ["plain", "im2col", "winograd"])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_samples_and_workers(algorithm: str, workers: int) -> None:
    """One plan computes full batches, a smaller last batch, and fewer samples than workers."""
    geometry = ((6, 7, 4), 5, (3, 3), 1, 1)
    threads.set_workers(workers)
    convolution = plan(Geometry(*geometry, dtype=np.float64), algorithm=algorithm)
    for samples in (50, 7, 1, 50):
        case = Case(geometry, samples)
        expected = case.run(plan(Geometry(*geometry, dtype=np.float64), algorithm="plain"))
        for result, wanted in zip(case.run(convolution), expected, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("geometry", [STRIDE_1[5], OTHERS[20], *LARGE[:4], LARGE[9]], ids=str)
@pytest.mark.parametrize("algorithm", ["plain", "im2col", None])
def test_backward_and_comp_grads_are_adjoints_of_forward(geometry: tuple[Any, ...], algorithm: str | None) -> None:
    """<conv(d; W, b), e> = <d, backward(e)> + <b, Σe> = <W, comp_grads(e)> + <b, biases_grads>."""
    case = Case(geometry, samples=2)
    out, data_error, weights_grads, biases_grads = case.run(
        plan(Geometry(*geometry, dtype=np.float64), algorithm=algorithm)
    )
    of_biases = case.biases @ biases_grads
    product_of_outputs = np.vdot(out, case.error)
    scale = np.linalg.norm(out) * np.linalg.norm(case.error)
    assert abs(np.vdot(case.data, data_error) + of_biases - product_of_outputs) < 1e-12 * scale
    assert abs(np.vdot(case.weights, weights_grads) + of_biases - product_of_outputs) < 1e-12 * scale


@pytest.mark.parametrize("geometry", LARGE, ids=str)
def test_error_in_float32(geometry: tuple[Any, ...]) -> None:
    """It is below 1e-5 of the norm for Winograd's algorithm, 1e-6 for im2col."""
    exact = Case(geometry, samples=4)
    expected = exact.run(plan(Geometry(*geometry, dtype=np.float64), algorithm="im2col"))
    case = Case(geometry, samples=4, dtype=np.float32)
    chosen = plan(Geometry(*geometry))
    for convolution, bound in (
        (chosen, 1e-6 if chosen.name == "im2col" else 1e-5),
        (plan(Geometry(*geometry), algorithm="im2col"), 1e-6),
    ):
        for result, wanted in zip(case.run(convolution), expected, strict=True):
            assert result.dtype == np.float32
            assert relative(result, wanted) < bound


@pytest.mark.parametrize("geometry", [LARGE[0], LARGE[2], LARGE[7], LARGE[9]], ids=str)
def test_repeats_to_the_last_bit(geometry: tuple[Any, ...]) -> None:
    case = Case(geometry, samples=9, dtype=np.float32)
    convolution = plan(Geometry(*geometry))
    first = case.run(convolution)
    for _ in range(3):
        for result, wanted in zip(case.run(convolution), first, strict=True):
            assert np.array_equal(result, wanted)


@pytest.mark.parametrize("geometry", [LARGE[1], LARGE[5], LARGE[6], LARGE[7], LARGE[8], LARGE[9]], ids=str)
def test_a_steady_call_allocates_nothing_large(geometry: tuple[Any, ...]) -> None:
    """Except for the small buffers of NumPy's own loops, which are made smaller here.

    Without Numba, the programs themselves are written again in each call, which takes some tens of kilobytes.
    If another pass has enlarged the scratch memory, a pass writes its programs again in the second call.
    """
    case = Case(geometry, samples=8, dtype=np.float32)
    convolution = plan(Geometry(*geometry))
    threads.set_workers(1)
    results = case.run(convolution)
    case.run(convolution, results)
    buffer_size = np.setbufsize(256)
    tracemalloc.start()
    try:
        case.run(convolution, results)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        np.setbufsize(buffer_size)
    assert peak < (1 << 16 if loops.current().RECORDS else 1 << 17)


@pytest.mark.parametrize(
    "geometry, algorithm",
    [
        (((32, 32, 3), 32, (3, 3), 1, 1), "im2col"),
        (((32, 32, 32), 32, (3, 3), 1, 1), "winograd F(4×4, 3×3)"),
        (((6, 6, 128), 128, (3, 3), 1, 1), "winograd F(3×3, 3×3)"),
        (((27, 27, 256), 256, (3, 3), 1, 1), "winograd F(4×4, 3×3)"),
        (((3, 3, 256), 256, (3, 3), 1, 1), "winograd F(3×3, 3×3)"),
        (((1, 1, 512), 512, (3, 3), 1, 1), "im2col"),
        (((8, 8, 64), 128, (5, 5), 1, 2), "winograd F(4×4, 5×5)"),
        (((227, 227, 64), 128, (7, 7), 2, 0), "winograd F(4×4, 4×4) on 4 phases"),
        (((227, 227, 3), 64, (7, 7), 2, 0), "im2col"),
        (((13, 13, 64), 128, (3, 3), 2, 0), "im2col"),
        (((8, 8, 64), 64, (1, 1), 1, 0), "im2col"),
    ],
)
def test_rule(geometry: tuple[Any, ...], algorithm: str) -> None:
    assert plan(Geometry(*geometry)).name == algorithm


@pytest.mark.parametrize("outputs, taps", [(2, 3), (3, 3), (4, 3), (5, 3), (6, 3), (2, 5), (3, 5), (4, 5)])
def test_transforms_correlate(outputs: int, taps: int, random: np.random.Generator) -> None:
    a, b, g = transforms(outputs, taps)
    data, one = random.standard_normal(outputs + taps - 1), random.standard_normal(taps)
    np.testing.assert_allclose(a.T @ ((b @ data) * (g @ one)), np.correlate(data, one), rtol=0, atol=1e-12)
    # The biases and their gradients depend on this.
    assert a[1].tolist() == [1] * outputs


def test_impossible_geometries_are_refused() -> None:
    with pytest.raises(MinidlError, match="leaves nothing of an image of 4×9"):
        plan(Geometry((4, 9, 1), 2, (5, 5)))
    with pytest.raises(MinidlError, match=r"the algorithm 'fast' of a convolution is unknown; use "):
        plan(Geometry((4, 9, 1), 2, (3, 3)), algorithm="fast")
    for kernel_size, stride in (((7, 7), 1), ((3, 5), 1), ((3, 3), (1, 2)), ((2, 2), 2)):
        with pytest.raises(MinidlError, match="use im2col here"):
            plan(Geometry((8, 9, 1), 2, kernel_size, stride), algorithm="winograd")


def test_arrays_that_change_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are more of them than recordings that are kept."""
    monkeypatch.setattr(program, "_MOST_RECORDINGS", 1)
    case = Case(LARGE[0], samples=9, dtype=np.float32)
    convolution = plan(Geometry(*LARGE[0]))
    expected = case.run(plan(Geometry(*LARGE[0])))
    kept = []
    for _ in range(10):
        kept.append(case.run(convolution))  # kept, so that the next results have another address
        for result, wanted in zip(kept[-1], expected, strict=True):
            assert np.array_equal(result, wanted)
