"""The built-in set: the same bytes everywhere, and hard enough to train on."""

import hashlib

import numpy as np
import pytest

from minidl.data import Dataset, load, outlines, shapes


@pytest.fixture(scope="module")
def parts() -> tuple[Dataset, Dataset]:
    """The whole default set."""
    return load("shapes")


def digest(dataset: Dataset) -> str:
    assert dataset.masks is not None
    content = dataset.images.tobytes() + dataset.labels.astype("<i8").tobytes() + dataset.masks.tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def test_the_default_set_is_the_same_on_every_machine(parts: tuple[Dataset, Dataset]) -> None:
    assert [digest(part) for part in parts] == ["219f8c382ce8e04c", "e4e28fc268101fda"]


def test_the_default_set_has_ten_balanced_classes(parts: tuple[Dataset, Dataset]) -> None:
    train, test = parts
    assert train.images.shape == (10_000, 32, 32, 3)
    assert test.images.shape == (2_000, 32, 32, 3)
    assert len(train.classes) == 10
    assert np.bincount(train.labels).tolist() == [1_000] * 10
    assert np.bincount(test.labels).tolist() == [200] * 10


def test_seed_and_part_change_the_images() -> None:
    train, test = shapes.load(100, 100, seed=5)
    assert digest(shapes.load(100, 100, seed=5)[0]) == digest(train)
    assert digest(shapes.load(100, 100, seed=6)[0]) != digest(train) != digest(test)


def test_a_count_that_does_not_fill_the_last_chunk() -> None:
    train, test = shapes.load(67, 1)
    assert (len(train), len(test)) == (67, 1)
    assert train.labels[-1] == 6


def test_a_mask_holds_the_background_and_its_images_class(parts: tuple[Dataset, Dataset]) -> None:
    for part in parts:
        assert part.masks is not None
        assert part.masks.dtype == np.uint8
        shape = part.masks == (1 + part.labels)[:, None, None]
        assert (shape | (part.masks == 0)).all()
        assert shape.sum(axis=(1, 2)).min() >= 40


def test_the_mask_lies_on_the_shape(parts: tuple[Dataset, Dataset]) -> None:
    """The shape is brighter by at least 32 of 255, before the noise and the background's second colour."""
    train, _ = parts
    assert train.masks is not None
    grey = train.images.mean(axis=-1)
    inside = train.masks > 0
    brightness = [(grey * part).sum(axis=(1, 2)) / part.sum(axis=(1, 2)) for part in (inside, ~inside)]
    assert (brightness[0] > brightness[1]).mean() > 0.95


def test_the_ten_outlines_differ_and_stay_inside_the_border() -> None:
    bitmaps = outlines.bitmaps()
    assert len(bitmaps) == len(outlines.CLASSES) + len(outlines.DISTRACTORS)
    assert len(np.unique(bitmaps.reshape(len(bitmaps), -1), axis=0)) == len(bitmaps)
    reach = np.hypot(*(2 * np.indices((outlines.SIZE, outlines.SIZE)) + 1 - outlines.SIZE))
    assert max(reach[bitmap > 0].max() for bitmap in bitmaps) <= outlines.RADIUS


def test_a_circle_and_a_square_have_their_areas() -> None:
    """The pixels of the bitmap are two units wide."""
    circle, square = outlines.bitmaps()[:2].sum(axis=(1, 2))
    assert circle == pytest.approx(np.pi * 50**2, rel=0.01)
    assert square == 82**2


def test_a_linear_classifier_does_not_solve_the_set(parts: tuple[Dataset, Dataset]) -> None:
    """Three epochs of Adam on the pixels give well above chance, but far below 60 %."""
    (train, test), random = parts, np.random.default_rng(0)
    pixels, test_pixels = ((part.images.reshape(len(part), -1) - np.float32(110)) / 256 for part in parts)
    weights, mean, square = (np.zeros((3072, 10), np.float32) for _ in range(3))
    step = 0
    for _ in range(3):
        for batch in np.split(random.permutation(len(train)), 100):
            scores = pixels[batch] @ weights
            error = np.exp(scores - scores.max(axis=1, keepdims=True))
            error /= error.sum(axis=1, keepdims=True)
            error[np.arange(100), train.labels[batch]] -= 1
            grads = pixels[batch].T @ error / 100
            step += 1
            mean += 0.1 * (grads - mean)
            square += 0.001 * (grads**2 - square)
            weights -= 1e-3 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    accuracy = ((test_pixels @ weights).argmax(axis=1) == test.labels).mean()
    assert 0.15 < accuracy < 0.6
