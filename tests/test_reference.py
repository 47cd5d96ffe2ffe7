"""The reference: definitions compared with loops over elements, fast versions compared with definitions, trained nets.

The tests of all devices also cover the reference: test_kernels.py, test_normalize.py, test_data_norms.py,
test_optimizers.py and test_torch_layers.py. test_gpu_kernels.py compares the fast versions with it on more shapes.
"""

import ast
import doctest
import inspect
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from types import FrameType
from typing import Any, get_type_hints

import numpy as np
import pytest
import test_gpu_nets
from conftest import load
from test_gpu_kernels import both

from minidl import kernels
from minidl.kernels import MinidlError
from minidl.kernels.augment import Crops
from minidl.kernels.contract import MemoryPools, Operations, Plan, Prefetching
from minidl.kernels.parameter_state import ParameterState

REFERENCE = kernels.load("reference")
CONTRACT = get_type_hints(Operations)
MODULES = [*CONTRACT, "memory_pool", "prefetch", "windows"]
Array = np.ndarray[Any, Any]

# Data (y, x, in), filters, kernel size, stride, padding: odd, oblong, larger than images, pixels that no filter meets.
GEOMETRIES = [
    ((5, 4, 2), 3, (3, 2), (2, 1), (1, 2)),
    ((4, 7, 3), 2, (3, 3), 1, 1),
    ((6, 5, 1), 4, (1, 1), 3, 0),
    ((2, 1, 3), 2, (5, 5), 2, 2),
    ((9, 8, 2), 3, (2, 2), 2, 0),
]
TRANSPOSED = [
    ((3, 2, 2), 3, (3, 3), 2, 0),
    ((4, 3, 3), 2, (2, 2), 2, 0),
    ((2, 3, 1), 2, (5, 5), 3, 2),
    ((3, 3, 2), 2, (1, 1), 2, 0),
    ((5, 4, 2), 1, (3, 3), 1, 1),
]


# -- one contract -------------------------------------------------------------------------------------------------


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values() if p.name != "self"]


def promised(protocol: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(protocol).items():
        if not name.startswith("_") and inspect.isfunction(member):
            yield name, member


@pytest.mark.parametrize("name", CONTRACT)
@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
def test_every_device_keeps_the_contract(device: str, name: str) -> None:
    module, protocol = getattr(load(device), name), CONTRACT[name]
    for function, expected in promised(protocol):
        assert parameters(getattr(module, function)) == parameters(expected), function
    for attribute in get_type_hints(protocol):
        assert getattr(module, attribute) == getattr(getattr(REFERENCE, name), attribute)


@pytest.mark.parametrize("name", CONTRACT)
def test_functions_outside_the_contract_have_the_same_signature_on_all_devices(name: str) -> None:
    public: dict[str, list[Any]] = {}
    for device in ("reference", "cpu", "gpu"):
        module = getattr(load(device), name)
        for function, member in inspect.getmembers(module, inspect.isfunction):
            if not function.startswith("_") and member.__module__ == module.__name__:
                public.setdefault(function, []).append(parameters(member))
    assert all(signatures.count(signatures[0]) == len(signatures) for signatures in public.values())


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize("name", ["convolution", "transposed_convolution"])
def test_every_convolution_keeps_the_contract(device: str, name: str) -> None:
    operations = load(device)
    plan = getattr(operations, name).plan(operations.convolution.Geometry((4, 6, 13), 12, (3, 3), padding=1))
    for method, expected in promised(Plan):
        assert parameters(getattr(plan, method)) == parameters(expected), method
    assert plan.output_shape == (4, 6, 12)
    assert isinstance(plan.name, str)


# All that the fast devices take from the definitions: what is worked out when a net is set up.
BORROWED = {"cpu": {"convolution.Geometry"}, "gpu": {"convolution.Geometry"}}
# The checks that the fast convolutions inherit, and the type of a place in a window.
NO_ARITHMETIC = {"windows.index_type", "convolution.__init__", "transposed_convolution.__init__"}


def is_definition(member: Any) -> bool:
    return member.__module__.rpartition(".")[0] == "minidl.kernels"


@pytest.mark.parametrize("device", BORROWED)
def test_a_device_lists_what_it_takes_from_the_definitions(device: str) -> None:
    operations = load(device)
    borrowed = {
        f"{name}.{member}"
        for name, protocol in {**CONTRACT, "memory_pool": MemoryPools, "prefetch": Prefetching}.items()
        for member, _ in promised(protocol)
        if is_definition(getattr(getattr(operations, name), member))
    }
    assert borrowed == BORROWED[device]
    assert all(name in str(sys.modules[f"minidl.kernels.{device}"].__doc__) for name in borrowed)


@pytest.mark.parametrize("device", BORROWED)
@pytest.mark.parametrize("net", ["a", "d"])
def test_a_training_step_runs_no_definition(device: str, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a step of a test, except for the service."""
    definitions = {inspect.getfile(import_module(f"minidl.kernels.{name}")): name for name in MODULES}
    called: set[str] = set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename in definitions and code.co_name != "<genexpr>":
            called.add(f"{definitions[code.co_filename]}.{code.co_name}")

    few = test_gpu_nets.images(test_gpu_nets.NETS[net][1], test_gpu_nets.BATCH)
    monkeypatch.setattr(test_gpu_nets, "images", lambda size: few)
    operations = load(device)
    sys.setprofile(profile)
    try:
        test_gpu_nets.train(operations, net, np.float64)
    finally:
        sys.setprofile(None)
    service = {name for name in called if name.startswith("prefetch.")}
    assert called - service <= NO_ARITHMETIC
    assert bool(service) == (device == "gpu")


@pytest.mark.parametrize("name", MODULES)
def test_a_definition_needs_nothing_but_definitions(name: str) -> None:
    allowed = {f"minidl.kernels.{name}" for name in (*MODULES, "areas", "errors", "parameter_state", "running")}
    source = inspect.getsource(import_module(f"minidl.kernels.{name}"))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("minidl"):
            whole = node.module == "minidl.kernels"  # the package from which modules are imported
            assert {f"{node.module}.{name.name}" for name in node.names} <= allowed if whole else node.module in allowed


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_the_definitions(name: str) -> None:
    module = import_module(f"minidl.kernels.{name}")
    assert doctest.testmod(module, extraglobs={"np": np}).failed == 0


def test_there_are_examples_in_the_definitions() -> None:
    found = [doctest.DocTestFinder().find(import_module(f"minidl.kernels.{name}")) for name in MODULES]
    assert sum(bool(test.examples) for tests in found for test in tests) >= 7


def test_the_reference_refuses_what_it_cannot_compute() -> None:
    with pytest.raises(MinidlError, match="the reference computes in fp32, not in tf32"):
        kernels.load("reference", "tf32")
    with pytest.raises(MinidlError, match="the algorithm 'winograd' of a convolution is unknown; use plain"):
        REFERENCE.convolution.plan(REFERENCE.convolution.Geometry((4, 9, 1), 2, (3, 3)), "winograd")
    with pytest.raises(MinidlError, match="leaves nothing of an image of 4×9"):
        REFERENCE.convolution.plan(REFERENCE.convolution.Geometry((4, 9, 1), 2, (5, 5)))
    with pytest.raises(MinidlError, match="leaves nothing of an image of 1×1"):
        REFERENCE.transposed_convolution.plan(REFERENCE.convolution.Geometry((1, 1, 1), 2, (2, 2), 1, 1))


# -- the definitions, element by element --------------------------------------------------------------------------


def nan(*shape: int) -> Array:
    return np.full(shape, np.nan)


def three_passes(operations: Any, name: str, geometry: Any, arrays: tuple[Array, ...]) -> list[Array]:
    """Return the output, the error of the data and the gradients of weights and biases."""
    data, weights, biases, error = arrays
    plan = getattr(operations, name).plan(operations.convolution.Geometry(*geometry, dtype=np.float64))
    results = [operations.xp.full(array.shape, np.nan) for array in (error, data, weights, biases)]
    plan.forward(data, weights, biases, results[0])
    plan.backward(error, weights, results[1])
    plan.comp_grads(error, data, *results[2:])
    return results


def random_arrays(random: np.random.Generator, name: str, geometry: Any) -> tuple[Array, ...]:
    """Return data, weights, biases and an error for the three passes."""
    (y, x, channels), filters, kernel_size, *_ = geometry
    plan = getattr(REFERENCE, name).plan(REFERENCE.convolution.Geometry(*geometry))
    shapes = (2, y, x, channels), (filters, *kernel_size, channels), (filters,), (2, *plan.output_shape)
    return tuple(random.standard_normal(shape) for shape in shapes)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_convolution(random: np.random.Generator, geometry: Any) -> None:
    data, weights, biases, error = arrays = random_arrays(random, "convolution", geometry)
    out, *_ = results = three_passes(REFERENCE, "convolution", geometry, arrays)
    (height, width, _), _, kernel_size, stride, padding = geometry
    (ty, tx), (py, px) = (n if isinstance(n, tuple) else (n, n) for n in (stride, padding))
    expected = [np.zeros_like(result) for result in results]
    for s, y, x, o in np.ndindex(out.shape):
        expected[0][s, y, x, o] += biases[o]
        expected[3][o] += error[s, y, x, o]
        for i, j in np.ndindex(kernel_size):
            v, u = ty * y + i - py, tx * x + j - px
            if 0 <= v < height and 0 <= u < width:
                expected[0][s, y, x, o] += data[s, v, u] @ weights[o, i, j]
                expected[1][s, v, u] += error[s, y, x, o] * weights[o, i, j]
                expected[2][o, i, j] += error[s, y, x, o] * data[s, v, u]
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("geometry", TRANSPOSED, ids=str)
def test_transposed_convolution(random: np.random.Generator, geometry: Any) -> None:
    data, weights, biases, error = arrays = random_arrays(random, "transposed_convolution", geometry)
    out, *_ = results = three_passes(REFERENCE, "transposed_convolution", geometry, arrays)
    _, filters, kernel_size, stride, padding = geometry
    expected = [np.zeros_like(result) for result in results]
    expected[0] += biases
    expected[3] += error.sum((0, 1, 2))
    for s, y, x in np.ndindex(data.shape[:3]):
        for i, j, o in np.ndindex(*kernel_size, filters):
            v, u = stride * y + i - padding, stride * x + j - padding
            if 0 <= v < out.shape[1] and 0 <= u < out.shape[2]:
                expected[0][s, v, u, o] += data[s, y, x] @ weights[o, i, j]
                expected[1][s, y, x] += error[s, v, u, o] * weights[o, i, j]
                expected[2][o, i, j] += error[s, v, u, o] * data[s, y, x]
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("size, stride", [(2, 2), (3, 2), (2, 1), (1, 2), (3, 5)])
def test_average_pool(random: np.random.Generator, size: int, stride: int) -> None:
    data = random.standard_normal((2, 7, 8, 3))
    error = random.standard_normal((2, (7 - size) // stride + 1, (8 - size) // stride + 1, 3))
    out, back, expected_back = nan(*error.shape), nan(*data.shape), np.zeros(data.shape)
    REFERENCE.average_pool.forward(data, size, stride, out)
    REFERENCE.average_pool.backward(error, size, stride, back)
    for s, y, x, c in np.ndindex(out.shape):
        window = np.s_[s, y * stride : y * stride + size, x * stride : x * stride + size, c]
        assert out[s, y, x, c] == pytest.approx(data[window].mean())
        expected_back[window] += error[s, y, x, c] / size**2
    np.testing.assert_allclose(back, expected_back, atol=1e-14)


@pytest.mark.parametrize("into", [(9, 2), (1, 12), (4, 5)])
def test_resize(random: np.random.Generator, into: tuple[int, int]) -> None:
    data, out = random.standard_normal((2, 4, 5, 3)), nan(2, *into, 3)
    REFERENCE.resize.forward(data, out)
    for y, x in np.ndindex(into):
        v, u = (i * (m - 1) / max(n - 1, 1) for i, m, n in zip((y, x), (4, 5), into, strict=True))
        top, left = min(int(v), 2), min(int(u), 3)
        along_x = [(left + 1 - u) * data[:, row, left] + (u - left) * data[:, row, left + 1] for row in (top, top + 1)]
        np.testing.assert_allclose(out[:, y, x], (top + 1 - v) * along_x[0] + (v - top) * along_x[1], atol=1e-14)


def test_crops_with_masks(random: np.random.Generator) -> None:
    sizes = [(5, 9), (12, 4), (7, 7)]
    images, masks = [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes], []
    for size in sizes:
        masks.append(random.integers(0, 3, size, np.uint8))
        masks[-1][2, 2] = 255
    order, corners = np.array([1, 2, 0, 1]), np.array([(0, 0), (-3, 2), (1, -2), (-9, 30)])  # the last is outside
    colours, mirrored = np.rint(90 * random.standard_normal((4, 3))), np.array([True, False, True, False])
    position, mean = np.array([1]), np.array([10.0, 20.0, 30.0])
    out, labels = nan(3, 6, 7, 3), np.full((3, 6, 7), 99, np.int8)
    crops = Crops(position, order, corners, colours, mirrored)
    REFERENCE.augment.crop_with_masks(images, masks, crops, mean, 256.0, out, labels)
    assert position.tolist() == [4]
    for s, y, x in np.ndindex(labels.shape):
        i, (top, left), (height, width) = order[s + 1], corners[s + 1], sizes[order[s + 1]]
        v, u = top + y, left + (6 - x if mirrored[s + 1] else x)
        inside = 0 <= v < height and 0 <= u < width
        pixel = np.clip(images[i][v, u] + colours[s + 1], 0, 255) if inside else np.zeros(3)
        np.testing.assert_allclose(out[s, y, x], (pixel - mean) / 256, atol=1e-14)
        assert labels[s, y, x] == (-1 if not inside or masks[i][v, u] == 255 else masks[i][v, u])


@pytest.mark.parametrize("kind, variant", [("sgd", "dlib"), ("adam", "standard")])
def test_updates_as_in_pytorch(random: np.random.Generator, kind: str, variant: str) -> None:
    torch = pytest.importorskip("torch")
    weights, gradients = random.standard_normal((3, 4)), random.standard_normal((5, 3, 4))
    theirs = torch.nn.Parameter(torch.tensor(weights))
    optimizer = {
        "sgd": lambda: torch.optim.SGD([theirs], 0.05, momentum=0.9, weight_decay=0.01),
        "adam": lambda: torch.optim.Adam([theirs], 0.05, (0.9, 0.999), 1e-8, weight_decay=0.01),
    }[kind]()
    operation, settings = getattr(REFERENCE, kind), ((0.9, 0.999), 1e-8) if kind == "adam" else (np.array([0.9]),)
    tensor = ParameterState(weights, nan(3, 4), tuple(np.zeros((operation.MOMENTS, 3, 4))), 0.01)
    time = np.array([0])
    for gradient in gradients:
        tensor.grads[...], theirs.grad = gradient, torch.tensor(gradient)
        operation.step([tensor], np.array([0.05]), time, *settings, variant)
        optimizer.step()
        np.testing.assert_array_equal(tensor.grads, gradient)
    np.testing.assert_allclose(weights, theirs.detach().numpy(), rtol=1e-12)
    assert time.tolist() == [5]


# -- adjoints: <u, f(v)> = <f*(u), v> -----------------------------------------------------------------------------


WINNERS: list[Array] = []
LINEAR = {  # the shape of the data, that of the output, forward, backward
    "average pool": (
        (2, 7, 8, 3),
        (2, 3, 3, 3),
        lambda v, out: REFERENCE.average_pool.forward(v, 3, 2, out),
        lambda u, out: REFERENCE.average_pool.backward(u, 3, 2, out),
    ),
    "global average pool": (
        (2, 7, 8, 3),
        (2, 3),
        lambda v, out: REFERENCE.average_pool.forward_global(v, out),
        lambda u, out: REFERENCE.average_pool.backward_global(u, out),
    ),
    "max pool": (  # it is linear as long as the same elements are the largest
        (2, 7, 8, 3),
        (2, 3, 3, 3),
        lambda v, out: WINNERS.append(REFERENCE.max_pool.forward(v, 3, 2, out, None)),
        lambda u, out: REFERENCE.max_pool.backward(u, 3, 2, WINNERS.pop(), out),
    ),
    "resize": (
        (2, 4, 5, 3),
        (2, 9, 2, 3),
        lambda v, out: REFERENCE.resize.forward(v, out),
        lambda u, out: REFERENCE.resize.backward(u, out),
    ),
    "copy": ((2, 4, 5, 3), (2, 3, 7, 3), REFERENCE.extents.copy, REFERENCE.extents.copy),
    "center": (
        (3, 5, 2, 4),
        (3, 5, 2, 4),
        REFERENCE.normalize.center,
        lambda u, out: REFERENCE.normalize.center_adjoint(u, None, None, out),
    ),
}


@pytest.mark.parametrize("name", LINEAR)
def test_backward_is_the_adjoint_of_forward(random: np.random.Generator, name: str) -> None:
    shape, output_shape, forward, backward = LINEAR[name]
    v, u, out, back = (
        random.standard_normal(shape),
        random.standard_normal(output_shape),
        nan(*output_shape),
        nan(*shape),
    )
    forward(v, out)
    backward(u, back)
    assert np.vdot(u, out) == pytest.approx(np.vdot(back, v), rel=1e-12)


# -- the fast versions, compared with the definitions in float64 --------------------------------------------------


@pytest.mark.parametrize("name", ["convolution", "transposed_convolution"])
@pytest.mark.parametrize("case", range(len(GEOMETRIES) + 1))
def test_fast_convolutions(fast: Any, random: np.random.Generator, name: str, case: int) -> None:
    geometries = GEOMETRIES if name == "convolution" else TRANSPOSED
    geometry = [*geometries, ((6, 9, 13), 14, (3, 3), 1, 1)][case]  # on the CPU, the last one uses Winograd's algorithm
    arrays = random_arrays(random, name, geometry)
    results = three_passes(fast, name, geometry, tuple(fast.xp.asarray(array) for array in arrays))
    for result, wanted in zip(results, three_passes(REFERENCE, name, geometry, arrays), strict=True):
        np.testing.assert_allclose(fast.host(result), wanted, rtol=1e-10, atol=1e-10)


def test_fast_operations(fast: Any, random: np.random.Generator) -> None:
    """The operations that test_gpu_kernels.py does not test."""
    images, classes = random.integers(0, 256, (4, 9, 11, 3), np.uint8), np.array([3, 2, 1, 0])

    def run(device: Any, data: Array, other: Array, *outs: Array) -> None:
        of_relu, of_sum, of_cut, of_pool, back = outs
        device.relu.forward(data, of_relu)
        device.extents.add(data, other, of_sum)
        device.extents.copy(of_sum, of_cut)
        argmax = device.max_pool.forward(data, 3, 2, of_pool, lambda _, *array: device.xp.empty(*array))
        device.max_pool.backward(of_pool, 3, 2, argmax, back)
        device.relu.backward(other, of_sum, other)

    data, other = random.standard_normal((2, 7, 8, 3)), random.standard_normal((2, 9, 8, 4))
    both(fast, run, data, other, nan(2, 7, 8, 3), nan(2, 9, 8, 4), nan(2, 5, 9, 3), nan(2, 3, 3, 3), nan(2, 7, 8, 3))

    def products(device: Any, data: Array, weights: Array, biases: Array, out: Array, *backward: Array) -> None:
        back, weights_grads, biases_grads = backward
        device.fully_connected.forward(data, weights, biases, out, relu=True)
        device.fully_connected.backward(out, weights, back)
        device.fully_connected.comp_grads(out, data, weights_grads, biases_grads)

    arrays = [random.standard_normal(shape) for shape in ((5, 7), (130, 7), (130,))]
    both(fast, products, *arrays, nan(5, 130), *(np.full_like(array, np.nan) for array in arrays))

    def crops(device: Any, *arrays: Array) -> None:
        of_images, *crops, out, labels = arrays
        mean = np.array([10.0, 20.0, 30.0])
        device.augment.crop(device.augment.store(images), of_images, Crops(*crops), mean, 256.0, out, labels)

    corners = random.integers(-4, 5, (4, 2))
    both(fast, crops, classes, np.array([1]), np.array([2, 0, 3, 1]), corners, nan(3, 9, 11, 3), np.full(3, -7))


# -- nets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, optimizer, method, mode",
    [
        ("a", "adam", "WC, GC, fully", "projection"),
        ("a", "sgd", "EL, WC, GC, BN, fully", "projection"),
        ("b", "sgd", "WC, GC, BN", "projection"),
        ("b-cifar", "adam", "WS, EL, LN", "reparametrization"),
        ("c", "adam", "WC, GC, fully", "projection"),
        ("c", "sgd", "WN, EBN, GN", "projection"),
        pytest.param("d", "sgd", "WC, GC, BN", "projection", marks=pytest.mark.thorough),
    ],
)
def test_ten_steps_are_those_of_the_cpu(
    name: str, optimizer: str, method: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for Adam with biases before BN: their gradients are rounding errors, which Adam divides by their own size."""
    layers, size, _, _ = test_gpu_nets.NETS[name]
    monkeypatch.setitem(test_gpu_nets.NETS, name, (layers, size, optimizer, method))
    results, expected = (
        test_gpu_nets.train(kernels.load(device), name, np.float64, mode) for device in ("reference", "cpu")
    )
    test_gpu_nets.compare(results, expected, 1e-10)


def test_ten_steps_on_arrays_of_cupy() -> None:
    gpu = load("gpu")
    on_card = replace(REFERENCE, xp=gpu.xp, array=gpu.array, host=gpu.host, memory_pool=gpu.memory_pool)
    results, expected = (test_gpu_nets.train(device, "c", np.float64) for device in (on_card, REFERENCE))
    test_gpu_nets.compare(results, expected, 1e-10)


def test_batches_are_made_where_a_debugger_stops() -> None:
    made_by = REFERENCE.prefetch.Prefetcher(lambda buffer, request: threading.current_thread())
    made_by.start([1, 2])
    assert made_by.next(1) is threading.main_thread()
