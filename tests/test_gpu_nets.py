"""Ten training steps of each net on the GPU, one kernel at a time and recorded, compared with the reference."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import EMULATED, needs_cudnn

from minidl import kernels
from minidl.data.batches import Batches
from minidl.data.dataset import Dataset
from minidl.data.pixel_batches import PixelBatches
from minidl.experiment.trainer import Trainer, evaluate
from minidl.hooks import Observer
from minidl.kernels import Kernels
from minidl.kernels.augment import VOID
from minidl.method import parse
from minidl.models import a, b, c, d
from minidl.net import Net
from minidl.optimizers import OPTIMIZERS

thorough = pytest.mark.thorough
STEPS, BATCH, CLASSES = 5, 2, ("one", "two", "three")  # in each of two epochs; the last batch has 3 images
# layers by method, pixels of an image's side, optimizer, method; the widths are small, because the GPU is emulated
NETS: dict[str, tuple[Any, int, str, str]] = {
    "a": (lambda method: a.net(3, method, (4, 8, 5), 20), 12, "adam", "WC, GC, fully"),
    "b": (lambda method: b.net(3, method, filters=(4, 8), blocks=(1, 1)), 29, "sgd", "WC, GC, BN"),
    "b-cifar": (lambda method: b.net(3, method, "cifar", (4, 6), (1, 2)), 12, "adam", "WS, EBN, LN"),
    "c": (lambda method: c.net(3, method, (3, 4, 8), 20), 8, "adam", "WC, GC, fully"),
    "d": (lambda method: d.net(3, method, (2, 3, 4, 5), 0), 67, "sgd", "WC, GC, BN"),
}


def images(size: int, count: int = STEPS * BATCH + 1) -> Dataset:
    """Return images with labels for the image and for each pixel; the image that is left over joins the last batch."""
    random = np.random.default_rng(3)
    pixels = random.integers(0, 256, (count, size, size, 3)).astype(np.uint8)
    masks = random.integers(0, 4, (count, size, size)).astype(np.uint8)
    masks[masks == 3] = VOID
    return Dataset("random", pixels, random.integers(0, 3, count), CLASSES, masks, CLASSES)


def train(
    device: Kernels,
    name: str,
    dtype: type,
    mode: str = "projection",
    place: str = "optimizer",
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Return parameters, running statistics and scores after two epochs and a test."""
    layers, size, optimizer, method = NETS[name]
    source = PixelBatches if name == "d" else Batches
    batches = source(images(size), BATCH, device, dtype)
    net = Net(layers(parse(method)), batches.shape, device, method=method, mode=mode, place=place, dtype=dtype)
    settings = {"learning_rate": 0.01, "weight_decay": 1e-3}
    update = OPTIMIZERS[optimizer](net.parameters, device, **settings)
    if observer:
        net.layers[0].at_grads.before.append(observer)
    trainer = Trainer(net, update, batches, batches, drop_every=1, seed=0)
    epochs = [trainer.run_epoch(epoch, test=False) for epoch in (1, 2)]
    arrays = {p.name: device.host(p.value).copy() for p in net.parameters}
    arrays |= {key: device.host(value).copy() for key, value in net.running().items()}
    arrays["train loss"] = np.array([epoch.train_loss for epoch in epochs])
    arrays["test"] = np.array(evaluate(net, trainer.test_loss, batches))
    arrays["recorded"] = getattr(trainer.full_step, "graph", None) is not None
    return arrays


@pytest.fixture(scope="module")
def on_reference() -> Any:
    """Return the results of the reference, computed once for each net and number type."""
    known: dict[Any, Any] = {}

    def get(*what: Any) -> dict[str, Any]:
        if what not in known:
            known[what] = train(kernels.load("reference"), *what)
        return known[what]

    return get


def compare(results: dict[str, Any], expected: dict[str, Any], bound: float) -> None:
    for name, wanted in expected.items():
        if name != "recorded":
            np.testing.assert_allclose(results[name], wanted, rtol=bound, atol=bound, err_msg=name)


@pytest.mark.parametrize(
    "name, way",
    [
        ("a", "recorded"),
        pytest.param("b", "recorded", marks=thorough),
        ("b-cifar", "recorded"),
        ("c", "recorded"),
        pytest.param("d", "recorded", marks=thorough),
        pytest.param("b-cifar", "eager", marks=thorough),
        ("c", "eager"),
    ],
)
def test_ten_steps_in_float64(gpu: Kernels, on_reference: Any, name: str, way: str) -> None:
    device = gpu if way == "recorded" else replace(gpu, record=lambda function, version, total: function)
    results = train(device, name, np.float64)
    assert results["recorded"] == (way == "recorded")
    compare(results, on_reference(name, np.float64), 1e-10)


@pytest.mark.parametrize(
    "name, library",
    [
        ("a", "cuDNN"),
        ("b-cifar", "cuDNN"),
        pytest.param("d", "cuDNN", marks=thorough),
        ("c", "cuBLAS"),
    ],
)
def test_ten_steps_in_float32(gpu: Kernels, on_reference: Any, name: str, library: str) -> None:
    from minidl.kernels.gpu import products

    before = products.library()
    if library == "cuDNN":
        needs_cudnn()
    try:
        products.choose(library=library)
        results = train(gpu, name, np.float32)
    finally:
        products.choose(library=before)
    assert results["recorded"]
    # Adam divides by a root that may be tiny.
    compare(results, on_reference(name, np.float32), 2e-3 if EMULATED else 1e-2)


def test_observers_see_every_step_of_the_same_training(gpu: Kernels, on_reference: Any) -> None:
    seen: list[float] = []
    watched = ("c", np.float64, "projection", "hooks")
    results = train(gpu, *watched, observer=lambda grads: seen.append(float(gpu.host(grads).std())))
    assert not results["recorded"]
    assert len(set(seen)) == 2 * STEPS
    compare(results, on_reference(*watched), 1e-10)


def test_a_hook_that_is_hung_after_the_recording_is_called(gpu: Kernels) -> None:
    layers, size, *_ = NETS["c"]
    batches = Batches(images(size, STEPS * BATCH), BATCH, gpu, np.float64)
    net = Net(layers(parse("Baseline")), batches.shape, gpu, dtype=np.float64)
    trainer = Trainer(net, OPTIMIZERS["sgd"](net.parameters, gpu, 0.01), batches, batches, drop_every=9, seed=0)
    first = net.layers[0]
    for epoch, hook in enumerate((None, gpu.xp.zeros_like, None), 1):
        first.at_grads.hook = hook
        trainer.run_epoch(epoch, test=False)
        assert trainer.full_step.graph is not None  # type: ignore[attr-defined]
        assert gpu.host(first.weights.grads).any() == (hook is None)


def test_reparametrization(gpu: Kernels, on_reference: Any) -> None:
    results = train(gpu, "b-cifar", np.float64, "reparametrization")
    compare(results, on_reference("b-cifar", np.float64, "reparametrization"), 1e-10)


@pytest.mark.parametrize("name", [pytest.param("b", marks=thorough), "c"])
def test_the_formulas_train_as_the_raw_kernels(gpu: Kernels, elementwise: Kernels, name: str) -> None:
    results = train(elementwise, name, np.float64)
    assert results["recorded"]
    compare(results, train(gpu, name, np.float64), 1e-9)
