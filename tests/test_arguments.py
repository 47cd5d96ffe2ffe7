"""Wrong arguments of the Python API are an error of one sentence; arguments with only one possible meaning work."""

from collections.abc import Callable
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl import checkpoint, data, kernels, models
from minidl.data.batches import Batches
from minidl.data.dataset import Dataset
from minidl.data.pixel_batches import PixelBatches
from minidl.gradcheck import check_layer, check_net, check_normalization
from minidl.kernels.errors import MinidlError
from minidl.layers import Flatten, FullyConnected, Sequential
from minidl.losses import SoftmaxCrossEntropy
from minidl.net import Net
from minidl.normalizations import NORMALIZATIONS
from minidl.optimizers import SGD, Adam, step_decay
from minidl.study.card import card
from minidl.study.checking import check_layers, check_model
from minidl.study.trace_files import read as read_trace
from minidl.study.watch import watch

CPU = kernels.load("cpu")
IMAGES = np.zeros((4, 8, 9, 3), np.uint8)
LABELS = np.array([0, 1, 1, 0])
DATA = np.random.default_rng(0).standard_normal((2, 4, 4, 3))
SIZES = {"images": list(IMAGES), "labels": None, "masks": [np.zeros((8, 9), np.uint8)] * 4, "mask_classes": ("x",)}


def net(**options: Any) -> Net:
    return Net(Sequential(Flatten(), FullyConnected(3)), (4, 4, 3), **{"kernels": CPU} | options)


def sgd(**options: Any) -> SGD:
    return SGD(**{"parameters": net().parameters, "kernels": CPU, "learning_rate": 0.1} | options)


def adam(**options: Any) -> Adam:
    return Adam(net().parameters, CPU, 0.1, **options)


def images(**options: Any) -> Dataset:
    return Dataset(**{"name": "mine", "images": IMAGES, "labels": LABELS, "classes": ("a", "b")} | options)


WHOLE: list[tuple[Callable[[Any], Any], str]] = [
    (lambda x: net(seed=x), "seed of Net"),
    (lambda x: models.build("c", device="cpu", seed=x), "seed of Net"),
    (lambda x: models.build("c", device="cpu", classes=x), "classes of build"),
    (lambda x: net().predict(np.zeros((5, 4, 4, 3)), batch_size=x), "batch_size of predict"),
    (lambda x: Batches(images(), x, CPU, "float32"), "batch_size"),
    (lambda x: PixelBatches(images(**SIZES), x, CPU, "float32"), "batch_size"),
    (lambda x: images().subset(x), "count of subset"),
    (lambda x: images(**SIZES).shrunk(x), "times of shrunk"),
    (lambda x: images(**SIZES).cropped(x), "side of cropped"),
    (lambda x: data.load("folder", size=x), "size of the images"),
    (lambda x: setattr(sgd(), "step_count", x), "step_count"),
    (lambda x: step_decay(0.1, 3, x), "every of step_decay"),
    (FullyConnected, "outputs of FullyConnected"),
]
REAL: list[tuple[Callable[[Any], Any], str]] = [
    (lambda x: sgd(learning_rate=x), "learning rate"),
    (lambda x: setattr(sgd(), "learning_rate", x), "learning rate"),
    (lambda x: sgd(weight_decay=x), "weight decay"),
    (lambda x: sgd(momentum=x), "momentum"),
    (lambda x: adam(betas=(x, 0.9)), "first of the betas"),
    (lambda x: adam(betas=(0.9, x)), "second of the betas"),
    (lambda x: adam(epsilon=x), "epsilon"),
]


@pytest.mark.parametrize(("give", "what"), WHOLE, ids=[what for _, what in WHOLE])
@pytest.mark.parametrize("value", ["2", 2.5, np.float32(2), -1, True, [2]], ids=repr)
def test_an_argument_that_is_no_whole_number_is_an_error_of_one_sentence(
    give: Callable[[Any], Any], what: str, value: Any
) -> None:
    with pytest.raises(MinidlError, match=f"{what} must be a whole number of at least"):
        give(value)


@pytest.mark.parametrize(("give", "what"), REAL, ids=[what for _, what in REAL])
@pytest.mark.parametrize("value", ["0.1", None, np.nan, np.inf, -0.1, True, [0.1], np.array([0.1, 0.2]), 1j], ids=repr)
def test_an_argument_that_is_no_real_number_is_an_error_of_one_sentence(
    give: Callable[[Any], Any], what: str, value: Any
) -> None:
    with pytest.raises(MinidlError, match=f"{what} must be a number"):
        give(value)


def test_a_value_in_a_message_is_one_short_line() -> None:
    with pytest.raises(MinidlError, match=r"^seed of Net must be .*, not array\(\[.{0,60}…$"):
        net(seed=np.zeros((300, 2)))


def test_numbers_of_any_type_become_int_or_float() -> None:
    optimizer = sgd(learning_rate=np.float32(0.5), momentum=np.array(0.5), weight_decay=np.int8(0))
    assert (optimizer.learning_rate, type(optimizer.momentum)) == (0.5, float)
    assert list(map(type, Batches(images(), np.int64(3), CPU, "float32").sizes)) == [int]
    np.testing.assert_array_equal(net(seed=np.uint8(3)).parameters[0].value, net(seed=3).parameters[0].value)


@pytest.mark.parametrize("dtype", [None, int, "float16", "x", 3, [1], object], ids=str)
@pytest.mark.parametrize(
    "give",
    [
        lambda dtype: net(dtype=dtype),
        lambda dtype: models.build("c", device="cpu", dtype=dtype),
        lambda dtype: Batches(images(), 2, CPU, dtype),
        lambda dtype: PixelBatches(images(**SIZES), 2, CPU, dtype),
    ],
)
def test_another_number_type_is_an_error_of_one_sentence(give: Callable[[Any], Any], dtype: Any) -> None:
    with pytest.raises(MinidlError, match="a net computes in float32 or float64, not in"):
        give(dtype)


DEVICES: list[Callable[[Any], Any]] = [
    lambda device: net(kernels=device),
    lambda device: sgd(kernels=device),
    SoftmaxCrossEntropy,
    lambda device: Batches(images(), 2, device, "float32"),
    lambda device: PixelBatches(images(**SIZES), 2, device, "float32"),
]


@pytest.mark.parametrize("give", DEVICES)
def test_a_devices_name_stands_for_its_operations(give: Callable[[Any], Any]) -> None:
    assert give("cpu").kernels.device == "cpu"
    assert give("reference").kernels.device == "reference"
    for other in (None, 3, "cpuu"):
        with pytest.raises(MinidlError, match=f"the device {other!r} is unknown.*; use auto, cpu, gpu or reference"):
            give(other)


def test_study_tools_take_a_devices_name() -> None:
    assert not check_layers("relu", None, "projection", "reference").failed
    assert not check_model("a", "GC", "projection", "cpu").failed
    assert card(NORMALIZATIONS["WC"], "cpu") == card(NORMALIZATIONS["WC"], CPU)


def test_a_normalization_is_checked_on_a_device_of_any_name(random: np.random.Generator) -> None:
    assert [check.name for check in check_normalization("WC", (4, 3), random, "reference")] == ["WC"]


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (
            lambda: Net([Flatten()], (4, 4, 3), CPU),
            r"root of Net must be .* Layer, not list; .* Sequential\(\*layers\)",
        ),
        (lambda: Net(Flatten, (4, 4, 3), CPU), "root of Net must be of the kind Layer, not type"),
        (lambda: net(name=3), "name of Net must be of the kind str, not int"),
        (lambda: net().load({p.name: None for p in net().parameters}), "no real numbers"),
        (lambda: net().predict("photo.jpg"), "takes pictures, and not the name of a file, 'photo.jpg'; open it by PIL"),
        (lambda: net().predict([Path("photo.jpg")]), "takes pictures, and not the name of a file"),
        (lambda: watch(net().root).__enter__(), "net of watch must be of the kind Net, not Sequential"),
        (lambda: check_layer(net(), DATA, 0), "layer of check_layer .* not Net; .*; for a net, there is check_net"),
        (lambda: check_net(net().root, None, DATA, [0], 0), "net of check_net must be of the kind Net, not Sequential"),
        (lambda: check_layer(net(dtype="float64").root, "x", 0), "the elements of the array are of type <U1"),
        (lambda: check_net(net(dtype="float64"), None, DATA, [0], 0), r"check_net must be a loss, .*, not None"),
        (lambda: check_net(net(), SoftmaxCrossEntropy, DATA, [0], 0), "check_net must be a loss, .* not <class"),
        (lambda: check_normalization(None, (4, 3), 0), "normalization of check_normalization .*, not NoneType"),
        (lambda: checkpoint.save("x", sgd(), net(), 0), "net of checkpoint.save must be of the kind Net, not SGD"),
        (lambda: checkpoint.save(3, net(), sgd(), 0), "path of checkpoint.save must be a path, as a text or .*, not 3"),
        (lambda: checkpoint.load(None), "path of checkpoint.load must be a path, as a text or a Path, not None"),
        (lambda: card("WC", CPU), "normalization of card must be of the kind Normalization, not str; give one such as"),
        (lambda: check_layers(3, None, "projection", CPU), "layer of check_layers must be of the kind str, not int"),
        (lambda: read_trace(None), "folder of read must be a path, as a text or a Path, not None"),
        (lambda: copy(net()), "a shallow copy of a net would have the same layers, .*; use copy.deepcopy"),
        (lambda: copy(FullyConnected(3)), r"of fc \(fully connected, 3\) would have the same hook points, .*deepcopy"),
        (lambda: checkpoint.load("x", net="c"), "net of checkpoint.load must be of the kind Net, not str"),
        (lambda: Batches((images(), images()), 2, CPU, "float32"), "dataset of Batches .* not tuple; give one part of"),
        (
            lambda: Batches(Dataset("mine", list(IMAGES), [0] * len(IMAGES), ("a",)), 2, CPU, "float32"),
            r"mine has a list of images, .* as one array, np.stack\(images\)",
        ),
        (lambda: copy(Batches(images(), 2, CPU, "float32")), "batches of a set cannot be copied, .*; make others of"),
        (lambda: deepcopy(Batches(images(), 2, CPU, "float32")), "batches of a set cannot be copied, .*; make others"),
        (lambda: PixelBatches(IMAGES, 2, CPU, "float32"), "dataset of PixelBatches must be .* not ndarray"),
        (
            lambda: Batches(images(), 2, CPU, "float32").next(2),
            r"the next batch is none, and not 2; .* shuffle\(random\)",
        ),
        (
            lambda: PixelBatches(images(**SIZES), 2, CPU, "float32").next(2),
            r"the next batch is none, and not 2 images of 9×9 pixels; .* shuffle\(random\)",
        ),
        *(
            (
                lambda share=share: Batches(images(), 2, CPU, "float32", share),
                r"\(i, n\), the i-th \(from 0\) of n parts",
            )
            for share in ((2, 2), (-1, 2), (0, 0), (0, 1.5), (0, 1, 2), 0, None, "01")
        ),
        (lambda: SoftmaxCrossEntropy(CPU)(None, [0]), "no real numbers"),
        (lambda: setattr(net().parameters[1], "value", np.array(["a", "b", "c"])), "no real numbers"),
        (lambda: setattr(net().parameters[1], "value", np.array([1j, 2, 3])), "no real numbers"),
        (lambda: models.build("c", method=None), "a method is a text such as 'WC, GC, fully', not None"),
        (lambda: models.build(None), "the model None is unknown"),
        (lambda: models.build(["c"]), r"the model \['c'\] is unknown"),
        (lambda: data.load(None), "None is neither a data set nor a folder"),
        (lambda: sgd(parameters=net()), "takes a list of parameters, such as net.parameters, not of Net"),
        (lambda: sgd(parameters=[np.zeros(3)]), "such as net.parameters, not of ndarray"),
        (lambda: sgd(gc=net()), "such as net.parameters, not of Net"),
        (lambda: images(labels=["a", "b", "b", "a"]), "the labels of mine must be integers, and not <U1"),
        (lambda: images(labels=[0, 1]), r"has 4 images and labels of shape \(2,\); give one for each image"),
        (lambda: images(labels=0), r"has 4 images and labels of shape \(\); give one for each image"),
        (lambda: images(labels=[0.0, 1.0, 1.0, 0.0]), "the labels of mine must be integers, and not float64"),
        (lambda: images(images=IMAGES.tolist()), "mine has images of type list; give all in one array of bytes"),
        (lambda: images(images=tuple(IMAGES)), "mine has images of type tuple; give all in one array of bytes"),
        (lambda: images(images=IMAGES[0]), r"shape \(8, 9, 3\); give bytes \(uint8\) of shape \(n, y, x, 3\)"),
        (lambda: images(images=[IMAGES]), r"shape \(4, 8, 9, 3\); give bytes \(uint8\) of shape \(y, x, 3\)"),
        (lambda: images(masks=3), "mine has masks of type int; give all in one array of bytes"),
        (lambda: images(classes=2), r"classes of mine must be names, such as \('cat', 'dog'\), not 2"),
        (lambda: images(classes="ab"), "classes of mine must be names"),
        (lambda: images(**SIZES | {"mask_classes": (0,)}), "mask_classes of mine must be names"),
    ],
)
def test_an_argument_of_another_class_is_an_error_of_one_sentence(give: Callable[[], Any], message: str) -> None:
    with pytest.raises(MinidlError, match=message):
        give()


def test_labels_and_classes_may_come_in_lists() -> None:
    listed = images(labels=LABELS.tolist(), classes=["a", "b"])
    np.testing.assert_array_equal(listed.labels, LABELS)
    assert listed.classes == ("a", "b")
    assert images(classes=np.array(["a", "b"])).classes == ("a", "b")


def test_a_seed_is_as_good_as_a_generator() -> None:
    for one in (Batches(images(), 2, CPU, "float32"), PixelBatches(images(**SIZES), 2, CPU, "float32")):
        one.shuffle(5)
        order = one.crops.order.copy()
        one.shuffle(np.random.default_rng(5))
        np.testing.assert_array_equal(one.crops.order, order)
        with pytest.raises(MinidlError, match="random, a generator of NumPy's or a seed, must be a whole number"):
            one.shuffle(None)
    layer = net(dtype="float64").root
    found, expected = (check_layer(layer, DATA, random) for random in (5, np.random.default_rng(5)))
    assert [check.relative_error for check in found] == [check.relative_error for check in expected]


def test_lists_of_numbers_are_as_good_as_arrays() -> None:
    one, other, loss = net(seed=1), net(seed=2), SoftmaxCrossEntropy(CPU)
    other.load({p.name: p.value.tolist() for p in one.parameters})
    np.testing.assert_array_equal(other.predict(DATA), one.predict(DATA))
    assert loss.score_of([[1.0, 2.0], [3.0, 4.0]], [0, 1]) == loss.score_of(np.array([[1, 2], [3, 4]], "f4"), [0, 1])


def test_one_parameter_is_as_good_as_a_list_of_one() -> None:
    weights = net().parameters[0]
    assert [state.gc for state in SGD(weights, CPU, 0.1, gc=weights).states] == [True]
