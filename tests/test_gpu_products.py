"""Convolutions and fully connected layers on the GPU, by either library, against the plain convolution."""

import logging
from typing import Any

import numpy as np
import pytest
from conftest import EMULATED
from test_convolution_kernels import LARGE, OTHERS, STRIDE_1, Case, relative

from minidl import kernels
from minidl.kernels import Kernels
from minidl.kernels.cpu import fully_connected, transposed_convolution
from minidl.kernels.cpu.convolution import Geometry
from minidl.kernels.cpu.convolution import plan as plan_on_cpu
from minidl.kernels.errors import MinidlError

if EMULATED:
    import cudnn as stand_in

Array = Any
SOME = [*STRIDE_1[::5], *OTHERS[::9], *OTHERS[-5:], LARGE[4]]
FULLY = [(50, 37, 10), (1, 5, 3), (7, 64, 128), (3, 1, 1)]  # samples, in, out
TRANSPOSED = [((5, 4, 3), 6, 3, 2, 0), ((4, 4, 33), 40, 7, 2, 0), ((3, 3, 4), 4, 2, 2, 0), ((4, 5, 2), 3, 3, 1, 1)]


@pytest.fixture(params=["cuBLAS", "cuDNN"])
def library(request: pytest.FixtureRequest, gpu: Kernels) -> Any:
    """Have one library after the other make the products."""
    from minidl.kernels.gpu import products

    if products.cudnn_fails() and request.param == "cuDNN":
        pytest.skip(f"cuDNN: {products.cudnn_fails()}")
    before = products.library()
    products.choose(library=request.param)
    yield request.param
    products.choose("fp32", library=before)


def on(gpu: Kernels, arrays: list[Array]) -> list[Array]:
    return [gpu.xp.asarray(array) for array in arrays]


def poisoned(gpu: Kernels, arrays: list[Array]) -> list[Array]:
    return [gpu.xp.full(array.shape, np.nan, array.dtype) for array in arrays]


def passes(gpu: Kernels, layer: Any, arrays: list[Array]) -> list[Array]:
    """Return the output and the gradients of data, weights and biases of a layer given these and the error."""
    data, weights, biases, error = on(gpu, arrays)
    out, data_error, weights_grads, biases_grads = results = poisoned(gpu, [error, data, weights, biases])
    layer.forward(data, weights, biases, out)
    layer.backward(error, weights, data_error)
    layer.comp_grads(error, data, weights_grads, biases_grads)
    return [gpu.host(result) for result in results]


def arguments(case: Case) -> list[Array]:
    return [case.data, case.weights, case.biases, case.error]


def exact(geometry: tuple[Any, ...], case: Case) -> list[Array]:
    """Return what the plain convolution makes of a case in float64."""
    twin = Case(geometry, case.samples)
    twin.data, twin.weights, twin.biases, twin.error = (array.astype(np.float64) for array in arguments(case))
    return twin.run(plan_on_cpu(Geometry(*geometry, dtype=np.float64), algorithm="plain"))


def close(results: list[Array], expected: list[Array], bound: float | None = None) -> None:
    for result, wanted in zip(results, expected, strict=True):
        assert not np.isnan(result).any()
        assert relative(result, wanted) < (bound or (50 if EMULATED else 200) * np.finfo(result.dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", SOME, ids=str)
def test_convolutions_equal_plain(library: str, gpu: Kernels, geometry: tuple[Any, ...], dtype: type) -> None:
    case = Case(geometry, samples=3, dtype=dtype)
    convolution = gpu.convolution.plan(Geometry(*geometry, dtype=dtype))
    assert convolution.name == ("cuDNN" if library == "cuDNN" and dtype == np.float32 else "im2col and cuBLAS")
    results = passes(gpu, convolution, arguments(case))
    assert {result.dtype for result in results} == {np.dtype(dtype)}
    close(results, exact(geometry, case))


@pytest.mark.parametrize("chunk", [1, 7, 50])
@pytest.mark.parametrize("geometry", [SOME[1], SOME[4], SOME[-3], ((4, 5, 8), 4, (3, 3), 2, 1)], ids=str)
def test_chunks_that_end_anywhere(gpu: Kernels, geometry: tuple[Any, ...], chunk: int) -> None:
    case = Case(geometry, samples=3)
    convolution = gpu.convolution.plan(Geometry(*geometry, dtype=np.float64))
    convolution.chunk = chunk
    close(passes(gpu, convolution, arguments(case)), exact(geometry, case))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape, filters, size, stride, padding", TRANSPOSED)
def test_transposed_convolutions_equal_those_of_the_cpu(
    library: str, gpu: Kernels, random: np.random.Generator, dtype: type, shape: Any, filters: int, size: int,
    stride: int, padding: int,
) -> None:  # fmt: skip
    geometry = Geometry(shape, filters, (size, size), stride, padding, dtype)
    cpu = transposed_convolution.plan(geometry)
    shapes = [(2, *shape), (filters, size, size, shape[2]), (filters,), (2, *cpu.output_shape)]
    arrays = [random.standard_normal(extents).astype(dtype) for extents in shapes]
    in_float64 = transposed_convolution.plan(geometry._replace(dtype=np.float64))
    expected = passes(kernels.load("cpu"), in_float64, [array.astype(np.float64) for array in arrays])
    layer = gpu.transposed_convolution.plan(geometry)
    assert layer.output_shape == cpu.output_shape
    close(passes(gpu, layer, arrays), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("samples, inputs, outputs", FULLY)
def test_fully_connected_equals_that_of_the_cpu(
    library: str, gpu: Kernels, random: np.random.Generator, dtype: type, samples: int, inputs: int, outputs: int
) -> None:
    shapes = [(samples, inputs), (outputs, inputs), (outputs,), (samples, outputs)]
    arrays = [random.standard_normal(extents).astype(dtype) for extents in shapes]
    expected = passes(kernels.load("cpu"), fully_connected, [array.astype(np.float64) for array in arrays])
    close(passes(gpu, gpu.fully_connected, arrays), expected)


@pytest.mark.parametrize("rows, columns", [(100000, 3), (5000, 70), (1, 1), (513, 64), (2049, 96)])
def test_biases(gpu: Kernels, random: np.random.Generator, rows: int, columns: int) -> None:
    from minidl.kernels.gpu import bias

    matrix, biases = random.standard_normal((rows, columns)), random.standard_normal(columns)
    (out,) = poisoned(gpu, [biases])
    added = gpu.xp.asarray(matrix)
    bias.sums(added, out)
    np.testing.assert_allclose(gpu.host(out), matrix.sum(axis=0), atol=1e-9)
    bias.add(gpu.xp.asarray(biases), added)
    np.testing.assert_allclose(gpu.host(added), matrix + biases, rtol=1e-15)


def halves(x: Array) -> Array:
    """Return float32 rounded to bfloat16, by float64 arithmetic."""
    _, exponent = np.frexp(x.astype(np.float64))
    least = np.maximum(exponent, -125) - 8  # the weight of the last bit that is kept, also of subnormal numbers
    return np.ldexp(np.rint(np.ldexp(x.astype(np.float64), -least)), least).astype(np.float32)


def test_bfloat16(gpu: Kernels, random: np.random.Generator) -> None:
    from minidl.kernels.gpu import bf16

    values = (random.standard_normal(2000) * 10.0 ** random.integers(-44, 37, 2000)).astype(np.float32)
    ties = np.array([1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8), 0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)
    x = np.concatenate([values, ties])
    back = gpu.xp.full(x.shape, 7, np.float32)
    bf16.widen(bf16.narrow(gpu.xp.asarray(x)), back)
    with np.errstate(invalid="ignore", over="ignore"):
        np.testing.assert_array_equal(gpu.host(back), np.where(np.isfinite(x), halves(x), x))


@pytest.mark.parametrize("precision, error", [("fp32", 2e-5), ("tf32", 1e-3), ("bf16", 8e-3)])
def test_precisions(library: str, gpu: Kernels, precision: str, error: float) -> None:
    """Each precision makes errors of its own size, and none where the operands fit into it."""
    kernels.load("gpu", precision)
    geometry = ((8, 9, 16), 8, (3, 3), 1, 1)
    case = Case(geometry, samples=4, dtype=np.float32)
    convolution = gpu.convolution.plan(Geometry(*geometry))
    for fitting in (False, True):
        if fitting:
            for array in (case.data, case.weights, case.error):
                array[...] = halves(array)
        results, expected = passes(gpu, convolution, arguments(case)), exact(geometry, case)
        errors = [relative(result, wanted) for result, wanted in zip(results[:3], expected[:3], strict=True)]
        assert max(errors) < (2e-5 if fitting else error)
        # A card is free to multiply small arrays exactly.
        assert fitting or precision == "fp32" or not EMULATED or min(errors) > error / 10


def test_float64_is_never_rounded(library: str, gpu: Kernels) -> None:
    kernels.load("gpu", "bf16")
    case = Case(SOME[1], samples=2)
    convolution = gpu.convolution.plan(Geometry(*SOME[1], dtype=np.float64))
    close(passes(gpu, convolution, arguments(case)), exact(SOME[1], case))


def test_precisions_that_cannot_be(gpu: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MinidlError, match=r"'fp8' is unknown; use fp32, tf32, bf16"):
        kernels.load("gpu", "fp8")
    with pytest.raises(MinidlError, match="the CPU computes in fp32, not in tf32"):
        kernels.load("cpu", "tf32")
    assert kernels.load("cpu", "fp32").precision == kernels.load("cpu").precision == "fp32"
    assert kernels.load("gpu").precision == "fp32"
    from minidl.kernels.gpu import products

    monkeypatch.setattr(products, "TENSOR_CORES", 10_000)
    with pytest.raises(MinidlError, match="this GPU has no bf16"):
        kernels.load("gpu", "bf16")


def test_an_unknown_way(gpu: Kernels) -> None:
    with pytest.raises(MinidlError, match=r"unknown algorithm .* 'fast'"):
        gpu.convolution.plan(Geometry((4, 9, 1), 2, (3, 3)), algorithm="fast")


emulated = pytest.mark.skipif(not EMULATED, reason="needs the stand-in for cuDNN")


@emulated
@pytest.mark.parametrize("library", ["cuDNN"], indirect=True)
class TestCudnn:
    """What cuDNN is asked, seen by its stand-in."""

    def refuse(self, monkeypatch: pytest.MonkeyPatch, refused: Any) -> None:
        from minidl.kernels.gpu import cudnn

        cudnn.product.cache_clear()
        monkeypatch.setattr(stand_in, "UNSUPPORTED", [refused])

    def test_a_plan_is_made_once_for_each_shape(self, library: str, gpu: Kernels) -> None:
        geometry = ((5, 6, 4), 7, (3, 3), 1, 1)
        convolution = gpu.convolution.plan(Geometry(*geometry))
        counts = []
        for samples in (4, 4, 3, 4):
            before = len(stand_in.built)
            passes(gpu, convolution, arguments(Case(geometry, samples, np.float32)))
            counts.append(len(stand_in.built) - before)
        assert counts == [3, 0, 3, 0]

    def test_what_engines_may_not_do(self, library: str, gpu: Kernels) -> None:
        notes = stand_in.numerical_note
        for precision, barred in (
            ("fp32", {notes.NONDETERMINISTIC, notes.DOWN_CONVERT_INPUTS, notes.TENSOR_CORE}),
            ("tf32", {notes.NONDETERMINISTIC, notes.DOWN_CONVERT_INPUTS}),
            ("bf16", {notes.NONDETERMINISTIC}),
        ):
            kernels.load("gpu", precision)
            geometry = ((5, 6, 4), 9, (3, 3), 1, 1)
            before = len(stand_in.built)
            passes(gpu, gpu.convolution.plan(Geometry(*geometry)), arguments(Case(geometry, 2, np.float32)))
            assert [graph.barred for graph in stand_in.built[before:]] == [barred] * 3

    def test_where_it_has_no_engine_im2col_computes_and_says_so_once(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.refuse(monkeypatch, lambda graph: graph.name == "dgrad")
        geometry = ((5, 6, 3), 11, (3, 3), 2, 1)
        case = Case(geometry, 2, np.float32)
        convolution = gpu.convolution.plan(Geometry(*geometry))
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                close(passes(gpu, convolution, arguments(case)), exact(geometry, case))
        assert [record.message.split(" of ")[0] for record in caplog.records] == ["cuDNN has no engine for dgrad"]

    def test_where_bfloat16_cannot_become_float32_outputs_are_rounded(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.refuse(
            monkeypatch,
            lambda graph: graph.name == "wgrad" and graph.out.data_type is not graph.inputs[0].data_type,
        )
        kernels.load("gpu", "bf16")
        geometry = ((5, 6, 3), 12, (3, 3), 2, 1)
        case = Case(geometry, 2, np.float32)
        results = passes(gpu, gpu.convolution.plan(Geometry(*geometry)), arguments(case))
        np.testing.assert_array_equal(results[2], halves(results[2]))
        assert (results[0] != halves(results[0])).any()
        close(results[:3], exact(geometry, case)[:3], 5e-3)

    @pytest.mark.parametrize("failure", [RuntimeError("Unable to find symbol cudnnCreate\nmore"), OSError("no file")])
    def test_a_cudnn_that_does_not_work_is_left_alone(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, failure: Exception
    ) -> None:
        from minidl.kernels.gpu import cudnn, products

        def fail(*_: Any) -> None:
            raise failure

        monkeypatch.setattr(cudnn, "product", fail)
        products.cudnn_fails.cache_clear()
        try:
            assert products.cudnn_fails() == str(failure).split("\n")[0]
            assert products.cudnn_fails() in products.describe()
            monkeypatch.setattr(cudnn, "product", lambda *_: lambda first, second, out: None)
            products.cudnn_fails.cache_clear()
            assert products.cudnn_fails() == "wrong results"
        finally:
            products.cudnn_fails.cache_clear()
