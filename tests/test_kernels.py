"""Each operation against its plain formula, in both number types, with poisoned buffers and odd shapes."""

import numpy as np
import pytest


def poisoned(shape, dtype=np.float64):
    return np.full(shape, np.nan, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5, 7, 2), (9, 31, 33, 16)])
def test_relu(backend, random, dtype, shape):
    xp, data, error = backend.xp, *random.standard_normal((2, *shape)).astype(dtype)
    output, back = xp.full(shape, np.nan, dtype), xp.full(shape, np.nan, dtype)
    backend.relu.forward(xp.asarray(data), output)
    backend.relu.backward(xp.asarray(error), output, back)
    np.testing.assert_array_equal(backend.host(output), np.where(data > 0, data, 0))
    np.testing.assert_array_equal(backend.host(back), np.where(data > 0, error, 0))


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size, stride", [(2, 2), (3, 2), (3, 3), (2, 1), (1, 1), (1, 2)])
@pytest.mark.parametrize("shape", [(1, 3, 3, 1), (5, 8, 7, 3), (2, 13, 9, 4)])
def test_max_pool(backend, random, dtype, size, stride, shape):
    data = random.standard_normal(shape).astype(dtype)
    out_shape = (shape[0], *backend.max_pool.output_shape(shape[1:], size, stride))
    error = random.standard_normal(out_shape).astype(dtype)
    shapes = backend.max_pool.winners_shapes(shape, size, stride)
    winners = tuple(np.full(s, 255, np.uint8) for s in shapes)
    output, back = poisoned(out_shape, dtype), poisoned(shape, dtype)
    backend.max_pool.forward(data, size, stride, output, winners)
    backend.max_pool.backward(error, size, stride, winners, back)
    expected, expected_back = plain_max_pool(data, size, stride, error)
    np.testing.assert_array_equal(output, expected)
    np.testing.assert_allclose(back, expected_back, rtol=1e-6, atol=1e-6)


def test_max_pool_sends_the_error_of_equals_to_one_of_them(backend):
    data, error = np.zeros((1, 4, 4, 1)), np.ones((1, 2, 2, 1))
    winners = tuple(np.empty(s, np.uint8) for s in backend.max_pool.winners_shapes(data.shape, 2, 2))
    output, back = np.empty(error.shape), np.empty(data.shape)
    backend.max_pool.forward(data, 2, 2, output, winners)
    backend.max_pool.backward(error, 2, 2, winners, back)
    np.testing.assert_array_equal(back[0, :, :, 0], [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("samples, inputs, outputs", [(1, 1, 1), (5, 7, 3), (50, 300, 200), (3, 128, 1)])
def test_fully_connected(backend, random, samples, inputs, outputs):
    data, error = random.standard_normal((samples, inputs)), random.standard_normal((samples, outputs))
    weights, biases = random.standard_normal((outputs, inputs)), random.standard_normal(outputs)
    output, back = poisoned((samples, outputs)), poisoned(data.shape)
    weights_grads, biases_grads = poisoned(weights.shape), poisoned(outputs)
    backend.fully_connected.forward(data, weights, biases, output)
    backend.fully_connected.backward(error, weights, back)
    backend.fully_connected.comp_grads(error, data, weights_grads, biases_grads)
    np.testing.assert_allclose(output, np.einsum("si,oi->so", data, weights) + biases)
    np.testing.assert_allclose(back, np.einsum("so,oi->si", error, weights))
    np.testing.assert_allclose(weights_grads, np.einsum("so,si->oi", error, data))
    np.testing.assert_allclose(biases_grads, error.sum(0))


@pytest.mark.parametrize("rows, classes", [(1, 2), (7, 10), (1000, 21)])
def test_softmax_loss(backend, random, rows, classes):
    logits, labels = 5 * random.standard_normal((rows, classes)), random.integers(0, classes, rows)
    error, totals = poisoned(logits.shape), np.array([1.0, 2.0, 3.0])
    backend.softmax_loss.forward(logits, labels, error, totals)
    loss, right, labelled = totals - [1, 2, 3]
    assert labelled == rows
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert loss == pytest.approx(-np.log(p[np.arange(rows), labels]).sum())
    assert right == (logits.argmax(1) == labels).sum()
    np.testing.assert_allclose(error, (p - np.eye(classes)[labels]) / rows, atol=1e-15)


def test_softmax_loss_of_large_logits_is_finite(backend):
    logits, error = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32), poisoned((2, 2), np.float32)
    totals = np.zeros(3)
    backend.softmax_loss.forward(logits, np.array([0, 0]), error, totals)
    assert totals.tolist() == [10000.0, 1, 2]
    np.testing.assert_array_equal(error, [[0, 0], [-0.5, 0.5]])


@pytest.mark.parametrize("border, shift", [(4, (0, 0)), (4, (8, 8)), (4, (4, 4)), (2, (1, 3)), (0, (0, 0))])
def test_crop_from_a_black_border(backend, random, border, shift):
    images = random.integers(0, 256, (6, 9, 11, 3), dtype=np.uint8)
    mean, classes, position = np.array([10.0, 20.0, 30.0]), np.arange(10, 16), np.array([1])
    order, offsets = np.array([4, 5, 0, 2, 1]), np.array([(1, 1), shift, (0, 0), (border, border), (0, 1)])
    out, labels = poisoned((3, 9, 11, 3), np.float32), np.full(3, -7)
    images, order, offsets = backend.augment.store(images), order, offsets
    backend.augment.crop(images, classes, order, offsets, position, border, mean, 256.0, out, labels)
    assert labels.tolist() == [15, 10, 12]
    assert position.tolist() == [4]
    black = np.pad(images, ((0, 0), (border, border), (border, border), (0, 0))).astype(float)
    for made, i, (y, x) in zip(out, order[1:4], offsets[1:4], strict=True):
        np.testing.assert_allclose(made, (black[i, y : y + 9, x : x + 11] - mean) / 256, atol=1e-6)


def test_softmax_loss_of_void_alone_is_zero(backend, random):
    error = poisoned((2, 3, 4))
    totals = np.zeros(3)
    backend.softmax_loss.forward(random.standard_normal((2, 3, 4)), np.full((2, 3), -1), error, totals)
    assert not totals.any()
    assert not error.any()


@pytest.mark.parametrize("shape, other", [((3, 4, 5, 2), (3, 4, 5, 2)), ((3, 4, 5, 2), (3, 6, 4, 7)), ((2, 9), (2, 4))])
def test_extents(backend, random, shape, other):
    first, second = random.standard_normal(shape), random.standard_normal(other)
    extents = tuple(map(max, shape, other))
    widened = np.zeros((2, *extents))
    widened[0][tuple(map(slice, shape))] = first
    widened[1][tuple(map(slice, other))] = second
    out, back = poisoned(extents), poisoned(shape)
    backend.extents.add(first, second, out)
    np.testing.assert_array_equal(out, widened.sum(0))
    backend.extents.copy(first, out)
    np.testing.assert_array_equal(out, widened[0])
    backend.extents.copy(out, back)
    np.testing.assert_array_equal(back, first)


@pytest.mark.parametrize("size", [(4, 5), (7, 9), (2, 1), (1, 12)])
def test_resize_keeps_the_corners_and_straight_lines(backend, size):
    y, x = np.mgrid[:4, :5]
    data = np.stack([y / 3, x / 4], axis=-1)[None]
    out = poisoned((1, *size, 2))
    backend.resize.forward(data, out)
    rows, columns = np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1])
    np.testing.assert_allclose(out[0, :, 0, 0], rows, atol=1e-12)
    np.testing.assert_allclose(out[0, 0, :, 1], columns, atol=1e-12)
