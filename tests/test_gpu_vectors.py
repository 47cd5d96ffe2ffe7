"""Vectors of channels are read if they are aligned, otherwise one number after another."""

from typing import Any

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import Kernels

Array = Any


def shifted(gpu: Kernels, array: Array, by: int) -> Array:
    """Return an array on the device that begins ``by`` elements after the beginning of its memory."""
    memory = gpu.xp.empty(array.size + by, array.dtype)[by:]
    memory[...] = gpu.xp.asarray(array.ravel())
    return memory.reshape(array.shape)


@pytest.mark.parametrize("by", [0, 1])
@pytest.mark.parametrize("channels", [8, 6])
@pytest.mark.parametrize("size, stride", [(2, 2), (3, 2), (3, 1), (4, 3), (5, 5)])
def test_pools_by_vectors(
    gpu: Kernels, random: np.random.Generator, size: int, stride: int, channels: int, by: int
) -> None:
    """Aligned vectors are read as such; otherwise, and for other numbers of channels, numbers are read one by one."""
    reference = kernels.load("reference")
    data = random.standard_normal((2, 7, 9, channels)).astype(np.float32)
    out_shape = (2, (7 - size) // stride + 1, (9 - size) // stride + 1, channels)
    error = random.standard_normal(out_shape).astype(np.float32)
    results = []
    for device, place in ((reference, lambda x: x.copy()), (gpu, lambda x: shifted(gpu, x, by))):
        x, e, out, back, mean, spread = map(place, (data, error, error, data, error, data))
        argmax = device.max_pool.forward(x, size, stride, out, lambda _, *array, at=place: at(np.zeros(*array)))
        device.max_pool.backward(e, size, stride, argmax, back)
        device.average_pool.forward(x, size, stride, mean)
        device.average_pool.backward(e, size, stride, spread)
        results.append([device.host(array) for array in (out, back, mean, spread)])
    for result, wanted in zip(*results[::-1], strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("by", [0, 1, 2])
def test_products_and_biases_where_nothing_is_aligned(gpu: Kernels, random: np.random.Generator, by: int) -> None:
    from minidl.kernels.gpu import bf16, bias

    rows, biases = random.standard_normal((70, 8)).astype(np.float32), random.standard_normal(8).astype(np.float32)
    out, added = shifted(gpu, rows, by), shifted(gpu, biases, by)
    bias.add(added, out, True)
    np.testing.assert_allclose(gpu.host(out), np.maximum(rows + biases, 0), rtol=1e-6)
    halves = bf16.narrow(shifted(gpu, rows, by))
    wide = shifted(gpu, rows, by)
    bias.widen(halves, added, wide)
    np.testing.assert_allclose(gpu.host(wide), rows + biases, rtol=0.01, atol=0.02)
    plan = gpu.convolution.plan(gpu.convolution.Geometry((5, 6, 8), 4, (3, 3), 1, 1), "im2col")
    data, weights = random.standard_normal((2, 5, 6, 8)), random.standard_normal((4, 3, 3, 8))
    results = []
    for offset in (0, by):
        x, w = (shifted(gpu, array.astype(np.float32), offset) for array in (data, weights))
        out, back = gpu.xp.empty((2, 5, 6, 4), np.float32), shifted(gpu, data.astype(np.float32), offset)
        plan.product("fprop", x, w, out)
        plan.product("dgrad", out, w, back)
        results.append([gpu.host(out), gpu.host(back)])
    for result, wanted in zip(*results, strict=True):
        np.testing.assert_array_equal(result, wanted)
