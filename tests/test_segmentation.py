"""Training net (d) at small widths on labelled pixels, from the command line."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import train
from minidl import checkpoint
from minidl.__main__ import main as minidl
from minidl.data.pictures import palette
from minidl.layers import AnySize, Convolution, ReLU, Sequential
from minidl.models.registry import model


@pytest.fixture
def run(tmp_path, random, small):
    """Return a function that trains on four bright and dark images in VOC's layout and returns the exit status."""
    small("d", filters=(4, 4, 4, 4), count=0)
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    for i, size in enumerate([(70, 90), (60, 80), (250, 240), (70, 90), (41, 83), (41, 83)]):
        mask = np.zeros(size, np.uint8)
        mask[size[0] // 2 :] = 5
        mask[:, :3] = 255
        image = random.integers(0, 60, (*size, 3)) + 150 * (mask == 5)[..., None]
        Image.fromarray(image.astype(np.uint8)).save(folder / "JPEGImages" / f"{i}.jpg")
        labels = Image.fromarray(mask)
        labels.putpalette(palette().tobytes())
        labels.save(folder / "SegmentationClass" / f"{i}.png")
    for part, ids in (("train", "0123"), ("val", "45")):
        (folder / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("\n".join(ids))

    def call(*arguments, out="run"):
        place = [] if "--resume" in arguments else ["--data", "voc2012", "--out", str(tmp_path / out)]
        return train.main([*place, "--data-root", str(tmp_path), "--device", "cpu", "--quiet", *map(str, arguments)])

    return call


SMALL = ("--model", "d", "--batch-size", "2")


def test_a_run_and_its_record(run, tmp_path):
    assert run(*SMALL, "--epochs", 2) == 0
    path = tmp_path / "run"
    settings = json.loads((path / "config.json").read_text())["settings"]
    assert (settings["method"], settings["optimizer"], settings["drop_every"]) == ("WC, GC, BN", "sgd", 200)
    result = json.loads((path / "result.json").read_text())
    assert 0 < result["mean_iou"] < 1
    with open(path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert [list(row)[-3:] for row in rows] == [["test_loss", "test_accuracy", "seconds"]] * 2
    assert result["test_accuracy"] == float(rows[-1]["test_accuracy"])
    with Image.open(path / "predictions.png") as picture:
        assert picture.size == (3 * 83 + 8, 2 * 41 + 4)
    net = checkpoint.load(path, "cpu")
    assert not any(layer.kind == "bn" for layer in net.layers)
    assert net.forward(np.zeros((1, 41, 83, 3), np.float32)).shape == (1, 41, 83, 21)


def test_small_images_and_crops(run, tmp_path):
    assert run(*SMALL, "--epochs", 1, "--shrink", 2, "--crop", 30) == 0
    net = checkpoint.load(tmp_path / "run", "cpu")
    assert net.output_shape == (30, 30, 21)
    with Image.open(tmp_path / "run" / "predictions.png") as picture:
        assert picture.size == (3 * 3 * 42 + 8, 2 * 3 * 21 + 4)  # drawn three times as large
    assert run("--resume", tmp_path / "run", "--crop", 100, "--epochs", 2) == 0
    assert checkpoint.load(tmp_path / "run", "cpu").output_shape == (100, 100, 21)  # smaller than 250/2, half the side


def test_a_resumed_segmentation_equals_one_that_did_not_stop(run, tmp_path):
    crops = ("--shrink", 2, "--crop", 30)
    assert run(*SMALL, *crops, "--epochs", 2, out="whole") == 0
    assert run(*SMALL, *crops, "--epochs", 1) == 0
    assert run("--resume", tmp_path / "run", "--epochs", 2) == 0
    logs = [(tmp_path / out / "log.csv").read_text().splitlines() for out in ("whole", "run")]
    whole, resumed = ([line.rsplit(",", 1)[0] for line in log] for log in logs)  # all but the seconds
    assert whole == resumed
    whole, resumed = (checkpoint.load(tmp_path / out, "cpu") for out in ("whole", "run"))
    for p, q in zip(whole.parameters, resumed.parameters, strict=True):
        np.testing.assert_array_equal(p.value, q.value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model", "c"], "voc2012 has a label for each pixel and none for an image; use --model d for it"),
        (["--model", "d", "--data", "set"], "set has no label for each pixel, which --model d needs"),
        (["--model", "d", "--method", "WC, fully"], "leave the word fully out"),
        (["--model", "d", "--batch-size", "5"], "a batch of 5 is larger than the 4 images"),
    ],
)
def test_bad_input_is_an_error_of_one_sentence(run, tmp_path, monkeypatch, capsys, arguments, message):
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "set" / name)
    monkeypatch.chdir(tmp_path)
    assert run("--batch-size", 2, *arguments) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_built_in_set_has_masks(run, tmp_path):
    assert run(*SMALL, "--data", "shapes", "--train-size", 6, "--test-size", 3, "--epochs", 1) == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["mean_iou"] >= 0
    assert checkpoint.load(tmp_path / "run", "cpu").output_shape == (32, 32, 11)


def test_a_walk(run, tmp_path, capsys):
    arguments = ["walk", *SMALL, "--data", "voc2012", "--data-root", str(tmp_path), "--shrink", "2", "--crop", "30"]
    assert minidl([*arguments, "--layer", "tconv1", "--filter", "3", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "guessing among 21 classes" in out
    assert "ONE FILTER tconv1, filter 3 of 4 (" in out


@pytest.mark.parametrize("around", ["nothing", "any size", "a sequence"])
def test_a_net_that_cannot_be_tested_on_the_set_is_not_trained(run, names, tmp_path, capsys, around):
    def layers(classes, method):
        body = Sequential(Convolution(2, 3), ReLU(), Convolution(classes, 1))
        body = body if around == "nothing" else AnySize(body, least=1, step=1)
        return Sequential(body) if around == "a sequence" else body

    model("pix", per_pixel=True)(layers)
    options = ("--model", "pix", "--method", "Baseline", "--batch-size", 2, "--epochs", 1)
    assert run(*options) == (2 if around == "nothing" else 0)
    if around == "nothing":
        said = capsys.readouterr().err
        assert "the model 'pix' takes only images of 227×227 pixels, but the test has others, such as 41×83;" in said
        assert "put its layers into AnySize(Sequential(...), least=..., step=...), as models/d.py does" in said
        assert not (tmp_path / "run").exists()
        assert run(*options, "--data", "shapes") == 0
