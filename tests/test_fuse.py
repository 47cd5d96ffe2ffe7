"""Fusion: layers share passes over memory, with the same results."""

import copy

import numpy as np
import pytest

from minidl import models
from minidl.context import Context
from minidl.fold import fold
from minidl.fuse import fuse, unfuse
from minidl.gradcheck import check_layer
from minidl.kernels.convolution import Geometry
from minidl.layer import Layer
from minidl.layers import (
    AnySize,
    AveragePool,
    BatchNorm,
    Convolution,
    Flatten,
    FullyConnected,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    ReLU,
    Residual,
    Resize,
    Sequential,
    TransposedConvolution,
)

LAYERS = {
    "conv 3×3 on three channels": lambda: Convolution(5, 3),
    "conv 3×3 stride 2": lambda: Convolution(16, 3, stride=2),
    "conv 1×1": lambda: Convolution(4, 1),
    "transposed conv": lambda: TransposedConvolution(3, 3, stride=2),
    "fc": lambda: Sequential(Flatten(), FullyConnected(7)),
    "BN": BatchNorm,
    "LN": LayerNorm,
    "IN": InstanceNorm,
    "GN": GroupNorm,
}


class Own(ReLU):
    """A user-defined layer, about which nothing is known."""


class Negated(Convolution):
    """A user-defined layer, after which the ReLU must be computed separately."""

    def compute_output(self, data):
        return -super().compute_output(data)


def rows(make):
    """Return the layers that ``make`` makes and a ReLU, as one sequence."""
    layer = make()
    return Sequential(*(layer.children if isinstance(layer, Sequential) else (layer,)), ReLU())


def set_up(root, shape, backend, dtype=np.float32):
    root.setup(shape, Context(backend, np.dtype(dtype), np.random.default_rng(3)))
    random = np.random.default_rng(4)
    for p in root.parameters():
        p.value[...] = backend.xp.asarray(random.standard_normal(p.value.shape))
    return root


def poison(root):
    for part in root.parts():
        for buffer in part.buffers.values():
            buffer.fill(np.nan if buffer.dtype.kind == "f" else 255)


def same(backend, result, expected):
    """To the last bit on the CPU; on a GPU, another engine of cuDNN may add up in another order."""
    tolerance = 1e-5 if backend.device == "gpu" else 0
    np.testing.assert_allclose(backend.host(result), backend.host(expected), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_fused_equals_unfused(backend, random, name, dtype):
    shape = (9, 7, 16)
    fused, apart = (set_up(rows(LAYERS[name]), shape, backend, dtype) for _ in range(2))
    fuse(fused)
    assert fused.children[-2].with_relu
    data = backend.xp.asarray(random.standard_normal((3, *shape)).astype(dtype))
    for evaluate in (False, True):
        if evaluate:
            fused.eval()
            apart.eval()
        poison(fused)
        output, expected = fused.forward(data), apart.forward(data)
        same(backend, output, expected)
        assert (output == 0).any()
        assert (output > 0).any()
    error = backend.xp.asarray(random.standard_normal(output.shape).astype(dtype))
    fused.train(), apart.train()
    fused.forward(data), apart.forward(data)
    same(backend, fused.backpropagate(error), apart.backpropagate(error))
    for p, wanted in zip(fused.parameters(), apart.parameters(), strict=True):
        same(backend, p.grads, wanted.grads)
    assert "output" not in fused.children[-1].buffers
    assert "output" in apart.children[-1].buffers


@pytest.mark.parametrize("algorithm", ["plain", "im2col", "winograd"])
def test_every_algorithm_of_a_convolution(backend, random, algorithm):
    if backend.device != "cpu":
        algorithms = {"gpu": ("im2col", "im2col", None), "reference": ("plain", None, None)}[backend.device]
        algorithm = dict(zip(("plain", "im2col", "winograd"), algorithms, strict=True))[algorithm]
    convolution = backend.convolution.plan(Geometry((40, 9, 4), 6, (3, 3), padding=1), algorithm)
    arrays = [random.standard_normal(extents).astype(np.float32) for extents in ((30, 40, 9, 4), (6, 3, 3, 4), (6,))]
    arrays[0][2, 3, 4] = np.nan
    data, weights, biases = (backend.xp.asarray(array) for array in arrays)
    output, expected = (backend.xp.full((30, *convolution.output_shape), np.nan, np.float32) for _ in range(2))
    convolution.forward(data, weights, biases, output, relu=True)
    convolution.forward(data, weights, biases, expected)
    backend.relu.forward(expected, expected)
    same(backend, output, expected)
    assert np.isnan(backend.host(output)).any()


@pytest.mark.parametrize(
    "view", [(1, 600, 64, 1), (1, 50, 3, 1), (1, 70, 1, 1), (4, 36, 20, 1), (3, 25, 8, 4)], ids=str
)
def test_nan_stays_nan_in_fused_layers(backend, random, view):
    x = random.standard_normal(view).astype(np.float32)
    x[0, 0, 0], x[0, 1, 0], x[0, 2, 0] = np.nan, np.inf, -np.inf
    gamma, beta = (backend.xp.asarray(random.standard_normal(view[2] * view[3]).astype(np.float32)) for _ in range(2))
    x = backend.xp.asarray(x)
    norm, (out, expected) = backend.data_norm, backend.xp.full((2, *view), 7, np.float32)
    ways = [lambda out, relu=False: norm.forward(x, gamma, beta, 1e-4, out, None, relu)]
    if view[0] == 1:
        ways.append(lambda *last: norm.inference(x, gamma, beta, *last))
    for way in ways:
        with np.errstate(invalid="ignore"):
            way(out, True)
            way(expected)
        backend.relu.forward(expected, expected)
        same(backend, out, expected)
        assert np.isnan(backend.host(out)).any()


@pytest.mark.quick_on("numba", "gpu")
@pytest.mark.parametrize("before", [BatchNorm, lambda: Convolution(3, 3), lambda: TransposedConvolution(3, 3)])
def test_gradients(context, random, before):
    layer = set_up(Sequential(Convolution(2, 3), ReLU(), before(), ReLU()), (4, 3, 2), context.kernels, np.float64)
    fuse(layer)
    data = context.kernels.xp.asarray(random.standard_normal((3, 4, 3, 2)))
    check_layer(layer, data, random)


def test_what_is_fused(backend):
    root = Sequential(
        ReLU(), Convolution(4, 3), ReLU(), ReLU(), Residual(Sequential(Convolution(4, 3), BatchNorm())), ReLU(),
        Negated(4, 3), ReLU(), Sequential(Convolution(4, 3)), ReLU(), Convolution(4, 3), Own(), LayerNorm(),
    )  # fmt: skip
    set_up(root, (5, 6, 3), backend)
    everything = [*root.children, *root.children[4].layers(), *root.children[8].layers()]

    def fused():
        with_relu = [i for i, layer in enumerate(root.children) if layer.with_relu]
        return with_relu, {layer.name: layer.writes_over.name for layer in everything if layer.writes_over is not None}

    assert fused() == ([], {})
    for _ in range(2):
        fuse(root)
        assert fused() == ([1], {"relu2": "conv1", "add1": "bn1", "relu4": "add1", "relu6": "conv4"})
    unfuse(root)
    assert fused() == ([], {})


def test_fusion_is_taken_off_and_on_between_steps(backend, random):
    def build():
        residual = Residual(Sequential(Convolution(4, 3), BatchNorm(), ReLU(), Convolution(4, 3), BatchNorm()))
        return set_up(Sequential(Convolution(4, 3), ReLU(), residual, ReLU()), (6, 5, 3), backend)

    one, other = build(), build()
    for change in (fuse, unfuse, fuse):
        change(one)
        data, error = (random.standard_normal((2, 6, 5, channels)).astype(np.float32) for channels in (3, 4))
        same(backend, one.forward(data), other.forward(data))
        same(backend, one.backpropagate(error), other.backpropagate(error))


@pytest.mark.parametrize("train", [True, False])
def test_a_copy_of_a_fused_net_is_fused_and_apart(backend, random, train):
    residual = Residual(Sequential(Convolution(4, 3), ReLU(), Convolution(4, 3)))
    root = set_up(Sequential(Convolution(4, 3), BatchNorm(), ReLU(), residual, ReLU()), (6, 5, 3), backend)
    fuse(root)
    if not train:
        root.eval()
    data = random.standard_normal((2, 6, 5, 3)).astype(np.float32)
    output = root.forward(data)
    expected = backend.host(output).copy()
    clone = copy.deepcopy(root)
    assert clone.children[2].writes_over is clone.children[1]
    same(backend, clone.forward(data), expected)
    clone.forward(2 * data)
    same(backend, output, expected)
    assert "output" not in clone.children[2].buffers


def test_user_defined_layers_are_not_fused(backend, random):
    class Block(Sequential):
        """A user-defined container, which reads the output of its convolution again."""

        def forward(self, data):
            first = self.children[0].forward(data)
            return self.children[1].forward(first) - first

    data = backend.xp.asarray(random.standard_normal((2, 5, 4, 3)).astype(np.float32))
    for build in (lambda: Sequential(Negated(4, 3), ReLU()), lambda: Block(Convolution(4, 3), ReLU())):
        root, plain = (set_up(build(), (5, 4, 3), backend) for _ in range(2))
        fuse(root)
        same(backend, root.forward(data), plain.forward(data))


class Scaled(Layer):
    """A user-defined layer with weights, which fold() accepts like any other."""

    def infer_shape(self, shape):
        if self.weights is None:
            self.create_parameters(shape, 1, 1)
        return shape

    def compute_output(self, data):
        return data * self.weights.value + self.biases.value


@pytest.mark.parametrize("make", [lambda: Convolution(4, 3), Scaled])
@pytest.mark.parametrize("relu", [True, False])
def test_folding(backend, random, make, relu):
    last = [] if make is Scaled else [Convolution(4, 3)]
    root = Sequential(make(), BatchNorm(), *([ReLU()] if relu else []), *last)
    shape = (4,) if make is Scaled else (6, 5, 4)
    set_up(root, shape, backend, np.float64)
    data = backend.xp.asarray(random.standard_normal((3, *shape)))
    root.forward(data)
    root.eval()
    expected = backend.host(root.forward(data)).copy()
    fold(root)
    assert root.children[0].with_relu == (relu and make is not Scaled)
    np.testing.assert_allclose(backend.host(root.forward(data)), expected, atol=1e-12)


def test_a_net_fitted_to_another_size(backend, random):
    """If both branches of the addition have other extents, its output cannot overwrite that of the first one."""

    def build():
        down = Residual(Sequential(Convolution(13, 3, stride=2), BatchNorm()), AveragePool(2, 2))
        body = Sequential(Convolution(4, 3), BatchNorm(), ReLU(), down, ReLU(), TransposedConvolution(3, 2, stride=2))
        return set_up(AnySize(Sequential(body, Resize((12, 12))), 4, 1), (4, 4, 3), backend)

    fused, apart = build(), build()
    fuse(fused)
    for size in ((7, 7), (10, 10), (7, 7), (9, 30)):
        data = backend.xp.asarray(random.standard_normal((2, *size, 3)).astype(np.float32))
        error = random.standard_normal((2, *size, 3)).astype(np.float32)
        same(backend, fused.forward(data), apart.forward(data))
        same(backend, fused.backpropagate(error), apart.backpropagate(error))
    assert fused.body.children[0].children[1].with_relu


def test_fusion_leaves_the_algorithms_as_they_are():
    """They keep their recordings: after an observed step, which runs without fusion, the next step is not slower."""
    net = models.build("c", shape=(8, 8, 3), device="cpu")
    convolutions = [layer for layer in net.layers if layer.kind == "conv"]
    algorithms = [layer.algorithm for layer in convolutions]
    for change in (unfuse, fuse):
        change(net.root)
        assert all(layer.algorithm is one for layer, one in zip(convolutions, algorithms, strict=True))


@pytest.mark.parametrize("before, behind", [(fuse, unfuse), (unfuse, fuse)])
def test_a_batch_goes_back_also_where_fusion_has_changed_behind_its_forward(backend, random, before, behind):
    one, other = (
        set_up(Sequential(Convolution(4, 3), BatchNorm(), ReLU(), Convolution(2, 3), ReLU()), (6, 5, 3), backend)
        for _ in range(2)
    )
    data, error = (random.standard_normal((2, 6, 5, channels)).astype(np.float32) for channels in (3, 2))
    before(one)
    same(backend, one.forward(data), other.forward(data))
    behind(one)
    same(backend, one.backpropagate(error), other.backpropagate(error))
    for p, wanted in zip(one.parameters(), other.parameters(), strict=True):
        same(backend, p.grads, wanted.grads)
