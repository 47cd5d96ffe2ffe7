"""Labels that do not fit are refused everywhere: by losses, metrics and data sets."""

import numpy as np
import pytest

from minidl import MinidlError, models
from minidl.data import Dataset
from minidl.data.batches import Batches
from minidl.experiment.metrics import Confusion
from minidl.experiment.trainer import Trainer
from minidl.layers import Flatten, FullyConnected, Sequential
from minidl.losses import SoftmaxCrossEntropy
from minidl.net import Net
from minidl.optimizers import SGD

MISFITS = {
    "one-hot": (
        np.eye(5, dtype=int)[[0, 1, 2, 3]],
        r"and not \(4, 5\); of labels that are one-hot, give",
    ),
    "too many": (np.zeros(8, int), r"output of shape \(4, 5\) must have the shape \(4,\).* and not \(8,\)$"),
    "too few": (np.zeros(1, int), r"and not \(1,\)$"),
    "a column": (np.zeros((4, 1), int), r"and not \(4, 1\)$"),
    "real numbers": (np.zeros(4), r"must be integers, and not float64; give labels.astype\(int\)"),
    "yes or no": (np.zeros(4, bool), "must be integers, and not bool"),
}
MASKED = np.ma.masked_equal([0, 1, 2, 3], 3)


@pytest.mark.parametrize("name", MISFITS)
def test_labels_of_another_shape_or_type_are_refused(backend, random, name):
    wrong, message = MISFITS[name]
    loss, confusion = SoftmaxCrossEntropy(backend), Confusion(5, backend)
    output = backend.xp.asarray(random.standard_normal((4, 5)))
    for use in (loss, loss.score_of, confusion.add):
        with pytest.raises(MinidlError, match=message):
            use(output, backend.xp.asarray(wrong))
    assert loss.error is None
    assert not backend.host(confusion.counts).any()


def test_a_single_row_has_a_single_label(backend, random):
    row = random.standard_normal(5)
    expected = SoftmaxCrossEntropy(backend).score_of(backend.xp.asarray(row[None]), [2])
    for label in (2, np.int8(2), backend.xp.asarray(2)):
        assert SoftmaxCrossEntropy(backend).score_of(backend.xp.asarray(row), label) == expected


@pytest.mark.parametrize("output", [3.0, np.zeros(0), np.zeros((4, 0))], ids=str)
def test_an_output_of_no_classes_is_refused(backend, output):
    for use in (SoftmaxCrossEntropy(backend), Confusion(5, backend).add):
        with pytest.raises(MinidlError, match=r"an output of shape \(.*\) has no classes; give one"):
            use(backend.xp.asarray(output), backend.xp.zeros(4, int))


def test_labels_of_turned_pictures_are_refused(backend, random):
    output, labels = random.standard_normal((2, 3, 4, 5)), random.integers(0, 5, (2, 4, 3))
    for use in (SoftmaxCrossEntropy(backend), Confusion(5, backend).add):
        with pytest.raises(MinidlError, match=r"must have the shape \(2, 3, 4\)"):
            use(backend.xp.asarray(output), backend.xp.asarray(labels))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("far", [False, True])
def test_labels_out_of_range_are_refused(backend, random, dtype, far):
    """Immediately if this costs nothing, otherwise with the score; nothing is read or written out of bounds."""
    loss = SoftmaxCrossEntropy(backend)
    output = backend.xp.asarray(random.standard_normal((300, 5)))
    labels = random.integers(0, 5, 300).astype(dtype)
    labels[[7, 299]] = 5, (np.iinfo(dtype).max if far else 5)
    message = "output of 5 classes must be 0 to 4, .* but 2 of them are 5 or more"
    with pytest.raises(MinidlError, match=message):
        loss.score_of(output, backend.xp.asarray(labels))
    if loss.error is not None:  # a GPU checks the labels later
        error = backend.host(loss.error)
        assert np.isfinite(error).all()
        assert not error[[7, 299]].any()
    confusion = Confusion(5, backend)
    with pytest.raises(MinidlError, match=message):
        confusion.add(output, backend.xp.asarray(labels))
    assert not backend.host(confusion.counts).any()
    labels[[7, 299]] = 4
    expected = SoftmaxCrossEntropy(backend).score_of(output, backend.xp.asarray(labels.astype(int)))
    assert loss.score_of(output, backend.xp.asarray(labels)) == pytest.approx(expected)


def test_a_loss_takes_strided_labels_and_then_another_number_type(backend, random):
    output, labels = random.standard_normal((6, 5)), backend.xp.asarray(random.integers(0, 5, 12))
    loss = SoftmaxCrossEntropy(backend)
    exact = loss.score_of(backend.xp.asarray(output), labels[::2])
    assert exact == loss.score_of(backend.xp.asarray(output), backend.xp.asarray(backend.host(labels)[::2].copy()))
    rounded = loss.score_of(backend.xp.asarray(output[:4].astype(np.float32)), labels[:4])
    assert loss.error.dtype == np.float32
    assert rounded == pytest.approx(loss.score_of(backend.xp.asarray(output[:4]), labels[:4]), rel=1e-5)


def test_an_output_of_another_number_of_classes_is_refused(backend):
    with pytest.raises(MinidlError, match="an output of 3 classes was expected, and not of 4"):
        Confusion(3, backend).add(backend.xp.zeros((2, 4)), backend.xp.zeros(2, int))


def test_a_recorded_step_stays_recorded_and_reports_wrong_labels_with_its_score(gpu):
    """Labels that change after the recording are checked, too."""
    images = Dataset("mine", np.zeros((8, 6, 6, 3), np.uint8), np.arange(8) % 3, ("a", "b", "c"))
    net = Net(Sequential(Flatten(), FullyConnected(3)), (6, 6, 3), gpu)
    batches = Batches(images, 2, gpu, "float32")
    trainer = Trainer(net, SGD(net.parameters, gpu, learning_rate=0.1), batches, batches, 1, 0)
    trainer.run_epoch(1)
    assert trainer.full_step.graph is not None
    batches.truth[3] = 3
    with pytest.raises(MinidlError, match="but 1 of them are 3 or more"):
        trainer.run_epoch(2)


def test_masked_labels_are_refused():
    with pytest.raises(MinidlError, match="elements of the array are masked; give each a value"):
        SoftmaxCrossEntropy("cpu")(np.zeros((4, 5)), MASKED)


IMAGES = np.zeros((2, 4, 6, 3), np.uint8)


def test_images_of_no_pixels_are_refused():
    for images in (IMAGES[:, :, :0], [np.zeros((4, 6, 3), np.uint8), np.zeros((0, 6, 3), np.uint8)]):
        with pytest.raises(MinidlError, match="red, green and blue last, and with at least one pixel"):
            Dataset("mine", images, np.array([0, 1]), classes=("a", "b"))


@pytest.mark.parametrize("name", ["images", "labels", "masks"])
def test_a_set_with_masked_elements_is_refused(name):
    arrays = {"images": IMAGES, "labels": np.array([0, 1]), "masks": IMAGES[..., 0]}
    arrays[name] = np.ma.masked_equal(arrays[name], 0)
    with pytest.raises(MinidlError, match="elements of the array are masked; give each a value"):
        Dataset("mine", **arrays, classes=("a", "b"), mask_classes=("c",))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"labels": np.array([0, 2])}, "mine has the label 2; with its 2 classes, labels are 0 to 1$"),
        ({"labels": np.array([-1, 1])}, "mine has the label -1"),
        ({"labels": np.array([0, 1, 1])}, r"2 images and labels of shape \(3,\); give one for each image"),
        ({"labels": np.eye(2, dtype=int)}, r"2 images and labels of shape \(2, 2\)"),
        ({"labels": np.array([0.0, 1.0])}, "labels of mine must be integers, and not float64"),
        ({"masks": np.zeros((3, 4, 6), np.uint8)}, "2 images and 3 masks; give one for each image"),
        ({"masks": np.zeros((2, 6, 4), np.uint8)}, r"shape \(2, 6, 4\) .*; give masks of uint8 of shape \(2, 4, 6\)"),
        ({"masks": np.zeros((2, 4, 6), int)}, "mine has masks of int64"),
        (
            {"masks": np.full((2, 4, 6), 3, np.uint8)},
            "the label 3 in a mask; with its 3 classes of masks, ",
        ),
        ({"masks": np.full((2, 4, 6), 254, np.uint8)}, "the label 254 in a mask"),
        ({"masks": [np.zeros((4, 6), np.uint8), np.zeros((6, 4), np.uint8)]}, r"for images of shape \(4, 6, 3\)"),
    ],
    ids=str,
)
def test_a_set_whose_labels_do_not_fit_is_refused(options, message):
    masks = np.full((2, 4, 6), 2, np.uint8)
    masks[0] = 255
    right = {"labels": np.array([0, 1]), "masks": masks}
    Dataset("mine", IMAGES, **right, classes=("a", "b"), mask_classes=("x", "y", "z"))
    with pytest.raises(MinidlError, match=message):
        Dataset("mine", IMAGES, **{**right, **options}, classes=("a", "b"), mask_classes=("x", "y", "z"))


def test_a_net_of_too_few_classes_says_so(random):
    net = models.build("c", classes=2, shape=(8, 8, 3), device="cpu")
    trainer = Trainer(net, SGD(net.parameters, net.kernels, learning_rate=0.1), None, None, 1, 0)
    before = net.parameters[0].value.copy()
    net.train()
    with pytest.raises(MinidlError, match="give the net as many classes as there are"):
        trainer.step(random.standard_normal((3, 8, 8, 3)).astype(np.float32), np.array([0, 1, 2]))
    np.testing.assert_allclose(net.parameters[0].value, before, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_labels_of_a_set_may_be_integers_of_any_width(backend, random, dtype):
    images, labels = random.integers(0, 256, (5, 4, 4, 3), np.uint8), np.array([2, 0, 1, 1, 2], dtype)
    batches = Batches(Dataset("mine", images, labels, ("a", "b", "c")), 5, backend, np.float32)
    ((_, found),) = batches.in_order()
    np.testing.assert_array_equal(backend.host(found), labels)
