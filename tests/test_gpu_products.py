"""Convolutions and fully connected layers on the GPU, by either library, against the plain convolution."""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import EMULATED, needs_cudnn
from test_convolution_kernels import LARGE, OTHERS, STRIDE_1, Case, relative

from minidl import kernels
from minidl.kernels import Kernels
from minidl.kernels.cpu import fully_connected, transposed_convolution
from minidl.kernels.cpu.convolution import Geometry
from minidl.kernels.cpu.convolution import plan as plan_on_cpu
from minidl.kernels.errors import MinidlError

if EMULATED:
    import cudnn as stand_in

    ERRORS = [
        stand_in.cudnnGraphNotSupportedError("no way\nand more"), RuntimeError("no way"), ValueError("no way"),
        TypeError("no way"), AssertionError("no way"), OSError("no way"), DeprecationWarning("no way"),
    ]  # fmt: skip
else:
    ERRORS = []

Array = Any
SOME = [*STRIDE_1[::5], *OTHERS[::9], *OTHERS[-5:], LARGE[4]]
FULLY = [(50, 37, 10), (1, 5, 3), (7, 64, 128), (3, 1, 1)]  # samples, in, out
TRANSPOSED = [((5, 4, 3), 6, 3, 2, 0), ((4, 4, 33), 40, 7, 2, 0), ((3, 3, 4), 4, 2, 2, 0), ((4, 5, 2), 3, 3, 1, 1)]


@pytest.fixture(params=["cuBLAS", "cuDNN"])
def library(request: pytest.FixtureRequest, gpu: Kernels) -> Any:
    """Let each of the two libraries compute the products."""
    from minidl.kernels.gpu import products

    if request.param == "cuDNN":
        needs_cudnn()
    before = products.library()
    products.choose(library=request.param)
    yield request.param
    products.choose("fp32", library=before)


def on(gpu: Kernels, arrays: list[Array]) -> list[Array]:
    return [gpu.xp.asarray(array) for array in arrays]


def poisoned(gpu: Kernels, arrays: list[Array]) -> list[Array]:
    return [gpu.xp.full(array.shape, np.nan, array.dtype) for array in arrays]


def passes(gpu: Kernels, layer: Any, arrays: list[Array]) -> list[Array]:
    """Return the output of a layer, and the gradients of data, weights and biases, given these and the error."""
    data, weights, biases, error = on(gpu, arrays)
    out, data_error, weights_grads, biases_grads = results = poisoned(gpu, [error, data, weights, biases])
    layer.forward(data, weights, biases, out)
    layer.backward(error, weights, data_error)
    layer.comp_grads(error, data, weights_grads, biases_grads)
    return [gpu.host(result) for result in results]


def arguments(case: Case) -> list[Array]:
    return [case.data, case.weights, case.biases, case.error]


def exact(geometry: tuple[Any, ...], case: Case) -> list[Array]:
    """Return the results of the plain convolution for a case in float64."""
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
    least = np.maximum(exponent, -125) - 8  # the value of the last bit that is kept, even for subnormal numbers
    return np.ldexp(np.rint(np.ldexp(x.astype(np.float64), -least)), least).astype(np.float32)


def test_bfloat16(gpu: Kernels, random: np.random.Generator) -> None:
    from minidl.kernels.gpu import bf16, bias

    values = (random.standard_normal(2000) * 10.0 ** random.integers(-44, 37, 2000)).astype(np.float32)
    ties = np.array([1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8), 0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)
    x = np.concatenate([values, ties])
    back = gpu.xp.full(x.shape, 7, np.float32)
    bias.widen(bf16.narrow(gpu.xp.asarray(x)), None, back)
    with np.errstate(invalid="ignore", over="ignore"):
        np.testing.assert_array_equal(gpu.host(back), np.where(np.isfinite(x), halves(x), x))


@pytest.mark.parametrize("precision, error", [("fp32", 2e-5), ("tf32", 1e-3), ("bf16", 8e-3)])
def test_precisions(library: str, gpu: Kernels, precision: str, error: float) -> None:
    """Each precision has errors of a typical size, and none if the operands are exact in it."""
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
        rounded = precision == "bf16" and library == "cuDNN"  # the results, too
        assert max(errors) < (error if rounded or not fitting else 2e-5)
        if rounded and fitting:
            for result, wanted, added in zip(results[:3], expected[:3], (case.biases, 0, 0), strict=True):
                bound = 2**-8 * np.abs(wanted - added) + 2e-5 * np.abs(wanted).max()
                assert (np.abs(result - wanted) <= bound).all()
        # A GPU may multiply small arrays exactly.
        assert fitting or precision == "fp32" or not EMULATED or min(errors) > error / 10


def test_float64_is_never_rounded(library: str, gpu: Kernels) -> None:
    kernels.load("gpu", "bf16")
    case = Case(SOME[1], samples=2)
    convolution = gpu.convolution.plan(Geometry(*SOME[1], dtype=np.float64))
    close(passes(gpu, convolution, arguments(case)), exact(SOME[1], case))


def test_precisions_that_a_gpu_lacks_are_refused(gpu: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MinidlError, match=r"'fp8' is unknown; use fp32, tf32 or bf16"):
        kernels.load("gpu", "fp8")
    with pytest.raises(MinidlError, match="the CPU computes in fp32, not in tf32"):
        kernels.load("cpu", "tf32")
    assert kernels.load("cpu", "fp32").precision == kernels.load("cpu").precision == "fp32"
    assert kernels.load("gpu").precision == "fp32"
    from minidl.kernels.gpu import products

    monkeypatch.setattr(products, "TENSOR_CORES", 10_000)
    with pytest.raises(MinidlError, match="this GPU has no bf16"):
        kernels.load("gpu", "bf16")


def test_an_unknown_algorithm_is_refused(gpu: Kernels) -> None:
    with pytest.raises(MinidlError, match=r"the algorithm 'fast' of a convolution is unknown; use "):
        gpu.convolution.plan(Geometry((4, 9, 1), 2, (3, 3)), algorithm="fast")


emulated = pytest.mark.skipif(not EMULATED, reason="needs the stand-in for cuDNN")


def of_product(folder: Path) -> Path:
    """Return the file with the plan of the product that ``TestCudnn.planned`` computes."""
    (file,) = (file for file in folder.glob("*/*.json") if "((2, 4, 4, 8), (8, 1, 1, 8)" in file.read_text())
    return file


def anew(plans: Any) -> None:
    """Forget the choices of this process, like a new process."""
    plans.plans.cache_clear()
    plans._made.clear()


@emulated
@pytest.mark.parametrize("library", ["cuDNN"], indirect=True)
class TestCudnn:
    """The calls of cuDNN, as the stand-in sees them."""

    @pytest.fixture(autouse=True)
    def fresh(self, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        """Forget what was planned and tried, before and after a test."""
        from minidl.kernels.gpu import cudnn, plans, products

        monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
        anew(plans)
        cudnn._tried.clear()
        forgotten = cudnn.product, cudnn.relu_keeps_nan, products.probe, products.say_once, plans.plans
        for function in forgotten:
            function.cache_clear()
        yield
        for function in forgotten:
            function.cache_clear()

    def fail(self, monkeypatch: pytest.MonkeyPatch, fails: Callable[[Any, str], Exception | None]) -> None:
        monkeypatch.setattr(stand_in, "FAILS", [fails])

    def test_a_plan_is_made_once_for_each_shape(self, library: str, gpu: Kernels) -> None:
        geometry = ((5, 6, 4), 7, (3, 3), 1, 1)
        convolution = gpu.convolution.plan(Geometry(*geometry))
        counts = []
        for samples in (4, 4, 3, 4):
            before = len(stand_in.built)
            passes(gpu, convolution, arguments(Case(geometry, samples, np.float32)))
            counts.append(len(stand_in.built) - before)
        assert counts == [3, 0, 3, 0]

    def test_engines_that_round_or_are_not_repeatable_are_ruled_out(self, library: str, gpu: Kernels) -> None:
        notes = stand_in.numerical_note
        for precision, barred in (
            ("fp32", {notes.DOWN_CONVERT_INPUTS, notes.TENSOR_CORE}),
            ("tf32", {notes.DOWN_CONVERT_INPUTS}),
            ("bf16", set()),
        ):
            always = {notes.NONDETERMINISTIC, notes.REDUCED_PRECISION_REDUCTION}
            kernels.load("gpu", precision)
            geometry = ((5, 6, 4), 9, (3, 3), 1, 1)
            before = len(stand_in.built)
            passes(gpu, gpu.convolution.plan(Geometry(*geometry)), arguments(Case(geometry, 2, np.float32)))
            assert [graph.barred for graph in stand_in.built[before:]] == [barred | always] * 3

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("step", stand_in.STEPS if EMULATED else [])
    def test_where_it_has_no_plan_im2col_computes_and_says_so_once(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
        step: str, error: Exception,
    ) -> None:  # fmt: skip
        self.fail(monkeypatch, lambda graph, now: error if (graph.name, now) == ("dgrad", step) else None)
        geometry = ((5, 6, 3), 11, (3, 3), 2, 1)
        case = Case(geometry, 2, np.float32)
        convolution = gpu.convolution.plan(Geometry(*geometry))
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                close(passes(gpu, convolution, arguments(case)), exact(geometry, case))
        (record,) = caplog.records
        why = "none of its plans can be built" if step == "build_plan_at_index" else "no way"
        assert re.match(rf"cuDNN has no engine for dgrad of .* in fp32, and im2col computes it: {why}$", record.message)

    def test_a_lack_of_memory_does_not_change_the_library(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from minidl.kernels.gpu import products

        self.fail(monkeypatch, lambda graph, step: MemoryError())
        case = Case(((5, 6, 3), 11, (3, 3), 2, 1), 2, np.float32)
        with pytest.raises(MemoryError):
            passes(gpu, gpu.convolution.plan(Geometry((5, 6, 3), 11, (3, 3), 2, 1)), arguments(case))
        with pytest.raises(MemoryError):
            products.probe("tf32")

    @pytest.mark.parametrize("samples_of_both", [True, False])
    def test_in_bf16_results_are_rounded_too_and_each_operand_once_a_step(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, samples_of_both: bool
    ) -> None:
        from minidl.kernels.gpu import bf16

        narrowed: list[Array] = []
        narrow = bf16.narrow
        monkeypatch.setattr(bf16, "narrow", lambda array: narrowed.append(array) or narrow(array))
        kernels.load("gpu", "bf16")
        geometry = ((5, 6, 3), 12, (3, 3), 2, 1)
        convolution = gpu.convolution.plan(Geometry(*geometry))
        case = Case(geometry, 2, np.float32)
        data, weights, biases, error = on(gpu, arguments(case))
        out, back, grads, sums = poisoned(gpu, [error, data, weights, biases])
        convolution.forward(data, weights, biases, out)
        convolution.comp_grads(error, data, grads, sums)
        convolution.backward(error, weights, back)
        narrowed.clear()  # the probe's, and the trials'
        for factor in (1, 3):  # at the same addresses: another step finds other numbers there
            for array, on_device in ((case.data, data), (case.weights, weights), (case.error, error)):
                array *= factor
                on_device *= factor
            convolution.forward(data, weights, biases, out)
            convolution.comp_grads(error, data, grads, sums)
            if samples_of_both:
                convolution.backward(error, weights, back)
            wanted = exact(geometry, case)
            results = [gpu.host(result) for result in (out - biases, back, grads)]
            close([results[2]], [wanted[2]], 8e-3)
            close([results[0]], [wanted[0] - case.biases], 8e-3)
            np.testing.assert_array_equal(results[2], halves(results[2]))
            if samples_of_both:
                close([results[1]], [wanted[1]], 8e-3)
        assert len(narrowed) == 6

    def test_backward_and_comp_grads_read_the_new_error(
        self, library: str, gpu: Kernels, random: np.random.Generator
    ) -> None:
        """Also with two layers of one shape, which share a plan."""
        kernels.load("gpu", "bf16")
        data, others, weights, more, first, second = (
            gpu.xp.asarray(halves(random.standard_normal(shape)))
            for shape in [(5, 4), (5, 4), (3, 4), (3, 4), (5, 3), (5, 3)]
        )
        biases, out = gpu.xp.zeros(3, np.float32), gpu.xp.empty((5, 3), np.float32)
        back, grads, sums = gpu.xp.empty_like(data), gpu.xp.empty_like(weights), gpu.xp.empty_like(biases)
        layer = gpu.fully_connected
        for x, w in ((data, weights), (others, more)):
            layer.forward(x, w, biases, out)
        for x, w, error in ((others, more, first), (others, more, second), (data, weights, first)):
            layer.comp_grads(error, x, grads, sums)
            layer.backward(error, w, back)
            close([gpu.host(grads)], [gpu.host(error).T.astype(float) @ gpu.host(x)], 8e-3)
            close([gpu.host(back)], [gpu.host(error).astype(float) @ gpu.host(w)], 8e-3)

    def test_where_results_cannot_be_rounded_they_are_float32(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        half = stand_in.data_type.BFLOAT16
        self.fail(monkeypatch, lambda graph, step: ERRORS[0] if graph.out.data_type is half else None)
        kernels.load("gpu", "bf16")
        geometry = ((5, 6, 8), 16, (3, 3), 2, 1)  # without 8 channels, there would be no engine
        case = Case(geometry, 2, np.float32)
        results = passes(gpu, gpu.convolution.plan(Geometry(*geometry)), arguments(case))
        assert (results[0] != halves(results[0])).any()
        close(results[:3], exact(geometry, case)[:3], 5e-3)

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    @pytest.mark.parametrize("loses_nan", [False, True])
    @pytest.mark.parametrize("with_engine", [False, True])
    def test_biases_and_relu_come_with_the_product(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, precision: str, loses_nan: bool,
        with_engine: bool,
    ) -> None:  # fmt: skip
        """In one graph, or in separate passes if cuDNN has no engine for it, or if its ReLU does not keep nan."""
        from minidl.kernels.gpu import bias, cudnn

        added: list[str] = []
        for name in ("add", "widen"):
            function = getattr(bias, name)
            monkeypatch.setattr(bias, name, lambda *args, f=function, n=name: added.append(n) or f(*args))
        monkeypatch.setattr(stand_in, "loses_nan", loses_nan)
        if not with_engine:
            self.fail(monkeypatch, lambda graph, step: ERRORS[0] if graph.biases else None)
        kernels.load("gpu", precision)
        if precision != "bf16":
            cudnn.relu_keeps_nan(precision)
        geometry = ((5, 6, 8), 9, (3, 3), 1, 1)
        case = Case(geometry, 2, np.float32)
        data, weights, biases = on(gpu, [case.data, case.weights, case.biases])
        convolution = gpu.convolution.plan(Geometry(*geometry))
        wanted = exact(geometry, case)[0]
        data[0, 0, 0, 0] = np.nan
        for relu in (False, True):
            (out,) = poisoned(gpu, [case.error])
            convolution.forward(data, weights, biases, out, relu)  # the first one chooses a plan
            added.clear()
            convolution.forward(data, weights, biases, out, relu)
            result = gpu.host(out)
            known = ~np.isnan(result)
            assert 0 < (~known).sum() <= 4 * 9
            close([result[known]], [(np.maximum(wanted, 0) if relu else wanted)[known]], 8e-3)
            if precision == "bf16":
                assert added == ["widen"]
            else:
                assert added == ([] if with_engine and not (relu and loses_nan) else ["add"])

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("operation", ["fprop", "dgrad", "wgrad"])
    def test_a_cudnn_that_does_not_work_is_not_used(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
        operation: str, error: Exception,
    ) -> None:  # fmt: skip
        from minidl.kernels.gpu import products

        products.choose("bf16")
        monkeypatch.setitem(products._chosen, "library", None)
        half = stand_in.data_type.BFLOAT16

        def fails(graph: Any, step: str) -> Exception | None:
            return error if (graph.name, graph.io_data_type) == (operation, half) else None

        self.fail(monkeypatch, fails)
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert products.library() == "cuBLAS"
                assert products.describe() == "products by cuBLAS in bf16 (cuDNN: no way)"
        (record,) = caplog.records
        assert re.match("cuDNN cannot be used, and im2col .*: no way$", record.message)
        products.choose("fp32")
        assert products.library() == "cuDNN"

    def test_wrong_results(self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
        from minidl.kernels.gpu import products

        monkeypatch.setattr(stand_in.pygraph, "execute_plan_at_index", lambda *_, **__: None)
        assert products.probe("tf32") == "none of its plans is right: nan, nan off"

    @pytest.mark.parametrize("error", ["ValueError", "AssertionError", "TypeError", "ImportError", "UserWarning"])
    def test_a_frontend_that_cannot_be_imported(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: str
    ) -> None:
        import minidl.kernels.gpu
        from minidl.kernels.gpu import products

        (tmp_path / "cudnn.py").write_text(f"raise {error}('no way')")
        monkeypatch.syspath_prepend(tmp_path)
        for name in ("cudnn", "minidl.kernels.gpu.cudnn"):
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(minidl.kernels.gpu, "cudnn")
        assert products.probe("tf32") == "no way"

    def planned(self, gpu: Kernels) -> Callable[[], list[str]]:
        """Return a function that computes a product, planned again, and returns the plans that ran."""
        from minidl.kernels.gpu import cudnn

        shapes = (2, 4, 4, 8), (8, 1, 1, 8), (2, 4, 4, 8)
        first, second, out = (gpu.xp.ones(shape, np.float32) for shape in shapes)

        def run() -> list[str]:
            product = cudnn.Product("fprop", *shapes, (1, 1), (0, 0), "tf32")
            for _ in range(2):
                stand_in.executed.clear()
                product(first, second, out)
                assert (gpu.host(out) == 8).all()
            return stand_in.executed

        return run

    def test_the_fastest_plan_is_kept_for_all_runs(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        from minidl.kernels.gpu import plans

        run = self.planned(gpu)
        monkeypatch.setitem(stand_in.seconds, "eng1_a", 2.0)
        monkeypatch.setitem(stand_in.seconds, "eng1_b", 1.0)
        assert run() == ["eng1_b"]
        monkeypatch.setitem(stand_in.seconds, "eng1_b", 3.0)
        assert run() == ["eng1_b"]
        anew(plans)
        built = len(stand_in.built)
        assert run() == ["eng1_b"]
        assert stand_in.built[built].plans == [2]  # nothing else is even built
        file = of_product(tmp_path)
        file.write_text(file.read_text().replace("eng1_b", "eng9"))  # plans of another version
        anew(plans)
        assert run() == ["eng1_a"]

    @pytest.mark.parametrize(
        ("precision", "inexact", "chosen"),
        [("fp32", {"eng1_a"}, "eng1_b"), ("fp32", {"eng1_a", "eng1_b"}, None), ("tf32", {"eng1_a"}, "eng1_a")],
        ids=["one rounds", "all round", "all may round"],
    )
    @pytest.mark.parametrize("behind", ["", "biases and ReLU"])
    def test_a_plan_that_rounds_operands_is_not_used_for_fp32(
        self,
        library: str,
        gpu: Kernels,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        precision: str,
        inexact: set[str],
        chosen: str | None,
        behind: str,
    ) -> None:
        from minidl.kernels.gpu import cudnn

        monkeypatch.setitem(stand_in.seconds, "eng1_b", 1.0)
        monkeypatch.setattr(stand_in, "inexact", inexact)
        data, weights, output = (3, 4, 7, 5), (6, 5, 3, 5), (3, 2, 7, 6)
        shapes = {"fprop": (data, weights, output), "dgrad": (output, weights, data), "wgrad": (data, output, weights)}
        for operation, (first, second, out) in shapes.items():
            after = behind if operation == "fprop" else ""
            product = cudnn.Product(operation, first, second, out, (2, 1), (2, 1), precision, after, bool(after))
            zeros = [gpu.xp.zeros(shape, np.float32) for shape in (first, second, out)]  # so that every plan is exact
            assert product.has_plan() == (chosen is not None)
            if chosen:
                product(*zeros, gpu.xp.ones(out[-1], np.float32))
                assert stand_in.executed[-1] == chosen, operation
        assert ("im2col computes it: none of its plans is right" in caplog.text) == (chosen is None)

    @pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
    @pytest.mark.parametrize("plans", [("eng0", "eng1_a", "eng1_b"), ("eng0", "eng1_b")], ids=["of two", "alone"])
    def test_a_plan_with_wrong_results_is_never_used(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, precision: str, plans: tuple[str, ...]
    ) -> None:
        compute = stand_in.pygraph._compute

        def wrong(graph: Any, arrays: Any, workspace: int, plan: str) -> None:
            compute(graph, arrays, workspace, plan)
            if plan == "eng1_b" and graph.out.dim[2] > 1:  # but not in the probe
                out = graph.out.at(arrays[graph.out.uid])
                out[...] = 0x3F80 if out.dtype == np.uint16 else 1.2 * out

        monkeypatch.setattr(stand_in.pygraph, "_compute", wrong)
        monkeypatch.setattr(stand_in, "PLANS", plans)
        monkeypatch.setitem(stand_in.seconds, "eng1_a", 1.0)
        kernels.load("gpu", precision)
        geometry = ((5, 6, 8), 8, (3, 3), 1, 1)
        case = Case(geometry, 2, np.float32)
        results = passes(gpu, gpu.convolution.plan(Geometry(*geometry)), arguments(case))
        close(results, exact(geometry, case), {"fp32": 1e-5, "tf32": 2e-3, "bf16": 2e-2}[precision])

    def test_operands_of_a_trial_are_different_random_numbers(self, library: str, gpu: Kernels) -> None:
        """Otherwise sums of squares, which are large, would hide the errors of the other sums."""
        from minidl.kernels.gpu import trial

        arrays = [gpu.host(trial.random((50_000,), number)) for number in (1, 2, 3)]
        for i, one in enumerate(arrays):
            for other in arrays[i + 1 :]:
                for shift in (0, 1, 999, 1000, 2000):
                    assert abs(np.corrcoef(one[shift:], other[: len(other) - shift])[0, 1]) < 0.05

    @pytest.mark.parametrize("fault", ["does not run", "is wrong"])
    def test_a_kept_plan_that_no_longer_works_is_replaced(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, fault: str
    ) -> None:
        from minidl.kernels.gpu import plans

        run = self.planned(gpu)
        monkeypatch.setitem(stand_in.seconds, "eng1_a", 1.0)
        assert run() == ["eng1_b"]
        anew(plans)
        compute = stand_in.pygraph._compute

        def faulty(graph: Any, arrays: Any, workspace: int, plan: str) -> None:
            if plan == "eng1_b" and fault == "does not run":
                raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")
            compute(graph, arrays, workspace, plan)
            if plan == "eng1_b":
                graph.out.at(arrays[graph.out.uid])[...] *= 2

        monkeypatch.setattr(stand_in.pygraph, "_compute", faulty)
        assert run() == ["eng1_a"]
        anew(plans)
        assert run() == ["eng1_a"]

    def test_a_lack_of_memory_in_a_trial_does_not_rule_out_plans(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from minidl.kernels.gpu import cudnn

        def no_memory(*_: Any, **__: Any) -> None:
            raise RuntimeError("CUDNN_STATUS_ALLOC_FAILED")

        product = cudnn.Product("fprop", (2, 4, 4, 8), (8, 1, 1, 8), (2, 4, 4, 8), (1, 1), (0, 0), "fp32")
        with monkeypatch.context() as moment:
            moment.setattr(stand_in.pygraph, "execute_plan_at_index", no_memory)
            assert product.has_plan()
        assert "without a trial, for which memory lacks" in caplog.text

    def test_plans_are_tried_for_a_few_shapes_of_the_data(self, library: str, gpu: Kernels) -> None:
        """Otherwise, with images of many sizes, planning would take longer than computing."""
        from minidl.kernels.gpu import cudnn

        before = len(stand_in.built)
        for samples in range(1, 8):
            shapes = (samples, 4, 4, 8), (16, 1, 1, 8), (samples, 4, 4, 16)
            product = cudnn.Product("fprop", *shapes, (1, 1), (0, 0), "fp32")
            product(*(gpu.xp.ones(shape, np.float32) for shape in shapes))
        assert [len(graph.plans) for graph in stand_in.built[before:]] == [2] * 4 + [1] * 3

    def test_a_long_product_is_not_tried_many_times(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from minidl.kernels.gpu import cudnn, trial

        monkeypatch.setattr(trial, "TIMES", 7)
        counts = []
        for samples, long in ((2, trial.LONG), (3, 1)):
            monkeypatch.setattr(trial, "LONG", long)
            shapes = (samples, 4, 4, 8), (8, 1, 1, 8), (samples, 4, 4, 8)
            product = cudnn.Product("fprop", *shapes, (1, 1), (0, 0), "fp32")
            stand_in.executed.clear()
            assert product.has_plan()
            counts.append(len(stand_in.executed))
        assert counts == [2 * (1 + 7 * 2), 2 * (1 + 2)]  # two plans: for the result, to warm up, and to be timed

    @pytest.mark.parametrize("raised", ["RuntimeError", "cudnnGraphNotSupportedError"])
    @pytest.mark.parametrize("which", [{"eng1_a"}, {"eng1_a", "eng1_b", "eng2_compiled"}], ids=["one", "all"])
    def test_a_plan_that_does_not_run_is_left_out(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, raised: str, which: set[str]
    ) -> None:
        execute = stand_in.pygraph.execute_plan_at_index
        kind = getattr(stand_in, raised, RuntimeError)

        def fails(graph: Any, arrays: Any, workspace: int, index: int, handle: int) -> None:
            if stand_in.PLANS[index] in which and graph.out.dim[2] > 1:
                raise kind("CUDNN_STATUS_EXECUTION_FAILED")
            execute(graph, arrays, workspace, index, handle)

        monkeypatch.setattr(stand_in.pygraph, "execute_plan_at_index", fails)
        geometry = ((5, 6, 8), 8, (3, 3), 1, 1)
        case = Case(geometry, 2, np.float32)
        close(passes(gpu, gpu.convolution.plan(Geometry(*geometry)), arguments(case)), exact(geometry, case))

    def test_a_short_lack_of_memory_does_not_rule_out_cudnn(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        case = Case(((5, 6, 3), 11, (3, 3), 2, 1), 2, np.float32)
        convolution = gpu.convolution.plan(Geometry((5, 6, 3), 11, (3, 3), 2, 1))
        with monkeypatch.context() as moment:
            self.fail(moment, lambda graph, step: RuntimeError("[cudnn_frontend] Error: CUDNN_STATUS_ALLOC_FAILED"))
            with pytest.raises(MemoryError, match="too little memory"):
                passes(gpu, convolution, arguments(case))
        before = len(stand_in.built)
        passes(gpu, convolution, arguments(case))
        assert len(stand_in.built) == before + 3

    def test_no_memory_for_a_trial(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from minidl.kernels.gpu import cudnn, trial

        def no_memory(shape: Any, first: int) -> Any:
            raise MemoryError("none left")

        shapes = (2, 4, 4, 8), (8, 1, 1, 8), (2, 4, 4, 8)
        first, second, out = (gpu.xp.ones(shape, np.float32) for shape in shapes)
        product = cudnn.Product("fprop", *shapes, (1, 1), (0, 0), "fp32")
        monkeypatch.setattr(trial, "random", no_memory)
        product(first, second, out)
        assert (gpu.host(out) == 8).all()
        assert stand_in.executed[-1] == "eng1_a"
        assert "none left" in caplog.text

    @pytest.mark.parametrize("content", ["", "[1]", "{", None])
    def test_a_file_of_plans_that_cannot_be_used(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        from minidl.kernels.gpu import plans

        run = self.planned(gpu)
        run()
        file = of_product(tmp_path)
        if content is None:
            (tmp_path / "no folder").write_text("")
            monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "no folder"))
        else:
            file.write_text(content)
        anew(plans)
        monkeypatch.setitem(stand_in.seconds, "eng1_a", 1.0)
        assert run() == run() == ["eng1_b"]
        assert len(caplog.records) == (content is None)

    def test_a_plan_that_can_no_longer_be_built_is_replaced_for_all_runs(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        from minidl.kernels.gpu import plans

        run = self.planned(gpu)
        monkeypatch.setitem(stand_in.seconds, "eng1_a", 1.0)
        assert run() == ["eng1_b"]
        file = of_product(tmp_path)
        file.write_text(file.read_text().replace("eng1_b", "eng0"))  # the plan exists, but cannot be built
        anew(plans)
        assert run() == ["eng1_b"]
        assert list(json.loads(file.read_text()).values()) == ["eng1_b"]

    def test_a_resumed_run_uses_its_own_plans(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """And does not change those of the machine."""
        from minidl.kernels.gpu import plans

        run = self.planned(gpu)
        monkeypatch.setitem(stand_in.seconds, "eng1_a", 1.0)
        assert run() == ["eng1_b"]
        (name,) = (name for name in gpu.choices() if name.startswith("fprop ((2, 4, 4, 8), (8, 1, 1, 8)"))
        assert gpu.choices()[name] == "eng1_b"
        file = of_product(tmp_path)
        machine = file.read_text()
        try:
            gpu.choose({name: "eng1_a"})
            anew(plans)
            assert run() == ["eng1_a"]
            assert gpu.choices()[name] == "eng1_a"
            assert file.read_text() == machine
        finally:
            gpu.choose({})

    def test_a_checkpoint_has_the_plans(self, library: str, gpu: Kernels, tmp_path: Path) -> None:
        from minidl import models
        from minidl.experiment.saving import checkpoint
        from minidl.kernels.gpu import plans
        from minidl.optimizers import Adam

        net = models.build("c", classes=3, shape=(8, 8, 3), device="gpu")
        optimizer = Adam(net.parameters, net.kernels, learning_rate=1e-3)
        net.forward(gpu.xp.zeros((2, 8, 8, 3), np.float32))
        checkpoint.save(tmp_path / "saved", net, optimizer, 1)
        try:
            checkpoint.resume(tmp_path / "saved", net, optimizer)
            assert plans._taken == gpu.choices() != {}
        finally:
            gpu.choose({})

    def test_plans_are_tried_without_waiting_for_each(
        self, library: str, gpu: Kernels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If several processes share a device, each wait lasts until it is the turn of this process."""
        stream, waits = gpu.xp.cuda.Stream, []
        wait = stream.synchronize
        monkeypatch.setattr(stream, "synchronize", lambda self: waits.append(self) or wait(self))
        self.planned(gpu)()
        assert len(waits) == 2  # once for earlier work, and once for all trials

    def test_processes_agree_on_a_plan(self, library: str, gpu: Kernels, tmp_path: Path) -> None:
        from minidl.kernels.gpu.plans import Plans

        one, other = Plans(tmp_path / "plans"), Plans(tmp_path / "plans")
        assert one.keep("product", "a") == "a"
        assert other.keep("product", "b") == "a"
        assert other.keep("another", "b") == "b"
        assert (one.get("another"), one.get("third")) == ("b", None)
