"""A last batch of one sample is joined to the batch before it, and areas are checked before anything is written."""

import re

import numpy as np
import pytest
from PIL import Image

import reproduce
import train
from minidl.data import Dataset
from minidl.data.batches import Batches, sizes
from minidl.data.pixel_batches import PixelBatches
from minidl.data.shapes import load as load_shapes
from minidl.experiment.trainer import Trainer
from minidl.layers import Convolution, Flatten, FullyConnected, MaxPool, ReLU, Sequential
from minidl.net import Net
from minidl.optimizers import Adam


@pytest.mark.parametrize(
    "samples, batch_size, expected",
    [
        (16, 5, [5, 5, 6]),
        (17, 5, [5, 5, 5, 2]),
        (15, 5, [5, 5, 5]),
        (6, 5, [6]),
        (5, 2, [2, 3]),
        (3, 2, [3]),
        (2, 2, [2]),
        (3, 1, [1, 1, 1]),
        (1, 1, [1]),
    ],
)
def test_no_batch_of_one_is_left(samples, batch_size, expected):
    assert sizes(samples, batch_size) == expected


@pytest.mark.parametrize("kind", [Batches, PixelBatches])
def test_a_joined_batch_has_all_that_both_had(backend, kind):
    """The samples of an epoch are the same as with batches of one size, in the same order."""
    images, _ = load_shapes(10, 10)
    some = images.subset(7)
    joined, single = kind(some, 3, backend, "float32"), kind(some, 1, backend, "float32")
    for _ in range(2):
        parts = []
        for batches in (joined, single):
            coming = batches.shuffle(np.random.default_rng(5))
            made = [tuple(backend.host(part).copy() for part in batches.next(size)) for size in coming]
            assert [len(labels) for _, labels in made] == coming == batches.sizes
            parts.append([np.concatenate(part) for part in zip(*made, strict=True)])
        assert joined.sizes == [3, 4]
        for one, other in zip(*parts, strict=True):
            np.testing.assert_array_equal(one, other)
    tested = (
        np.concatenate([backend.host(data).copy() for data, _ in batches.in_order()]) for batches in (joined, single)
    )
    np.testing.assert_array_equal(*tested)


def test_whole_batches_are_still_recorded(gpu, random):
    images = random.integers(0, 256, (9, 6, 6, 3), dtype=np.uint8)
    some = Dataset("mine", images, random.integers(0, 3, 9), ("a", "b", "c"))

    def trained(record):
        stages = [layer for _ in range(2) for layer in (Convolution(4, 3), ReLU(), MaxPool(2, 2))]
        root = Sequential(*stages, Flatten(), FullyConnected(3))
        net, batches = Net(root, (6, 6, 3), gpu, method="EB"), Batches(some, 2, gpu, "float32")
        trainer = Trainer(net, Adam(net.parameters, gpu, learning_rate=0.01), batches, batches, 1, 0)
        if not record:
            trainer.full_step = lambda: trainer.next_step(2)
        losses = [trainer.run_epoch(epoch).train_loss for epoch in range(1, 4)]
        return trainer, losses

    recorded, losses = trained(True)
    assert recorded.train.sizes == [2, 2, 2, 3]
    assert recorded.full_step.graph is not None
    assert losses == trained(False)[1]


@pytest.fixture
def run(tmp_path, random, capsys):
    """Return a function that trains on some images of each of two colours; it returns exit status and output."""

    def call(images, *arguments):
        for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            for part, count in (("train", images), ("test", 2)):
                (tmp_path / "set" / part / label).mkdir(parents=True, exist_ok=True)
                for i in range(count):
                    pixels = random.integers(0, 100, (8, 8, 3)) + np.array(colour) // 2
                    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "set" / part / label / f"{i}.png")
        place = ["--data", tmp_path / "set", "--out", tmp_path / "run", "--device", "cpu", "--epochs", 1]
        status = train.main([*map(str, (*place, *arguments))])
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    return call


JOINED = "One image would be left for the last batch of an epoch; it joins the batch before.\n"


@pytest.mark.parametrize("model, method", [("c", "EBN, fully"), ("c", "EB, fully"), ("a", "WC, GC, BN, fully")])
def test_a_run_whose_last_batch_would_have_one_image(run, tmp_path, model, method):
    status, shown = run(4, "--train-size", 7, "--batch-size", 3, "--model", model, "--method", method)
    assert status == 0
    assert shown.count(JOINED) == 1
    assert (tmp_path / "run" / "result.json").exists()


def test_the_resnet_with_eb_trains_on_a_last_batch_of_one_image(run, tmp_path, small):
    small("b", filters=(4, 4, 4, 4), blocks=(1, 1, 1, 1))
    status, shown = run(4, "--train-size", 5, "--batch-size", 2, "--model", "b", "--method", "EB", "--quiet")
    assert status == 0
    assert "joins" not in shown


@pytest.mark.parametrize("arguments", [["--train-size", 1, "--batch-size", 1], ["--batch-size", 1], []])
def test_batches_of_one_image_that_were_asked_for(run, arguments):
    status, shown = run(2, "--batch-size", 2, *arguments, "--method", "WC, GC, fully")
    assert status == 0
    assert "joins" not in shown


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model", "b", "--method", "error instance"], "cannot have error instance: .* area here, or larger images"),
        (["--method", "weight instance, fully"], "fc1 .* cannot have weight instance: .*, or leave the word fully out"),
        (["--model", "b", "--method", "EB", "--batch-size", 1], "cannot have EB: .*, or larger batches"),
        (["--method", "EBN, fully", "--batch-size", 1], "fc1 .* cannot have EBN: .*, or larger batches"),
    ],
    ids=str,
)
def test_an_area_of_single_elements_ends_a_run_before_it_begins(run, tmp_path, arguments, message):
    status, shown = run(3, "--batch-size", 2, *arguments)
    assert status == 2
    assert shown.startswith("train.py: ")
    assert shown.count("\n") == 1
    assert re.search(message, shown)
    assert not (tmp_path / "run").exists()


def test_a_row_that_cannot_run_says_why(tmp_path, capsys, monkeypatch, small, in_this_process):
    """For example net (b), whose last errors have one pixel."""
    from minidl.experiment.sweeps import reproduction
    from minidl.experiment.sweeps.rows import Row

    row = Row(5, "shapes", "b", "error instance", 50.0)
    monkeypatch.setattr(reproduction, "read_rows", lambda table: [row])
    monkeypatch.setattr(reproduction, "budget", lambda options, row: {"train_size": 20, "batch_size": 5, "epochs": 1})
    small("b", filters=(4, 4, 4, 4), blocks=(1, 1, 1, 1))
    assert reproduce.main(["--table", "5", "--out", str(tmp_path)]) == 1
    shown = capsys.readouterr().err.strip()
    assert "cannot have error instance" in shown.splitlines()[-1]
    assert shown.endswith("or larger images")
