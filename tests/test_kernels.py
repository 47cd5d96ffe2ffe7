"""Each operation compared with its plain formula, in both number types, with buffers full of nan and odd shapes."""

import numpy as np
import pytest

from minidl.context import Context
from minidl.kernels.augment import Crops
from minidl.layers import MaxPool


def poisoned(backend, shape, dtype=np.float64):
    return backend.xp.full(shape, np.nan, dtype)


def placed(backend, *arrays):
    """Return copies of arrays on the device."""
    return [backend.xp.array(array) for array in arrays]


def same(backend, array, expected, **tolerance):
    np.testing.assert_allclose(backend.host(array), expected, **{"rtol": 0, **tolerance})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5, 7, 2), (9, 31, 33, 16)])
def test_relu(backend, random, dtype, shape):
    data, error = random.standard_normal((2, *shape)).astype(dtype)
    x, e = placed(backend, data, error)
    output, back = poisoned(backend, shape, dtype), poisoned(backend, shape, dtype)
    backend.relu.forward(x, output)
    backend.relu.backward(e, output, back)
    same(backend, output, np.where(data > 0, data, 0))
    same(backend, back, np.where(data > 0, error, 0))


def test_relu_keeps_nan(backend):
    (data,) = placed(backend, np.array([1.0, np.nan, -1.0, np.inf, -np.inf]))
    backend.relu.forward(data, data)
    same(backend, data, [1, np.nan, 0, np.inf, 0])


def plain_max_pool(data, size, stride, error=None):
    n, height, width, c = data.shape
    y, x = (height - size) // stride + 1, (width - size) // stride + 1
    out, back = np.empty((n, y, x, c)), np.zeros(data.shape)
    for s, i, j, k in np.ndindex(out.shape):
        window = data[s, i * stride : i * stride + size, j * stride : j * stride + size, k]
        out[s, i, j, k] = window.max()
        if error is not None:
            place = np.unravel_index(window.argmax(), window.shape)
            back[s, i * stride + place[0], j * stride + place[1], k] += error[s, i, j, k]
    return out, back


def full_of_255(backend):
    """Return what gives max pooling memory, without a 0 that it could rely on."""
    return lambda name, shape, dtype: backend.xp.full(shape, 255, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size, stride", [(2, 2), (3, 2), (3, 3), (2, 1), (1, 1), (1, 2)])
@pytest.mark.parametrize("shape", [(1, 3, 3, 1), (5, 8, 7, 3), (2, 13, 9, 4)])
def test_max_pool(backend, random, dtype, size, stride, shape):
    data = random.standard_normal(shape).astype(dtype)
    out_shape = (shape[0], *((n - size) // stride + 1 for n in shape[1:3]), shape[3])
    error = random.standard_normal(out_shape).astype(dtype)
    output, back = poisoned(backend, out_shape, dtype), poisoned(backend, shape, dtype)
    x, e = placed(backend, data, error)
    argmax = backend.max_pool.forward(x, size, stride, output, full_of_255(backend))
    backend.max_pool.backward(e, size, stride, argmax, back)
    expected, expected_back = plain_max_pool(data, size, stride, error)
    same(backend, output, expected)
    same(backend, back, expected_back, rtol=1e-6, atol=1e-6)


# For each number type of a place in a window, a separate loop is compiled.
LARGE_WINDOWS = {
    "u1": [(16, 3, (2, 20, 23, 3))],
    "u2": [(17, 5, (2, 33, 18, 3)), (20, 20, (1, 41, 60, 2)), (256, 1, (1, 257, 256, 1))],
    "u4": [(300, 7, (1, 300, 307, 1))],
}


@pytest.mark.parametrize("place", ["u1", *(pytest.param(large, marks=pytest.mark.thorough) for large in ("u2", "u4"))])
def test_max_pool_of_large_windows(backend, random, place):
    """In the first windows, half of the last row, whose places have the highest numbers, is larger than the rest."""
    context = Context(backend, np.dtype(np.float64), random)
    for size, stride, shape in LARGE_WINDOWS[place]:
        data = random.permutation(np.prod(shape)).reshape(shape).astype(np.float64)
        data[:, size - 1, ::2] += data.size
        layer = MaxPool(size, stride)
        layer.setup(shape[1:], context)
        output = layer.forward(*placed(backend, data))
        error = random.standard_normal(output.shape)
        expected, expected_back = plain_max_pool(data, size, stride, error)
        same(backend, output, expected)
        if backend.device != "reference":  # which uses no memory of the layer's
            assert all(buffer.dtype == place for name, buffer in layer.buffers.items() if name != "output")
        same(backend, layer.backward(*placed(backend, error)), expected_back, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_infinite_error_does_not_spread(backend, random, dtype):
    data = random.standard_normal((2, 6, 8, 3)).astype(dtype)
    error, pooled = np.full(data.shape, np.inf, dtype), np.full((2, 3, 4, 3), -np.inf, dtype)
    error[0] = np.nan
    x, e, p = placed(backend, data, error, pooled)
    output, back, half = (poisoned(backend, shape, dtype) for shape in (data.shape, data.shape, pooled.shape))
    backend.relu.forward(x, output)
    backend.relu.backward(e, output, back)
    same(backend, back, np.where(data > 0, error, 0))
    argmax = backend.max_pool.forward(x, 2, 2, half, full_of_255(backend))
    backend.max_pool.backward(p, 2, 2, argmax, back)
    same(backend, back, np.where(plain_max_pool(data, 2, 2, np.ones(pooled.shape))[1] > 0, -np.inf, 0))


def test_max_pool_sends_the_error_of_equals_to_the_first_of_them_column_by_column(backend):
    data = np.array([[0, 0, -1, 0], [0, 0, 0, -1], [0, 0, -2, -1], [0, 0, -1, -2]], float).reshape(1, 4, 4, 1)
    data, error = placed(backend, data, np.ones((1, 2, 2, 1)))
    output, back = poisoned(backend, error.shape), poisoned(backend, data.shape)
    argmax = backend.max_pool.forward(data, 2, 2, output, full_of_255(backend))
    backend.max_pool.backward(error, 2, 2, argmax, back)
    same(backend, back[0, :, :, 0], [[1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0]])


@pytest.mark.parametrize("samples, inputs, outputs", [(1, 1, 1), (5, 7, 3), (50, 300, 200), (3, 128, 1)])
def test_fully_connected(backend, random, samples, inputs, outputs):
    data, error = random.standard_normal((samples, inputs)), random.standard_normal((samples, outputs))
    weights, biases = random.standard_normal((outputs, inputs)), random.standard_normal(outputs)
    shapes = (samples, outputs), data.shape, weights.shape, biases.shape
    output, back, weights_grads, biases_grads = (poisoned(backend, shape) for shape in shapes)
    x, e, w, b = placed(backend, data, error, weights, biases)
    backend.fully_connected.forward(x, w, b, output)
    backend.fully_connected.backward(e, w, back)
    backend.fully_connected.comp_grads(e, x, weights_grads, biases_grads)
    same(backend, output, np.einsum("si,oi->so", data, weights) + biases, rtol=1e-7)
    same(backend, back, np.einsum("so,oi->si", error, weights), rtol=1e-7)
    same(backend, weights_grads, np.einsum("so,si->oi", error, data), rtol=1e-7)
    same(backend, biases_grads, error.sum(0), rtol=1e-7)


@pytest.mark.parametrize("rows, classes", [(1, 2), (7, 10), (1000, 21)])
def test_softmax_loss(backend, random, rows, classes):
    logits, labels = 5 * random.standard_normal((rows, classes)), random.integers(0, classes, rows)
    z, label, totals = placed(backend, logits, labels, np.array([1.0, 2.0, 3.0, 0.0]))
    error = poisoned(backend, logits.shape)
    backend.softmax_loss.forward(z, label, error, totals)
    loss, correct, labelled, wrong = backend.host(totals) - [1, 2, 3, 0]
    assert wrong == 0
    assert labelled == rows
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert loss == pytest.approx(-np.log(p[np.arange(rows), labels]).sum())
    assert correct == (logits.argmax(1) == labels).sum()
    same(backend, error, (p - np.eye(classes)[labels]) / rows, rtol=1e-7, atol=1e-15)


def test_softmax_loss_of_large_logits_is_finite(backend):
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
    z, labels, totals = placed(backend, logits, np.array([0, 0]), np.zeros(4))
    error = poisoned(backend, (2, 2), np.float32)
    backend.softmax_loss.forward(z, labels, error, totals)
    assert totals.tolist() == [10000.0, 1, 2, 0]
    same(backend, error, [[0, 0], [-0.5, 0.5]])


@pytest.mark.parametrize("border, shift", [(4, (0, 0)), (4, (8, 8)), (4, (4, 4)), (2, (1, 3)), (0, (0, 0))])
def test_crop_from_a_black_border(backend, random, border, shift):
    images = random.integers(0, 256, (6, 9, 11, 3), dtype=np.uint8)
    order, offsets = np.array([4, 5, 0, 2, 1]), np.array([(1, 1), shift, (0, 0), (border, border), (0, 1)])
    classes, *crops = placed(backend, np.arange(10, 16), np.array([1]), order, offsets - border)
    mean, labels = np.array([10.0, 20.0, 30.0]), backend.xp.full(3, -7)
    out = poisoned(backend, (3, 9, 11, 3), np.float32)
    backend.augment.crop(backend.augment.store(images), classes, Crops(*crops), mean, 256.0, out, labels)
    assert labels.tolist() == [15, 10, 12]
    assert crops[0].tolist() == [4]
    black = np.pad(images, ((0, 0), (border, border), (border, border), (0, 0))).astype(float)
    for made, i, (y, x) in zip(backend.host(out), order[1:4], offsets[1:4], strict=True):
        np.testing.assert_allclose(made, (black[i, y : y + 9, x : x + 11] - mean) / 256, atol=1e-6)


def test_softmax_loss_of_void_alone_is_zero(backend, random):
    error = poisoned(backend, (2, 3, 4))
    z, labels, totals = placed(backend, random.standard_normal((2, 3, 4)), np.full((2, 3), -1), np.zeros(4))
    backend.softmax_loss.forward(z, labels, error, totals)
    assert not backend.host(totals).any()
    assert not backend.host(error).any()


@pytest.mark.parametrize("shape, other", [((3, 4, 5, 2), (3, 4, 5, 2)), ((3, 4, 5, 2), (3, 6, 4, 7)), ((2, 9), (2, 4))])
def test_extents(backend, random, shape, other):
    first, second = random.standard_normal(shape), random.standard_normal(other)
    extents = tuple(map(max, shape, other))
    widened = np.zeros((2, *extents))
    widened[0][tuple(map(slice, shape))] = first
    widened[1][tuple(map(slice, other))] = second
    out, back = poisoned(backend, extents), poisoned(backend, shape)
    a, b = placed(backend, first, second)
    backend.extents.add(a, b, out)
    same(backend, out, widened.sum(0))
    backend.extents.copy(a, out)
    same(backend, out, widened[0])
    backend.extents.copy(out, back)
    same(backend, back, first)


@pytest.mark.parametrize("size", [(4, 5), (7, 9), (2, 1), (1, 12)])
def test_resize_keeps_the_corners_and_straight_lines(backend, size):
    y, x = np.mgrid[:4, :5]
    (data,) = placed(backend, np.stack([y / 3, x / 4], axis=-1)[None])
    out = poisoned(backend, (1, *size, 2))
    backend.resize.forward(data, out)
    same(backend, out[0, :, 0, 0], np.linspace(0, 1, size[0]), atol=1e-12)
    same(backend, out[0, 0, :, 1], np.linspace(0, 1, size[1]), atol=1e-12)
