"""Predictions of a trained net: for pictures of any size, from files and from memory, by the command and by the API."""

import json
import os
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from minidl import checkpoint, data, models
from minidl.__main__ import main
from minidl.data import images as image_files
from minidl.data.batches import DIVISOR, MEAN
from minidl.data.pictures import palette
from minidl.kernels.errors import MinidlError
from minidl.optimizers import SGD
from minidl.preprocessing import KEEP, Preprocessing

SHAPES = ("disc", "ring", "star")


def save(path, name="a", fit="stretch", shrink=1, shape=(12, 16), described=True, **options):
    """Save a small net with random weights in a folder, like a run, and return the loaded net."""
    net = models.build(name, classes=len(SHAPES), shape=(*shape, 3), device="cpu", **options)
    for p in net.parameters:
        p.value += np.random.default_rng(3).normal(0, 0.05, p.value.shape)
    if described:
        net.preprocessing = Preprocessing(tuple(MEAN), DIVISOR, shape, SHAPES, fit, shrink)
    path.mkdir(exist_ok=True)
    checkpoint.save(path / checkpoint.NAME, net, SGD(net.parameters, net.kernels, 0.1), 1)
    return checkpoint.load(path, "cpu")


@pytest.fixture
def tiny(small):
    """Make nets (a) and (d) small."""
    small("a", filters=(4, 4, 4))
    small("d", filters=(4, 4, 4, 4), count=0)


@pytest.fixture
def photos(tmp_path, random):
    """Return a folder with pictures of several sizes and kinds, and one that is damaged."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, size, mode in (("a.png", (30, 20), "RGB"), ("b.jpg", (16, 12), "RGB"), ("more/a.png", (9, 40), "L")):
        pixels = random.integers(0, 256, (*size[::-1], 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


# -- in a program -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_pictures_of_any_size_are_predicted_as_images_of_the_nets(tiny, tmp_path, random, fit):
    net = save(tmp_path / "run", fit=fit)
    assert net.classes == SHAPES
    arrays = [random.integers(0, 256, shape, np.uint8) for shape in ((12, 16, 3), (20, 30, 3), (50, 7, 3), (9, 9))]
    fitted = np.stack([net.preprocessing.fitted(array) for array in arrays])
    np.testing.assert_array_equal(fitted[0], arrays[0])
    prepared = (fitted - np.array(MEAN)) / DIVISOR
    expected = net.forward(prepared).copy()
    given = [arrays[0], Image.fromarray(arrays[1]), arrays[2], Image.fromarray(arrays[3])]
    np.testing.assert_allclose(net.predict(given), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.predict(given, batch_size=1), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.predict(given[1]), expected[1:2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.predict(arrays[2]), expected[2:3], rtol=1e-5, atol=1e-6)
    assert net.predict([]).shape == (0, 3)


def test_a_grey_picture_alone_is_a_list_of_one(tiny, tmp_path, random):
    net = save(tmp_path / "run")
    grey = random.integers(0, 256, (12, 16), np.uint8)
    expected = net.predict([np.stack([grey] * 3, -1)])
    for given in (grey, [grey], Image.fromarray(grey)):
        np.testing.assert_array_equal(net.predict(given), expected)


@pytest.mark.parametrize("white", [4095, 65535])
def test_a_dark_picture_of_16_bits_is_as_dark_as_in_training(tmp_path, random, white):
    for name, top in (("bright", white + 1), ("dark", 3000)):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.fromarray(random.integers(0, top, (12, 16)).astype(np.uint16)).save(tmp_path / name / f"{i}.png")
    train, test = data.load(str(tmp_path), progress=False, size=16)
    assert train.white == test.white == white
    known = Preprocessing(tuple(MEAN), DIVISOR, (16, 16), train.classes, white=white)
    known = Preprocessing.from_json(json.loads(json.dumps(known.to_json())))
    for place, name in enumerate(train.classes):
        file = tmp_path / name / "0.png"
        seen = train.images[np.flatnonzero(train.labels == place)[0]]
        np.testing.assert_array_equal(known.fitted(Image.open(file)), seen)
        assert abs(known.fitted(known.read(file)).mean() - seen.mean()) < 1


def test_fits():
    """A picture with a white band on its left: stretched, reduced to its middle, or padded with black."""
    picture = np.zeros((10, 40, 3), np.uint8)
    picture[:, :10], picture[:, 10:] = 255, 100
    stretched, cropped, padded = (
        Preprocessing(tuple(MEAN), DIVISOR, (20, 20), SHAPES, fit).fitted(picture)[:, :, 0]
        for fit in ("stretch", "crop", "pad")
    )
    assert (stretched[:, :4] > 200).all()
    assert (stretched[:, 7:] < 120).all()
    assert (cropped == 100).all()
    assert not padded[:7].any()
    assert not padded[13:].any()
    assert (padded[9:11, 8:] == 100).all()
    line = np.full((1, 300, 3), 9, np.uint8)
    assert Preprocessing(tuple(MEAN), DIVISOR, (4, 4), SHAPES, "pad").fitted(line).any()


@pytest.mark.parametrize("picture", [Image.new("RGBA", (5, 5)), Image.new("P", (5, 5)), Image.new("LA", (5, 5))])
def test_pictures_of_other_modes_are_converted(tiny, tmp_path, picture):
    net = save(tmp_path / "run")
    whole = image_files.to_bytes(*image_files.pixels(tmp_path, picture, (16, 12), image_files.WHITE, "stretch"))
    np.testing.assert_array_equal(net.predict(picture), net.predict(whole[None]))


def test_a_picture_that_lies_on_its_side_is_turned(tiny, tmp_path, random):
    net = save(tmp_path / "run")
    upright = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    lying.getexif()[0x0112] = 6
    np.testing.assert_array_equal(net.predict(lying), net.predict(upright))


@pytest.mark.parametrize(
    "given, message",
    [
        ([np.zeros((4, 4, 2), np.uint8)], r"a picture is uint8 of shape .* not uint8 of shape \(4, 4, 2\)"),
        (np.zeros((2, 4, 4, 1), np.uint8), "not uint8 of shape"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3))], "not float64 of shape"),
        (np.zeros((2, 4, 4, 3), np.uint16), "predict got integers of type uint16"),
        (np.zeros((0, 4, 3), np.uint8), "not uint8 of shape"),
        (np.zeros((4, 0), np.uint8), "not uint8 of shape"),
        (np.ma.masked_equal(np.zeros((8, 8, 3), np.uint8), 0), "elements of the array are masked; give each a value"),
        ([np.ma.masked_equal(np.zeros((8, 8, 3), np.uint8), 0)], "elements of the array are masked; give each a value"),
        (Image.new("L", (0, 3)), "a picture of 0×3 pixels shows nothing; leave it out"),
        (
            [Image.new("L", (4, 3)), "street.jpg"],
            "takes pictures, and not the name of a file, 'street.jpg'; open it by PIL.Image.open",
        ),
        (
            [Image.new("L", (4, 3)), None],
            "a picture is a PIL image or an array of uint8, not NoneType; give one of these",
        ),
    ],
)
def test_an_array_that_is_no_picture_is_refused(tiny, tmp_path, given, message):
    net = save(tmp_path / "run")
    with pytest.raises(MinidlError, match=message):
        net.predict(given)


def test_a_picture_that_cannot_be_decoded_is_refused(tiny, tmp_path, random):
    net, file = save(tmp_path / "run"), BytesIO()
    Image.fromarray(random.integers(0, 256, (90, 90, 3)).astype(np.uint8)).save(file, "PNG")
    with pytest.raises(MinidlError, match=r"the picture cannot be decoded as an image .*truncated"):
        net.predict(Image.open(BytesIO(file.getvalue()[:9000])))
    closed = Image.new("RGB", (4, 4))
    closed.close()
    with pytest.raises(MinidlError, match=r"the picture cannot be decoded as an image .*closed"):
        net.predict(closed)


def test_a_net_that_does_not_know_how_pictures_are_prepared_says_so(tiny, tmp_path):
    net = save(tmp_path / "run", described=False)
    assert net.classes == ()
    for given in (Image.new("RGB", (4, 4)), np.zeros((12, 16, 3), np.uint8)):
        with pytest.raises(MinidlError, match="does not know how to prepare them"):
            net.predict(given)


@pytest.mark.parametrize("shrink", [1, 2])
def test_a_net_that_labels_pixels_takes_pictures_as_they_are(tiny, tmp_path, random, shrink):
    net = save(tmp_path / "run", "d", KEEP, shrink)
    one, other = (random.integers(0, 256, shape, np.uint8) for shape in ((13, 9, 3), (8, 20, 3)))
    outputs = net.predict([one, other, other])
    assert [output.shape for output in outputs] == [(13, 9, 3), (8, 20, 3), (8, 20, 3)]
    assert net.predict([other, other]).shape == (2, 8, 20, 3)
    seen = np.asarray(Image.fromarray(one).reduce(shrink)) if shrink > 1 else one
    expected = net.forward(((seen - np.array(MEAN)) / DIVISOR)[None])[0].repeat(shrink, 0).repeat(shrink, 1)
    np.testing.assert_allclose(outputs[0], expected[:13, :9], rtol=1e-4, atol=1e-5)


# -- by the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def predict(tmp_path):
    """Return a function that runs the command with the run, and returns the exit status."""

    def call(*arguments):
        return main(["predict", str(tmp_path / "run"), *map(str, arguments), "--device", "cpu"])

    return call


def test_pictures_are_classified_and_drawn(tiny, tmp_path, photos, predict, capsys):
    net = save(tmp_path / "run", fit="crop")
    assert predict(photos, "--json", "--top", 2) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["file"] for one in told["pictures"]] == [
        str(photos / name) for name in ("a.png", "b.jpg", "more/a.png")
    ]
    logits = net.predict([Image.open(one["file"]) for one in told["pictures"]]).astype(np.float64)
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for one, row in zip(told["pictures"], right, strict=True):
        assert [found["class"] for found in one["classes"]] == [SHAPES[i] for i in np.argsort(-row)[:2]]
        np.testing.assert_allclose(
            [found["probability"] for found in one["classes"]], np.sort(row)[::-1][:2], rtol=1e-4
        )
    assert told["drawn"] == str(tmp_path / "run" / "predicted" / "predictions.png")
    with Image.open(told["drawn"]) as picture:
        assert picture.width > 500


def test_a_picture_that_cannot_be_read_does_not_stop_the_others(tiny, tmp_path, photos, predict, capsys):
    save(tmp_path / "run")
    (photos / "c\x1b.png").write_bytes(b"garbage")
    assert predict(photos, tmp_path / "missing.png", "--out", tmp_path / "out") == 1
    told = capsys.readouterr()
    assert told.out.count(" %") == 0
    assert len(told.out.splitlines()) == 4  # three pictures, and the file in which they are drawn
    assert f"3 of 5 pictures are drawn in {tmp_path / 'out' / 'predictions.png'}" in told.out
    assert [line.split(" ")[0] for line in told.err.splitlines()] == ["minidl"] * 3
    assert "\x1b" not in told.err
    assert "2 of 5 pictures could not be read" in told.err
    assert predict(tmp_path / "missing.png") == 2
    assert predict(tmp_path) == 1
    (tmp_path / "empty").mkdir()
    assert predict(tmp_path / "empty") == 2
    assert "holds no pictures" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_predictions_that_could_not_be_printed_are_not_said_to_be_there(tmp_path, photos):
    save(tmp_path / "run")
    command = [sys.executable, "-m", "minidl", "predict", tmp_path / "run", photos, "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(list(map(str, command)), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "minidl predict: the result could not be printed (No space left on device); print it" in done.stderr


def test_a_drawing_that_fails_is_not_said_to_be_there(tiny, tmp_path, photos, predict, capsys):
    """A folder in its place stands for a disk that is full."""
    save(tmp_path / "run")
    (tmp_path / "run" / "predicted" / "predictions.png").mkdir(parents=True)
    assert predict(photos) == 0
    told = capsys.readouterr()
    assert "predictions.png could not be drawn" in told.err
    assert "drawn" not in told.out
    assert predict(photos, "--json") == 0
    assert json.loads(capsys.readouterr().out)["drawn"] is None


def test_pixels_are_labelled_in_vocs_colours(tiny, tmp_path, photos, predict, capsys):
    net = save(tmp_path / "run", "d", KEEP)
    assert predict(photos, "--json") == 0
    told = json.loads(capsys.readouterr().out)["pictures"]
    assert len({one["labels"] for one in told}) == 3
    for one in told:
        with (
            Image.open(one["file"]) as picture,
            Image.open(one["labels"]) as labels,
            Image.open(one["overlay"]) as over,
        ):
            expected = net.predict(picture)[0].argmax(axis=-1)
            np.testing.assert_array_equal(np.asarray(labels), expected)
            np.testing.assert_array_equal(np.asarray(labels.convert("RGB")), palette()[expected])
            assert over.size == picture.size
        shares = {found["class"]: found["share"] for found in one["classes"]}
        for i, name in enumerate(SHAPES):
            assert shares.get(name, 0) == pytest.approx((expected == i).mean())


@pytest.mark.parametrize(
    "described, message", [(False, "does not say how pictures are prepared"), (None, "no checkpoint")]
)
def test_an_unusable_run_is_an_error_of_one_sentence(tiny, tmp_path, photos, predict, capsys, described, message):
    if described is not None:
        save(tmp_path / "run", described=described)
    assert predict(photos) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
