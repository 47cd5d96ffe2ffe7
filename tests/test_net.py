"""Nets: how they are printed, errors about wrong shapes, and steps that allocate no large arrays."""

import tracemalloc

import numpy as np
import pytest

from minidl import MinidlError, kernels, models
from minidl.data import Dataset
from minidl.experiment.trainer import Trainer
from minidl.kernels.cpu import threads
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
from minidl.net import Net
from minidl.optimizers import Adam


def test_net_c_counts_its_parameters():
    counts = [(27, 32), (288, 32), (288, 64), (576, 64), (576, 128), (1152, 128), (2048, 512), (512, 10)]
    assert models.build("c").parameter_count == sum(inputs * outputs + outputs for inputs, outputs in counts)
    assert models.build("c", classes=100).parameter_count - models.build("c").parameter_count == 90 * 513


def test_a_printed_net_is_a_table_of_its_layers():
    lines = str(models.build("c", method="WC, GC, EL, fully", device="cpu")).splitlines()
    assert lines[0] == "net (c): WC, GC, EL, fully; projection; float32 on the cpu"
    assert lines[1].split() == ["layer", "output", "parameters", "hooks"]
    rows = {line.split()[0]: line for line in lines[2:]}
    assert "32×32×32" in rows["conv2"]
    assert "9,248" in rows["conv2"]
    assert rows["conv2"].endswith("WC, EL, GC")
    assert rows["fc1"].endswith("WC, EL, GC")
    assert rows["fc2"].endswith("5,130")
    assert lines[-1].startswith("1,341,226 parameters")


def test_the_repr_of_a_net_is_one_short_line(random):
    net = models.build("c", method="WC, GC, fully", device="cpu")
    assert repr(net) == "<Net (c): WC, GC, fully; 1,341,226 parameters on the cpu>"
    assert repr(Net(Flatten(), (2, 3), kernels.load("cpu"))) == "<Net: Baseline; 0 parameters on the cpu>"
    assert repr(net.layers[0]).startswith("<Convolution conv1: conv 3×3, 32")
    assert (
        repr(net.parameters[:2])
        == "(<Parameter conv1.weights: 32×3×3×3, float32>, <Parameter conv1.biases: 32, float32>)"
    )
    images = random.integers(0, 255, (1200, 2, 2, 3)).astype(np.uint8)
    assert repr(Dataset("photos", images, None, ("a", "b"))) == "<Dataset photos: 1,200 images, 2 classes>"
    masks = list(images[:5, ..., 0] % 3)
    assert repr(Dataset("voc2012", list(images[:5]), None, (), masks, ("a", "b", "c"))).endswith(
        ": 5 images, 3 classes>"
    )


@pytest.mark.parametrize(
    "layer",
    [
        *(kind() for kind in (BatchNorm, Flatten, GlobalAveragePool, GroupNorm, InstanceNorm, LayerNorm, ReLU)),
        *(kind(3, 2) for kind in (AveragePool, Convolution, MaxPool, TransposedConvolution)),
        *(
            FullyConnected(3),
            Resize((4, 4)),
            Sequential(ReLU()),
            Residual(ReLU()),
            Concat(ReLU()),
            AnySize(ReLU(), 3, 2),
        ),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_can_be_printed_before_it_is_set_up(layer):
    assert repr(layer) == f"<{type(layer).__name__} {layer.kind}: {layer}>"


def test_formula_16_bounds_the_initial_weights():
    """Glorot and Bengio's bound, with DLIB's counts: k·k·in and out for a convolution, in and out otherwise."""
    layers = {layer.name: layer for layer in models.build("c", device="cpu").layers}
    for name, fan_in, fan_out in (("conv1", 27, 32), ("conv6", 1152, 128), ("fc1", 2048, 512), ("fc2", 512, 10)):
        weights, bound = layers[name].weights.value, np.sqrt(6 / (fan_in + fan_out))
        assert 0.97 * bound < np.abs(weights).max() <= bound
        assert weights.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)
        assert not layers[name].biases.value.any()


def test_the_seed_makes_the_weights():
    one, same, other = (models.build("c", seed=seed, device="cpu").parameters[0].value for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_an_error_names_the_layer_what_it_expected_and_what_it_got(random):
    net = models.build("c", device="cpu")
    with pytest.raises(
        MinidlError,
        match=r"conv1 \(conv 3×3, 32.*\) expected data of shape \(samples, 32, 32, 3\) and got \(5, 3, 32, 32\)",
    ):
        net.forward(random.standard_normal((5, 3, 32, 32)).astype(np.float32))
    net.forward(random.standard_normal((5, 32, 32, 3)).astype(np.float32))
    with pytest.raises(MinidlError, match=r"fc2 .* expected an error of shape \(samples, 10\) and got \(5, 11\)"):
        net.backpropagate(np.zeros((5, 11), np.float32))


@pytest.mark.parametrize(
    "layer, shape, message",
    [
        (FullyConnected(3), (4, 4, 2), "put a Flatten before it"),
        (MaxPool(3, 2), (2, 5, 1), "expected images of at least its window .*; take larger images, or"),
        (AveragePool(2, 2), (8,), r"expected data of shape \(samples, y, x, channels\) and got \(8,\)"),
        (Residual(Convolution(2, 3), GlobalAveragePool()), (4, 4, 2), "let both branches end in images, or neither"),
        (GroupNorm(), (32,), r"gn1 \(group normalization, 32 groups\) got data of shape \(32,\).*a single element"),
        (InstanceNorm(), (1, 1, 5), "in1 .*a single element"),
        (Convolution(3, 7, padding=0), (5, 9, 1), r"conv1 .*: .* leaves nothing of .* 5×9 pixels; take larger"),
        (
            TransposedConvolution(3, 1, padding=2),
            (2, 2, 1),
            r"tconv1 .*: .* leaves nothing of .* 2×2 pixels; take less",
        ),
        (Convolution(3, 3), (8,), r"conv1 .* data of shape \(samples, y, x, channels\) and got \(8,\) .*channels last"),
        (TransposedConvolution(3, 3), (8, 8), r"tconv1 .* and got \(8, 8\) for one sample; give it images"),
        (GlobalAveragePool(), (8,), r"avgpool1 .* and got \(8,\) for one sample; give it images"),
        (Concat(ReLU()), (8,), r"concat1 .* and got \(8,\) for one sample; give it images"),
        (AnySize(ReLU(), 1, 1), (8,), r"any size .* and got \(8,\) for one sample; give it images"),
        (Resize((2, 2)), (8,), r"resize1 .* and got \(8,\) for one sample; give it images"),
        (Resize((2, 0)), (8, 8, 1), "width of Resize must be a whole number of at least 1, not 0"),
        (
            BatchNorm(),
            (),
            r"bn1 .* data of shape \(samples, …\) and got \(\) for one sample; give it at least one axis",
        ),
    ],
)
def test_a_layer_refuses_a_shape_that_it_cannot_use(context, layer, shape, message):
    with pytest.raises(MinidlError, match=message):
        layer.setup(shape, context)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Convolution(0, 3), "filters of Convolution must be a whole number of at least 1, not 0"),
        (lambda: Convolution(2, 0), "size of Convolution must be"),
        (lambda: Convolution(2, 3, stride=0), "stride of Convolution must be"),
        (
            lambda: Convolution(2, 3, padding=-1),
            "padding of Convolution must be a whole number of at least 0, not -1",
        ),
        (lambda: TransposedConvolution(2, 3, stride=-2), "stride of TransposedConvolution must be .* not -2"),
        (lambda: FullyConnected(2.5), "outputs of FullyConnected must be a whole number of at least 1, not 2.5"),
        (lambda: MaxPool(0, 1), "size of MaxPool must be"),
        (lambda: AveragePool(2, 0), "stride of AveragePool must be"),
        (lambda: AnySize(ReLU(), 1, 0), "step of AnySize must be"),
        (lambda: Sequential(), "Sequential is made of layers, and not of nothing"),
        (lambda: Sequential([ReLU(), ReLU()]), r"and not of list; .* Sequential\(\*layers\)"),
    ],
)
def test_a_layer_refuses_impossible_settings(make, message):
    with pytest.raises(MinidlError, match=message):
        make()


@pytest.mark.parametrize("shape", [7, (), (4, 0, 3), (4, 4.5, 3)])
def test_a_net_refuses_an_impossible_shape(backend, shape):
    with pytest.raises(MinidlError, match="a net needs the shape of one sample, such as"):
        Net(ReLU(), shape, backend)


@pytest.mark.parametrize(
    "name, method, samples, size",
    [
        pytest.param("c", "Baseline", 200, 16, marks=pytest.mark.thorough),
        pytest.param("c", "WC, GC, fully", 200, 16, marks=pytest.mark.thorough),
        ("a", "WC, GC, BN, fully", 200, 16),
        ("d", "WC, GC, BN", 3, 67),
    ],
)
def test_a_steady_step_allocates_no_large_array(random, small, name, method, samples, size):
    """In some calls NumPy allocates buffers of 32 KB; the smallest activations of this batch have 200 KB."""
    threads.set_workers(1)
    if name == "d":
        small("d", filters=(16, 16, 16, 16), count=1)
    net = models.build(name, method=method, shape=(size, size, 3), device="cpu")
    optimizer = Adam(net.parameters, net.kernels, learning_rate=1e-3, weight_decay=5e-5)
    trainer = Trainer(net, optimizer, None, None, drop_every=1, seed=0)
    data = random.standard_normal((samples, size, size, 3)).astype(np.float32)
    labels = random.integers(0, 10, (samples, *net.output_shape[:-1]))
    for _ in range(2):
        trainer.step(data, labels)
    tracemalloc.start()
    try:
        trainer.step(data, labels)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        trainer.step(data, labels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 160 * 1024


def test_a_smaller_batch_uses_the_same_buffers(random):
    net = models.build("c", device="cpu")
    data = random.standard_normal((8, 32, 32, 3)).astype(np.float32)
    whole = net.forward(data).copy()
    buffers = [buffer for layer in net.layers for buffer in layer.buffers.values()]
    part = net.forward(data[:3])
    np.testing.assert_allclose(part, whole[:3], atol=1e-5)
    assert [id(b) for layer in net.layers for b in layer.buffers.values()] == [id(b) for b in buffers]
