"""The page of formulas, kernels/gpu/elementwise.py, compared with the reference and with the CUDA sources.

The tests that are imported from test_gpu_kernels run again, with the formulas in place of the CUDA sources.
"""

from itertools import product

import conftest
import numpy as np
import pytest
from test_gpu_kernels import (
    test_data_norm,
    test_normalize,
    test_normalize_of_unaligned_memory,
    test_sums_repeat_to_the_last_bit,
    test_updates_of_all_tensors_at_once,
)

from minidl.kernels import Kernels
from minidl.kernels.areas import AREAS, area_view

__all__ = [
    "test_data_norm",
    "test_normalize",
    "test_normalize_of_unaligned_memory",
    "test_sums_repeat_to_the_last_bit",
    "test_updates_of_all_tensors_at_once",
]

pytestmark = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture
def raw() -> Kernels:
    """Return the GPU's kernels."""
    return conftest.load("gpu")


@pytest.fixture
def gpu(elementwise: Kernels) -> Kernels:
    """Return the GPU's kernels with the formulas in place of the CUDA sources."""
    return elementwise


@pytest.fixture
def fast(elementwise: Kernels) -> Kernels:
    """Return the same to the imported tests, which elsewhere get each device in turn."""
    return elementwise


def tolerance(dtype: type) -> float:
    return 5e-5 if dtype is np.float32 else 1e-12


SHAPES = [(5, 3, 7, 6), (13, 5, 1, 9), (1, 31, 33, 3)]


@pytest.mark.parametrize(
    "area, shape", [*product(AREAS, SHAPES), *product(("global", "tensor", "channel"), [(70, 15)])], ids=str
)
@pytest.mark.parametrize("name", ["center", "standardize", "rescale"])
def test_every_area_is_transformed_as_by_the_raw_kernels(
    gpu: Kernels, raw: Kernels, random: np.random.Generator, name: str, area: str, shape: tuple[int, ...], dtype: type
) -> None:
    view = area_view(shape, area, 3)
    x, error = (gpu.xp.asarray(random.standard_normal(view).astype(dtype)) for _ in range(2))
    results = []
    for device in (gpu, raw):
        output, back = gpu.xp.full(view, np.nan, dtype), gpu.xp.full(view, np.nan, dtype)
        scale = getattr(device.normalize, name)(x, output)
        getattr(device.normalize, f"{name}_adjoint")(error, output, scale, back)
        results.append((gpu.host(output), gpu.host(back)))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance(dtype), atol=tolerance(dtype))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("view", [(1, 70, 13, 1), (5, 9, 1, 7), (4, 15, 3, 1), (3, 11, 4, 5)], ids=str)
def test_gamma_and_beta_are_those_of_the_raw_kernels(
    gpu: Kernels, raw: Kernels, random: np.random.Generator, view: tuple[int, ...], relu: bool, dtype: type
) -> None:
    channels = view[2] * view[3]
    x, error = (gpu.xp.asarray(3 * random.standard_normal(view).astype(dtype) + 1) for _ in range(2))
    gamma, beta = (gpu.xp.asarray(random.standard_normal(channels).astype(dtype)) for _ in range(2))
    results = []
    for device in (gpu, raw):
        outs = [gpu.xp.full(view, np.nan, dtype) for _ in range(3)]
        grads = [gpu.xp.full(channels, np.nan, dtype) for _ in range(2)]
        found = device.data_norm.forward(x, gamma, beta, 1e-4, outs[0], None, relu)
        sums = device.data_norm.comp_grads(error, x, found, *grads)
        device.data_norm.backward(error, x, gamma, found, sums, outs[1])
        device.data_norm.inference(x, gamma, beta, outs[2], relu)
        results.append([gpu.host(array) for array in (*outs, *grads)])
    assert bool((results[0][0] >= 0).all()) == relu
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=10 * tolerance(dtype), atol=10 * tolerance(dtype))
