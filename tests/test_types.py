"""Arrays of any number type and layout give the same results; anything but an array of numbers is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from minidl.context import Context
from minidl.kernels import Kernels
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.layers import (
    AnySize,
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
    Flatten,
    FullyConnected,
    GlobalAveragePool,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    MaxPool,
    ReLU,
    Residual,
    Resize,
    Sequential,
    TransposedConvolution,
)

Array = NDArray[Any]
IMAGES = (6, 8, 12)
LAYERS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "im2col": (lambda: Convolution(5, 5, stride=2), IMAGES),
    "im2col 1x1": (lambda: Convolution(5, 1), IMAGES),
    "winograd": (lambda: Convolution(13, 3), IMAGES),
    "winograd on phases": (lambda: Convolution(12, 5, stride=2), IMAGES),
    "transposed": (lambda: TransposedConvolution(5, 3, stride=2), IMAGES),
    "fully connected": (lambda: FullyConnected(7), (12,)),
    "flatten": (Flatten, IMAGES),
    "relu": (ReLU, IMAGES),
    "max pool": (lambda: MaxPool(2, 2), IMAGES),
    "average pool": (lambda: AveragePool(3, 1), IMAGES),
    "global average pool": (GlobalAveragePool, IMAGES),
    "bn": (BatchNorm, IMAGES),
    "ln": (LayerNorm, IMAGES),
    "in": (InstanceNorm, IMAGES),
    "gn": (GroupNorm, IMAGES),
    "resize": (lambda: Resize((9, 5)), IMAGES),
    "residual": (lambda: Residual(Convolution(12, 3)), IMAGES),
    "residual of other extents": (lambda: Residual(Convolution(14, 3), AveragePool(2, 2)), IMAGES),
    "concat": (lambda: Concat(Convolution(4, 3, stride=2)), IMAGES),
    "sequential": (lambda: Sequential(ReLU(), Convolution(4, 3), BatchNorm(), ReLU()), IMAGES),
    "any size": (lambda: AnySize(Sequential(Convolution(4, 3), ReLU()), least=7, step=2), IMAGES),
}
WIDTHS = ("f2", "f4", "f8", "g", ">f4", ">f8", "i1", "u1", "i2", ">i2", "u2", "i4", "i8", "u8", "?")


def every_second(x: Array) -> Array:
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def unaligned(x: Array) -> Array:
    raw = bytearray(x.nbytes + 1)
    view = np.frombuffer(raw, x.dtype, x.size, offset=1).reshape(x.shape)
    view[...] = x
    return view


def read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "reversed channels": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "reversed samples": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "Fortran's": np.asfortranarray,
    "every second": every_second,
    "unaligned": unaligned,
    "read only": read_only,
    "a list": lambda x: x.tolist(),
    "masked": np.ma.masked_array,
}


def whole_numbers(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Return numbers that every type can hold."""
    return random.integers(0, 2 if dtype == "?" else 100, shape).astype(dtype)


def passes(layer: Layer, data: Any, error: Any) -> list[Array]:
    """Return output, error and gradients."""
    host = layer.kernels.host
    layer.train()
    output = host(layer.forward(data)).copy()
    back = layer.backpropagate(error)
    return [output, host(back), *(host(p.grads).copy() for p in layer.parameters())]


@pytest.fixture(params=["float32", pytest.param("float64", marks=pytest.mark.thorough)])
def layer_context(request: pytest.FixtureRequest, backend: Kernels, random: np.random.Generator) -> Context:
    return Context(backend, np.dtype(request.param), random)


@pytest.mark.quick_on("numba", "gpu")
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_takes_numbers_of_any_type_and_layout(name, layer_context, random):
    make, shape = LAYERS[name]
    layer = make()
    output_shape = layer.setup(shape, layer_context)
    own = layer_context.dtype
    cases: list[tuple[str, Callable[[Array], Any]]] = [(dtype, lambda x: x) for dtype in WIDTHS]
    cases += [(str(own), arrange) for arrange in LAYOUTS.values()] + [("f8", every_second), (">i2", every_second)]
    if name not in ("im2col", "bn"):  # layers share the conversion: a part of the cases is enough for each
        cases = cases[list(LAYERS).index(name) % 5 :: 5]
    for dtype, arrange in cases:
        data, error = (whole_numbers(random, (3, *s), dtype) for s in (shape, output_shape))
        expected = passes(layer, data.astype(own), error.astype(own))
        found = passes(layer, arrange(data), arrange(error))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other, f"{name}, {dtype}")


@pytest.mark.parametrize(
    "data",
    [
        np.ones((2, 4), complex),
        np.array([["a", "b", "c", "d"]]),
        np.ones((2, 4), object),
        np.zeros((2, 4), "M8[s]"),
        np.zeros((2, 4), [("x", "f4")]),
        np.ma.masked_equal(np.eye(2, 4), 1),
        [[1, 2, 3, 4], [1, 2]],
        None,
        "images",
    ],
    ids=str,
)
def test_values_that_are_no_numbers_are_refused_in_one_sentence(backend, data, random):
    layer = FullyConnected(3)
    layer.setup((4,), Context(backend, np.dtype(np.float32), random))
    with pytest.raises(MinidlError, match=r"^fc1 \(fully connected, 3\) expected data made of numbers: [^\n]*$"):
        layer.forward(data)
    layer.forward(np.ones((1, 4)))
    with pytest.raises(
        MinidlError, match="expected an error made of numbers" if data is not None else "call the loss first"
    ):
        layer.backpropagate(data)


@pytest.mark.parametrize("shape", [(4,), (), (2, 5), (2, 4, 1), (2, 2, 2), (0, 4)])
def test_another_shape_is_refused(backend, shape, random):
    layer = FullyConnected(3)
    layer.setup((4,), Context(backend, np.dtype(np.float32), random))
    with pytest.raises(MinidlError, match=r"expected data of shape \(samples, 4\) and got"):
        layer.forward(np.zeros(shape))


def test_steps_of_mixed_types_are_refused(random):
    pytest.importorskip("numba")
    from minidl.kernels.cpu import fully_connected

    data, weights, biases = (random.standard_normal(shape) for shape in ((2, 4), (3, 4), 3))
    with pytest.raises(TypeError, match="arrays of float32 or of float64 alone"):
        fully_connected.forward(data.astype("f4"), weights, biases, np.empty((2, 3)))
