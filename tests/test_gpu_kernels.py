"""Fast versions compared with the reference, on shapes that fill threads, vectors, blocks and pieces only in part."""

import numpy as np
import pytest

from minidl import kernels
from minidl.context import Context
from minidl.kernels.augment import Crops
from minidl.kernels.parameter_state import ParameterState
from minidl.kernels.running import Running
from minidl.layers import BatchNorm

pytestmark = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def both(fast, run, *arrays, float32=1e-5):
    """Run on a device and on the reference, with separate copies of the arrays, and compare these afterwards."""
    reference = kernels.load("reference")
    expected, found = [array.copy() for array in arrays], [fast.xp.array(array) for array in arrays]
    run(reference, *expected)
    run(fast, *found)
    for ours, theirs in zip(map(fast.host, found), expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert not np.isnan(theirs).any()
        tolerance = float32 if theirs.dtype == np.float32 else 1e-10
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def poisoned(shape, dtype):
    return np.full(shape, np.nan, dtype)


VIEWS = [  # (outer, rows, inner, lanes)
    (6, 1, 1, 36),  # filters of whole vectors
    (64, 1, 1, 27),  # filters that are not whole vectors
    (3, 1, 1, 8192),  # as much as fits into a block, and a little more
    (3, 1, 1, 8193),
    (1, 1, 1, 70_001),  # one long group, in pieces
    (2, 1000, 1, 33),
    (1, 54, 4, 1),  # channels: fewer than a vector, more than a warp, no multiple of it
    (1, 5000, 3, 1),
    (1, 300, 21, 1),
    (1, 77, 130, 1),
    (1, 20, 1500, 1),
    (1, 2, 1, 1),
    (6, 9, 4, 1),  # instances
    (3, 49, 256, 1),  # so few partial sums of each channel that one thread adds them up
    (3, 40, 131, 1),
    (2, 7, 3, 5),  # groups of channels
    (4, 25, 8, 4),
]


@pytest.mark.quick_on("gpu", "numba")
@pytest.mark.parametrize("view", VIEWS, ids=str)
@pytest.mark.parametrize("name", ["center", "standardize", "rescale"])
def test_normalize(fast, random, name, view, dtype):
    x, error = random.standard_normal((2, *view)).astype(dtype)

    def run(device, x, error, output, back, in_place, back_in_place):
        transform, adjoint = getattr(device.normalize, name), getattr(device.normalize, f"{name}_adjoint")
        scale = transform(x, output)
        adjoint(error, output, scale, back)
        transform(in_place, in_place)
        adjoint(back_in_place, output, scale, back_in_place)

    both(fast, run, x, error, poisoned(view, dtype), poisoned(view, dtype), x, error, float32=1e-4)


def test_normalize_of_unaligned_memory(fast, random, dtype):
    def run(device, x, out):
        device.normalize.standardize(x[1:].reshape(3, 1, 1, 40), out[1:].reshape(3, 1, 1, 40))
        device.normalize.center(x[1:].reshape(1, 60, 2, 1), x[1:].reshape(1, 60, 2, 1))

    both(fast, run, random.standard_normal(121).astype(dtype), np.zeros(121, dtype), float32=1e-4)


def test_changes_by_more_blocks_than_sums(gpu, random, dtype):
    from minidl.kernels.gpu import groups

    view = 1, 70_000, 64, 1
    x, error = random.standard_normal((2, *view)).astype(dtype)
    layout = groups.matrices(x)
    assert layout.grid[2] < layout.fine.grid[2]

    def run(device, x, error, gamma, beta, gamma_grads, beta_grads, standardized, out):
        device.normalize.standardize(x, standardized)
        found = device.data_norm.forward(x, gamma, beta, 1e-5, out)
        sums = device.data_norm.comp_grads(error, x, found, gamma_grads, beta_grads)
        device.data_norm.backward(error, x, gamma, found, sums, error)

    of_channels = *random.standard_normal((2, 64)).astype(dtype), poisoned(64, dtype), poisoned(64, dtype)
    both(gpu, run, x, error, *of_channels, poisoned(view, dtype), poisoned(view, dtype), float32=1e-3)


def test_sums_repeat_to_the_last_bit(fast, random, dtype):
    x = fast.xp.asarray(random.standard_normal((1, 9000, 7, 1)).astype(dtype))
    results = [fast.xp.empty_like(x) for _ in range(3)]
    for out in results:
        fast.normalize.standardize(x, out)
    for out in results[1:]:
        np.testing.assert_array_equal(fast.host(out), fast.host(results[0]))


NORMS = [(1, 600, 64, 1), (1, 50, 3, 1), (4, 36, 1, 20), (4, 36, 20, 1), (3, 25, 8, 4), (6, 1, 1, 128), (2, 300, 2, 70)]


@pytest.mark.parametrize("view", [*NORMS, (1, 7, 600, 1), (1, 1, 9, 1), (1, 36, 1, 20)], ids=str)
def test_data_norm(fast, random, view, dtype):
    channels = view[2] * view[3]

    def run(device, x, error, gamma, beta, out, back, gamma_grads, beta_grads, *running):
        norm = device.data_norm
        is_bn = view[0] == view[3] == 1
        moved = Running(*running, 100) if is_bn else None
        for _ in range(3 if is_bn else 1):
            statistics = norm.forward(x, gamma, beta, 1e-4, out, moved)
        sums = norm.comp_grads(error, x, statistics, gamma_grads, beta_grads)
        norm.backward(error, x, gamma, statistics, sums, back)
        norm.backward(error, x, gamma, statistics, sums, error)
        if is_bn:
            norm.inference(x, *running[:2], x)

    x, error = random.standard_normal((2, *view)).astype(dtype)
    gamma, beta, mean, variance = random.standard_normal((4, channels)).astype(dtype)
    outs = poisoned(view, dtype), poisoned(view, dtype), poisoned(channels, dtype), poisoned(channels, dtype)
    both(fast, run, 2 * x + 1, error, gamma, beta, *outs, mean, variance**2, np.array([98]), float32=2e-4)


def test_bn_takes_three_launches_each_way(gpu, random, monkeypatch, dtype):
    from minidl.kernels.gpu import data_norm, groups

    launched = []
    for module in (data_norm, groups):
        launch = module.launch
        monkeypatch.setattr(module, "launch", lambda *args, own=launch: launched.append(args[1]) or own(*args))
    norm = BatchNorm()
    norm.setup((6, 5, 40), Context(gpu, dtype, random))
    norm.train()
    x, error = (gpu.xp.asarray(random.standard_normal((9, 6, 5, 40)).astype(dtype)) for _ in range(2))
    norm.forward(x)
    assert launched == ["sums", "statistics", "forward"]
    assert gpu.host(norm.updates) == 1
    norm.backpropagate(error)
    assert launched[3:] == ["sums", "comp_grads", "backward"]


@pytest.mark.quick_on("gpu", "numba")
@pytest.mark.parametrize("size, stride", [(2, 2), (3, 2), (3, 3), (2, 1), (1, 2), (3, 5)])
@pytest.mark.parametrize("shape", [(1, 3, 3, 1), (5, 8, 7, 3), (2, 13, 9, 70)], ids=str)
def test_average_pools(fast, random, shape, size, stride, dtype):
    n, y, x, c = shape
    small = (n, (y - size) // stride + 1, (x - size) // stride + 1, c)

    def run(device, data, error, out, back, row, back_of_row):
        device.average_pool.forward(data, size, stride, out)
        device.average_pool.backward(error, size, stride, back)
        device.average_pool.forward_global(data, row)
        device.average_pool.backward_global(row, back_of_row)

    data, error = random.standard_normal(shape).astype(dtype), random.standard_normal(small).astype(dtype)
    outs = [poisoned(s, dtype) for s in (small, shape, (n, c), shape)]
    both(fast, run, data, error, *outs)


def test_max_pooling_of_equal_elements_and_of_nan(gpu, dtype):
    data, out = gpu.xp.ones((1, 4, 4, 1), dtype), gpu.xp.empty((1, 2, 2, 1), dtype)
    data[0, 3, 3] = np.nan
    argmax = gpu.max_pool.forward(data, 2, 2, out, lambda _, *array: gpu.xp.empty(*array))
    assert np.isnan(gpu.host(out)).ravel().tolist() == [False, False, False, True]
    assert argmax.ravel().tolist() == [0, 0, 0, 3]


@pytest.mark.parametrize("first, second", [(1, 1), (3, 5), (4, 8), (16, 4), (2, 6)])
def test_concat(fast, random, first, second, dtype):
    a, b = (random.standard_normal((2, 3, 5, c)).astype(dtype) for c in (first, second))

    def run(device, a, b, out, part_a, part_b):
        device.concat.forward(a, b, out)
        device.concat.backward(out, part_a, part_b)

    both(
        fast, run, a, b, poisoned((2, 3, 5, first + second), dtype), poisoned(a.shape, dtype), poisoned(b.shape, dtype)
    )


@pytest.mark.parametrize("channels", [(4, 4), (4, 8), (8, 4), (3, 3), (5, 2), (600, 600)], ids=str)
def test_extents(fast, random, channels, dtype):
    c1, c2 = channels
    first, second = (random.standard_normal(shape).astype(dtype) for shape in ((2, 5, 3, c1), (2, 4, 7, c2)))
    largest = (2, 5, 7, max(channels))

    def run(device, first, second, out, copied, cropped, back):
        device.extents.add(first, second, out)
        device.extents.copy(first, copied)
        device.extents.copy(out, cropped)
        device.extents.copy(cropped, back)

    outs = [poisoned(shape, dtype) for shape in (largest, largest, second.shape, first.shape)]
    both(fast, run, first, second, *outs)


SIZES = [
    ((4, 5), (7, 9)),
    ((4, 5), (2, 1)),
    ((4, 5), (1, 12)),
    ((1, 1), (3, 4)),
    ((13, 6), (27, 13)),
    ((27, 13), (5, 6)),
    ((40, 3), (37, 4)),  # more rows than two blocks take
    ((35, 2), (1, 3)),
    ((3, 2), (50, 3)),
]


@pytest.mark.quick_on("gpu", "numba")
@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("size, into", [*SIZES, ((5, 5), (5, 5)), ((7, 2), (13, 3))], ids=str)
def test_resize(fast, random, size, into, channels, dtype):
    def run(device, data, out, back):
        device.resize.forward(data, out)
        device.resize.backward(out, back)

    data = random.standard_normal((2, *size, channels)).astype(dtype)
    both(fast, run, data, poisoned((2, *into, channels), dtype), poisoned(data.shape, dtype))


@pytest.mark.parametrize("blocks", [1, 20])
@pytest.mark.parametrize("size, into", [((40, 3), (37, 4)), ((70, 3), (75, 5)), ((5, 40), (80, 20))], ids=str)
def test_resize_of_many_rows_by_a_thread(gpu, random, monkeypatch, size, into, blocks, dtype):
    """A thread takes as many rows only if there are enough blocks otherwise."""
    from minidl.kernels.gpu import resize

    def run(device, data, out, back):
        device.resize.forward(data, out)
        device.resize.backward(out, back)

    monkeypatch.setattr(resize, "BLOCKS", blocks)
    data = random.standard_normal((2, *size, 4)).astype(dtype)
    both(gpu, run, data, poisoned((2, *into, 4), dtype), poisoned(data.shape, dtype))


def test_resize_of_axes_whose_products_need_64_bits(gpu, random, dtype):
    size, into = 50_000, 48_000
    data, error = random.standard_normal(size).astype(dtype), random.standard_normal(into).astype(dtype)
    out, back = gpu.xp.empty((1, 1, into, 1), dtype), gpu.xp.empty((1, 1, size, 1), dtype)
    gpu.resize.forward(gpu.xp.asarray(data.reshape(1, 1, size, 1)), out)
    gpu.resize.backward(gpu.xp.asarray(error.reshape(1, 1, into, 1)), back)
    out, back = gpu.host(out).ravel(), gpu.host(back).ravel()
    places = np.arange(into) * ((size - 1) / (into - 1))
    tolerance = 1e-5 if dtype is np.float32 else 1e-9
    np.testing.assert_allclose(out, np.interp(places, np.arange(size), data), atol=tolerance)
    np.testing.assert_allclose(out.astype("f8") @ error, data.astype("f8") @ back, rtol=100 * tolerance)


SEVERAL_A_TILE = [(1, 2), (7, 10), (1000, 21), (3, 40, 31, 5), (5, 100), (3, 1), (2000, 33), (300, 32), (23, 1001)]
OTHERS = [(2, 4000), (11, 6150)]  # one row a tile; more than a tile


@pytest.mark.quick_on("gpu", "numba")
@pytest.mark.parametrize("labels_dtype", [np.int8, np.int64, np.uint8])
@pytest.mark.parametrize("shape", [*SEVERAL_A_TILE, *OTHERS], ids=str)
def test_softmax_loss(fast, random, shape, labels_dtype, dtype):
    def run(device, logits, labels, error, totals):
        device.softmax_loss.forward(logits, labels, error, totals)

    logits = (5 * random.standard_normal(shape)).round(1).astype(dtype)  # rounded: some have equal largest logits
    least = 0 if labels_dtype is np.uint8 else -1
    labels = random.integers(least, min(shape[-1], 120), shape[:-1]).astype(labels_dtype)
    reference, found = kernels.load("reference"), [fast.xp.array(a) for a in (logits, labels, poisoned(shape, dtype))]
    expected, totals, fast_totals = poisoned(shape, dtype), np.array([1.0, 2, 3, 0]), fast.xp.asarray([1.0, 2, 3, 0])
    run(reference, logits, labels, expected, totals)
    run(fast, *found, fast_totals)
    np.testing.assert_allclose(fast.host(found[-1]), expected, atol=1e-6 if dtype is np.float32 else 1e-14)
    np.testing.assert_allclose(fast.host(fast_totals), totals, rtol=1e-5 if dtype is np.float32 else 1e-12)


@pytest.mark.parametrize("begins", [(0, 0, 0), (1, 1, 1), (0, 0, 1), (1, 0, 0), (3, 1, 2)], ids=str)
def test_the_loss_of_many_rows_by_a_warp(gpu, random, monkeypatch, begins, dtype):
    """There are more rows than blocks take at a time.

    begins: the rows at which logits, labels and error begin, where a vector cannot always be read. If these differ,
    other threads of the warp copy the logits into the tile than copy the error out of it.
    """
    from minidl.kernels.gpu import softmax_loss

    for name in ("BLOCKS", "COUNTERS"):
        monkeypatch.setattr(softmax_loss, name, 2)
    arrays = random.standard_normal((5000, 3)).astype(dtype), random.integers(-1, 3, 5000).astype(np.int8)
    arrays = (*arrays, poisoned((5000, 3), dtype))
    parts = [slice(begin, begin + 4990) for begin in begins]
    logits, labels, error = (array[part] for array, part in zip(arrays, parts, strict=True))
    found, sums = [gpu.xp.array(array)[part] for array, part in zip(arrays, parts, strict=True)], gpu.xp.zeros(4)
    gpu.softmax_loss.forward(*found, sums)
    totals = np.zeros(4)
    kernels.load("reference").softmax_loss.forward(logits, labels, error, totals)
    np.testing.assert_allclose(gpu.host(found[-1]), error, atol=1e-6 if dtype is np.float32 else 1e-14)
    np.testing.assert_allclose(gpu.host(sums), totals, rtol=1e-5 if dtype is np.float32 else 1e-12)


def test_words_around_an_image_can_be_read(gpu, random, dtype):
    """Crops read whole words: up to three bytes before an image's first one, in two words."""
    stored = gpu.augment.store(random.integers(0, 256, (2, 3, 3, 3), dtype=np.uint8))
    assert int(gpu.host(stored.starts).min()) >= 6
    assert stored.bytes.size - int(gpu.host(stored.starts).max()) - 27 >= 7


@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize("position", [2, -1, 10**12, -(10**12)])
def test_a_crop_outside_of_the_epoch_is_nan(gpu, random, position, with_masks, dtype):
    """Nothing can raise an error in a recorded batch, which is launched again and again; nothing is read there."""
    xp, own = gpu.xp, gpu.unchecked.augment
    images = random.integers(0, 256, (3, 5, 5, 3), dtype=np.uint8)
    crops = Crops(xp.asarray([position]), xp.asarray([2, 0, 1]), xp.zeros((3, 2), np.int64))
    out, mean = xp.zeros((2, 5, 5, 3), dtype), np.zeros(3)
    if with_masks:
        crops = crops._replace(colours=xp.zeros((3, 3)), mirrored=xp.zeros(3, np.bool_))
        labels = xp.zeros((2, 5, 5), np.int8)
        own.crop_with_masks(own.store(images), own.store(images[..., 0]), crops, mean, 1.0, out, labels)
        truth = images[..., 0].view(np.int8)
    else:
        labels, truth = xp.zeros(2, np.int64), [7, 8, 9]
        own.crop(own.store(images), xp.asarray(truth), crops, mean, 1.0, out, labels)
    for found, label, place in zip(gpu.host(out), gpu.host(labels), (position, position + 1), strict=True):
        there = 0 <= place < 3
        np.testing.assert_array_equal(found, images[[2, 0, 1][place]] if there else np.full((5, 5, 3), np.nan))
        np.testing.assert_array_equal(label, truth[[2, 0, 1][place]] if there else -1)


@pytest.mark.parametrize("width", [16, 17])
@pytest.mark.parametrize("size", [(20, 30), (9, 41), (33, 11), (1, 1)], ids=str)
def test_crops_anywhere(fast, random, size, width, dtype):
    """Some crops are in their image, some in part, and some not at all; rows begin anywhere in a word of memory."""
    images, mean = random.integers(0, 256, (5, *size, 3), dtype=np.uint8), np.array([10.0, 20.0, 30.0])

    def run(device, position, order, corners, classes, out, labels):
        stored = device.augment.store(images)
        device.augment.crop(stored, classes, Crops(position, order, corners), mean, 256.0, out, labels)

    far = [[sign * away, 0][::step] for sign in (-1, 1) for away in (50, 10**6, (1 << 32) // 3) for step in (-1, 1)]
    corners = np.concatenate([random.integers(-20, 35, (28, 2)), far])
    out, labels = poisoned((40, 16, width, 3), dtype), np.full(40, -1)
    both(fast, run, np.array([0]), random.integers(0, 5, 40), corners, np.arange(5), out, labels)


@pytest.mark.parametrize("width", [16, 17])
def test_crops_with_masks_of_many_sizes(fast, random, width, dtype):
    sizes = [(20, 30), (9, 40), (33, 12), (16, 16)]
    images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    masks = [random.integers(0, 21, size, dtype=np.uint8) for size in sizes]
    masks[0][3] = 255
    mean = np.array([10.0, 20.0, 30.0])

    def run(device, position, order, corners, colours, mirrored, out, labels):
        stored = device.augment.store(images), device.augment.store(masks)
        for i in range(2):
            crops, two = Crops(position, order, corners, colours, mirrored), slice(2 * i, 2 * i + 2)
            device.augment.crop_with_masks(*stored, crops, mean, 256.0, out[two], labels[two])

    order, corners = np.array([3, 1, 0, 2]), random.integers(-8, 8, (4, 2))
    colours, mirrored = np.rint(60 * random.standard_normal((4, 3))), np.array([True, False, True, False])
    out, labels = poisoned((4, 16, width, 3), dtype), np.full((4, 16, width), 99, np.int8)
    both(fast, run, np.array([0]), order, corners, colours, mirrored, out, labels)


def tensors(operation, arrays):
    """Return the tensors of a net, with all combinations of GC and WC, some with weight decay."""
    return [
        ParameterState(weights, grads, (first, second)[: operation.MOMENTS], decay, gc, wc)
        for (weights, grads, first, second), (decay, gc, wc) in zip(
            zip(*[iter(arrays)] * 4, strict=True),
            [(0.01, True, True), (0.0, False, False), (0.01, True, False), (0.01, False, False), (0.0, True, True)],
            strict=True,
        )
    ]


@pytest.mark.parametrize(
    "kind, variant", [("sgd", "paper"), ("sgd", "dlib"), ("adam", "standard"), ("adam", "as_printed")]
)
def test_updates_of_all_tensors_at_once(fast, random, kind, variant, dtype):
    shapes = [(3, 3, 3, 5), (7,), (4, 8), (10_000,), (2, 9001)]

    def run(device, rate, time, momentum, *arrays):
        operation, settings = getattr(device, kind), ((0.9, 0.999), 1e-8) if kind == "adam" else (momentum,)
        for _ in range(3):
            operation.step(tensors(operation, arrays), rate, time, *settings, variant)
        for i in range(1, len(arrays), 4):
            arrays[i][...] = 0  # the CPU leaves centered gradients, the other devices do not change them

    arrays = [random.standard_normal(shape).astype(dtype) * (i < 2) for shape in shapes for i in range(4)]
    both(fast, run, np.array([0.05]), np.array([4]), np.array([0.9]), *arrays, float32=2e-5)
