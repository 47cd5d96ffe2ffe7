"""Layers and small nets compared with PyTorch's, with equal parameters: outputs and every gradient, in float64."""

import numpy as np
import pytest

from minidl.layers import (
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
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
from minidl.losses import SoftmaxCrossEntropy

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e .[bench]")
functional = torch.nn.functional


def theirs(array):
    """Return an array (samples or out, y, x, channels) in PyTorch's layout, with the channels second."""
    return torch.tensor(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array, requires_grad=True)


def ours(tensor):
    array = tensor.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def compare(layer, shape, function, context, tolerance=1e-10):
    """Check a layer against ``function(data, parameters by name)`` of PyTorch."""
    layer.setup(shape, context)
    layer.train()
    put, host = context.kernels.xp.asarray, context.kernels.host
    for p in layer.parameters():
        if not p.decay:
            p.value[...] = put(context.random.standard_normal(p.value.shape))
    data = context.random.standard_normal((4, *shape))
    output = layer.forward(put(data))
    error = context.random.standard_normal(output.shape)
    back = layer.backpropagate(put(error))
    other_data, values = theirs(data), {p.name: theirs(host(p.value)) for p in layer.parameters()}
    other = function(other_data, values)
    other.backward(theirs(error).detach())
    np.testing.assert_allclose(host(output), ours(other), atol=tolerance)
    np.testing.assert_allclose(host(back), ours(other_data.grad), atol=tolerance)
    for p in layer.parameters():
        np.testing.assert_allclose(host(p.grads), ours(values[p.name].grad), atol=tolerance, err_msg=p.name)


@pytest.mark.parametrize("size, stride, shape", [(2, 2, (8, 6, 3)), (17, 3, (24, 31, 2)), (20, 20, (40, 41, 2))])
def test_max_pool(context, size, stride, shape):
    compare(MaxPool(size, stride), shape, lambda x, _: functional.max_pool2d(x, size, stride), context)


NORMS = {
    "bn": (BatchNorm, lambda x, g, b: functional.batch_norm(x, None, None, g, b, training=True, eps=1e-4)),
    "ln": (LayerNorm, lambda x, g, b: functional.group_norm(x, 1, g, b)),
    "in": (InstanceNorm, lambda x, g, b: functional.instance_norm(x, weight=g, bias=b)),
    "gn": (GroupNorm, lambda x, g, b: functional.group_norm(x, 4, g, b)),
}


@pytest.mark.parametrize("shape", [(5, 3, 12), (33, 40, 12)])
@pytest.mark.parametrize("name", NORMS)
def test_data_normalizations(context, name, shape):
    kind, function = NORMS[name]
    compare(kind(), shape, lambda x, p: function(x, p[f"{name}1.gamma"], p[f"{name}1.beta"]), context)


def conv(x, p, name, **options):
    return functional.conv2d(x, p[f"{name}.weights"], p[f"{name}.biases"], **options)


def test_residual_blocks(context):
    """A plain block, then one that halves the image and grows the channels, as in net (b)."""
    net = Sequential(
        Residual(Sequential(Convolution(3, 3), BatchNorm(), ReLU(), Convolution(3, 3))),
        ReLU(),
        Residual(Convolution(5, 3, stride=2), AveragePool(2, 2)),
        ReLU(),
    )

    def function(x, p):
        y = functional.batch_norm(
            conv(x, p, "conv1", padding=1), None, None, p["bn1.gamma"], p["bn1.beta"], training=True, eps=1e-4
        )
        x = (x + conv(y.relu(), p, "conv2", padding=1)).relu()
        y = conv(x, p, "conv3", stride=2)
        pooled = functional.avg_pool2d(x, 2)
        return (functional.pad(y, (0, 0, 0, 1)) + functional.pad(pooled, (0, 0, 0, 0, 0, 2))).relu()

    compare(net, (6, 7, 3), function, context)


def tconv(x, p, name, stride):
    weights = p[f"{name}.weights"].transpose(0, 1)  # PyTorch's weights are (in, out, y, x)
    return functional.conv_transpose2d(x, weights, p[f"{name}.biases"], stride=stride)


@pytest.mark.parametrize("size, stride", [(3, 2), (2, 2), (7, 2), (5, 3)])
def test_transposed_convolutions(context, size, stride):
    layer = TransposedConvolution(5, size, stride=stride)
    compare(layer, (4, 3, 2), lambda x, p: tconv(x, p, "tconv1", stride), context)


@pytest.mark.parametrize("size", [(9, 4), (3, 6), (1, 1), (5, 5), (8, 31)])
def test_resizing(context, size):
    def function(x, p):
        return functional.interpolate(x, size, mode="bilinear", align_corners=True)

    compare(Resize(size), (5, 7, 2), function, context)


def test_u_connections(context):
    """Two connections, the inner one resized, and a residual block that enlarges the image, as in net (d)."""
    up = Residual(TransposedConvolution(2, 3, stride=2), TransposedConvolution(2, 2, stride=2))
    inner = Concat(Sequential(Convolution(3, 3, stride=2), ReLU(), up))
    net = Sequential(Concat(Sequential(MaxPool(2, 2), inner, TransposedConvolution(3, 2, stride=2))), Convolution(4, 1))

    def function(x, p):
        y = functional.max_pool2d(x, 2)
        z = conv(y, p, "conv1", stride=2).relu()
        z = tconv(z, p, "tconv1", 2) + functional.pad(tconv(z, p, "tconv2", 2), (0, 1, 0, 1))
        z = functional.interpolate(z, y.shape[2:], mode="bilinear", align_corners=True)
        z = tconv(torch.cat([y, z], 1), p, "tconv3", 2)
        return conv(torch.cat([x, z], 1), p, "conv2")

    compare(net, (12, 16, 2), function, context)


def test_the_loss_of_pixels_without_void_ones(backend, random):
    output, labels = random.standard_normal((3, 40, 30, 5)), random.integers(-1, 5, (3, 40, 30)).astype(np.int8)
    loss = SoftmaxCrossEntropy(backend)
    score = loss.score_of(backend.xp.asarray(output), backend.xp.asarray(labels))
    other = theirs(output)
    expected = functional.cross_entropy(other, torch.tensor(labels.astype(np.int64)), ignore_index=-1)
    expected.backward()
    assert score.loss == pytest.approx(expected.item(), rel=1e-12)
    error = backend.host(loss.error)
    np.testing.assert_allclose(error, ours(other.grad), atol=1e-15)
    assert not error[labels < 0].any()
    right = np.count_nonzero(output.argmax(-1) == labels)
    assert score.accuracy == right / np.count_nonzero(labels >= 0)
