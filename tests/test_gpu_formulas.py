"""ElementwiseKernel and ReductionKernel: the stand-in's do what CuPy's do, and refuse what CuPy refuses."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from minidl.kernels import Kernels

UPDATE = ("T g, float64 rate", "T w, T m", "m = m / 2 + g; w -= rate * m", "test_update")


@pytest.fixture
def xp(gpu: Kernels) -> ModuleType:
    """Return CuPy, or the stand-in for it."""
    return gpu.xp


@pytest.fixture
def plus(xp: ModuleType) -> Any:
    """Return a kernel of two arrays of one type and a number."""
    return xp.ElementwiseKernel("T x, T y, float64 k", "T z", "z = x + k * y", "test_plus")


@pytest.fixture
def products(xp: ModuleType) -> Any:
    """Return a sum of products in double precision."""
    return xp.ReductionKernel("T x, T y", "float64 z", "double(x) * y", "a + b", "z = a", "0", "test_sum", "double")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_arrays_are_broadcast_and_give_the_type(xp: ModuleType, plus: Any, dtype: type) -> None:
    x, y = np.arange(60, dtype=dtype).reshape(3, 4, 5), np.arange(4, dtype=dtype).reshape(4, 1)
    z = plus(xp.asarray(x), xp.asarray(y), 2.0)
    assert z.dtype == dtype
    np.testing.assert_array_equal(z.get(), x + 2 * y)
    rates = np.array([3.0, 5.0]).reshape(2, 1, 1, 1)
    np.testing.assert_array_equal(plus(xp.asarray(x), xp.asarray(y), xp.asarray(rates)).get(), x + rates * y)
    assert plus(xp.ones(1, dtype), xp.ones(1, dtype), 3.0, xp.zeros(3, dtype)).tolist() == [4, 4, 4]


def test_outputs_are_read_too_and_may_be_inputs(xp: ModuleType, plus: Any) -> None:
    g, w, m = (xp.asarray(np.array(values, np.float32)) for values in ([1, 2], [10, 20], [4, 8]))
    returned = xp.ElementwiseKernel(*UPDATE)(g, xp.full(1, 0.5), w, m)
    assert returned[0] is w
    assert (m.tolist(), w.tolist()) == ([3, 6], [8.5, 17])
    plus(w, m, 1.0, w)
    assert w.tolist() == [11.5, 23]


@pytest.mark.parametrize("axis", [None, 1, (1, 3), (0, 2), -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_over_axes(
    xp: ModuleType, products: Any, random: np.random.Generator, axis: int | tuple[int, ...] | None, keepdims: bool
) -> None:
    x, y = random.standard_normal((2, 3, 1, 5)), random.standard_normal((4, 1))
    z = products(xp.asarray(x), xp.asarray(y), axis=axis, keepdims=keepdims)
    expected = (x * y).sum(axis, keepdims=keepdims)
    assert z.shape == expected.shape
    np.testing.assert_allclose(z.get(), expected, rtol=1e-13)


def test_floats_are_summed_in_double_precision(xp: ModuleType, products: Any) -> None:
    x = xp.asarray(np.array([1e8, 1, -1e8], np.float32))
    assert products(x, xp.ones(3, np.float32)).tolist() == 1
    largest = xp.ReductionKernel("T x", "T z", "x", "max(a, b)", "z = a", "-1e30", "test_max")
    assert largest(x).dtype == np.float32
    assert largest(x).tolist() == 1e8


def test_a_capture_runs_formulas_when_it_is_launched(gpu: Kernels, plus: Any, products: Any) -> None:
    xp = gpu.xp
    x, row = xp.ones((2, 3)), xp.ones(3)
    out: list[Any] = []

    def compute() -> None:
        plus(x, row, 1.0, x)
        out[:] = [products(x, row, axis=0)]

    recorded = gpu.record(compute, lambda: 0)
    for calls in range(1, 6):
        recorded()
        assert out[0].tolist() == [2 * (1 + calls)] * 3
    assert recorded.graph is not None


@pytest.mark.parametrize(
    "args, error, message",
    [
        (lambda xp: (xp.ones(3), xp.ones(3, np.float32), 1.0), TypeError, "Type is mismatched"),
        (lambda xp: (xp.ones(3), xp.ones(3), xp.ones(1, np.float32)), TypeError, "Type is mismatched"),
        (lambda xp: (xp.ones(3), xp.ones(3), 1.0, xp.ones(3, np.float32)), TypeError, "Type is mismatched"),
        (lambda xp: (xp.ones(3), xp.ones(3)), TypeError, "Wrong number of arguments for 'test_plus'"),
        (lambda xp: (xp.ones(3), xp.ones(3), 1.0, xp.ones(3), 1.0), TypeError, "Wrong number of arguments"),
        (lambda xp: (xp.ones(3), np.ones(3), 1.0), TypeError, "Unsupported type <class 'numpy.ndarray'>"),
        (lambda xp: (xp.ones((2, 3)), xp.ones(3), 1.0, xp.ones(3)), ValueError, "Out shape is mismatched"),
        (lambda xp: (xp.ones(3), xp.ones(3), 1.0, 1.0), TypeError, "type"),
        (lambda xp: (xp.ones(2), xp.ones(3), 1.0), ValueError, "broadcast"),
        (lambda xp: (1.0, 1.0, 1.0), ValueError, "Loop size is undecided"),
    ],
)
def test_wrong_arguments_are_refused(
    xp: ModuleType, plus: Any, args: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plus(*args(xp))


def test_wrong_arguments_of_sums_are_refused(xp: ModuleType, products: Any) -> None:
    with pytest.raises(TypeError, match="Wrong number of arguments"):
        products(xp.ones(3))
    with pytest.raises(TypeError, match="Type is mismatched"):
        products(xp.ones(3), xp.ones(3, np.float32))


def test_wrong_declarations_are_refused(xp: ModuleType) -> None:
    with pytest.raises(ValueError, match="Can not use 'i' as a parameter name"):
        xp.ElementwiseKernel("T i", "T y", "y = i", "test_index")
    with pytest.raises(TypeError, match="float46"):
        xp.ElementwiseKernel("float46 x", "T y", "y = x", "test_type")
    with pytest.raises(Exception, match="z"):
        xp.ElementwiseKernel("T x", "T y", "y = z", "test_name")(xp.ones(3))
