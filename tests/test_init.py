"""Training begins with the weights of an earlier net (--init), and images have the requested size."""

import json

import numpy as np
import pytest
from image_folder import write_images
from PIL import Image
from safetensors.numpy import load_file, save_file

import train
from minidl import checkpoint, data
from minidl.__main__ import main
from minidl.experiment.options import read
from minidl.experiment.preparation import prepare
from minidl.experiment.settings import complete
from minidl.experiment.use.export import export
from minidl.layers import Flatten, FullyConnected, Sequential
from minidl.net import Net
from minidl.optimizers import SGD


@pytest.fixture
def sets(small, tmp_path, random):
    """Make net (a) small, write a set of two classes, and return a function that trains on it."""
    small("a", filters=(2, 3, 4))
    write_images(tmp_path / "set", 3, random)

    def call(*words, out="run", method="WC, BN"):
        place = ["--data", tmp_path / "set", "--out", tmp_path / out]
        options = ["--model", "a", "--method", method, "--epochs", 1, "--batch-size", 2, "--device", "cpu", "--quiet"]
        return train.main([*map(str, (*place, *options, *words))])

    return call


def begun(path, *words, method="WC, BN"):
    """Return an experiment that is ready to begin."""
    options = ["--data", path / "set", "--model", "a", "--method", method, "--device", "cpu", *words]
    return prepare(complete(*read(train.parser(), list(map(str, options))))[0])


def arrays(net):
    return {p.name: p.value.copy() for p in net.parameters} | net.running()


@pytest.mark.parametrize("kind", ["run", "checkpoint", "safetensors", "pytorch", "a module's state"])
def test_a_net_begins_with_all_that_an_earlier_one_has_learned(sets, tmp_path, kind):
    assert sets() == 0
    start = {"run": tmp_path / "run", "checkpoint": tmp_path / "run" / checkpoint.NAME}.get(kind)
    if start is None:
        start, _ = export(tmp_path / "run", kind if kind == "safetensors" else "pytorch", tmp_path / "net.safetensors")
    if kind == "a module's state":
        save_file(load_file(start), start)  # as users of PyTorch save it: without a description
    net = begun(tmp_path, "--init", start).trainer.net
    saved = load_file(tmp_path / "run" / checkpoint.NAME)
    for name, array in arrays(net).items():
        np.testing.assert_allclose(array, saved[f"net/{name}"], rtol=0, atol=1e-7)  # a second WC changes the last bits
    assert net.running()["bn1.updates"] > 0


def test_weights_in_float64_are_rounded_and_that_is_said(sets, tmp_path):
    assert sets() == 0
    start, _ = export(tmp_path / "run", "pytorch", tmp_path / "net.safetensors")
    arrays = {name: a.astype(np.float64) if a.dtype == np.float32 else a for name, a in load_file(start).items()}
    save_file(arrays, start)
    experiment = begun(tmp_path, "--init", start)
    assert experiment.trainer.net.dtype == np.float32
    assert "These are in float64 there, and rounded to float32 here." in experiment.notes


@pytest.mark.parametrize("kind", ["run", "a module's state"])
def test_another_number_of_classes_resets_the_last_layer(sets, tmp_path, random, capsys, kind):
    assert sets() == 0
    start = tmp_path / "run"
    if kind != "run":
        start, _ = export(start, "pytorch", tmp_path / "net.safetensors")
        save_file(load_file(start), start)
    (tmp_path / "set" / "third").mkdir()
    for i in range(3):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / "set" / "third" / f"{i}.png")
    experiment = begun(tmp_path, "--init", start)
    fresh = arrays(begun(tmp_path).trainer.net)
    saved = load_file(tmp_path / "run" / checkpoint.NAME)
    for name, array in arrays(experiment.trainer.net).items():
        expected = fresh[name] if name.startswith("fc2") else saved[f"net/{name}"]
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-7)
    assert "fc2 starts with random weights: it has 3 outputs here and 2 there." in experiment.notes
    assert f"Begins with the weights of {start}." in experiment.notes


def test_the_weights_are_normalized_before_the_first_step(sets, tmp_path):
    """Even if the update does WC, which is only after the first step; a trace gets the weights as loaded."""
    assert sets(method="BN") == 0
    saved = load_file(tmp_path / "run" / checkpoint.NAME)
    experiment = begun(tmp_path, "--init", tmp_path / "run", "--trace")
    for name in ("conv1", "conv2", "conv3"):
        weights = saved[f"net/{name}.weights"]
        means = weights.mean(axis=(1, 2, 3), keepdims=True)
        assert np.abs(means).max() > 1e-3
        [now] = [p.value for p in experiment.trainer.net.parameters if p.name == f"{name}.weights"]
        np.testing.assert_allclose(now, weights - means, atol=1e-7)
        np.testing.assert_array_equal(experiment.trainer.tracer.raw[f"{name}.weights"], weights)


def test_a_run_can_be_resumed_after_the_weights_it_began_with_are_deleted(sets, tmp_path):
    assert sets() == 0
    assert sets("--init", tmp_path / "run", out="next") == 0
    (tmp_path / "run").rename(tmp_path / "gone")
    settings = json.loads((tmp_path / "next" / "config.json").read_text())["settings"]
    assert settings["init"] == str(tmp_path / "run")
    assert train.main(["--resume", str(tmp_path / "next"), "--epochs", "2"]) == 0
    assert sets("--init", tmp_path / "run", out="third") == 2


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ["--model", "c", "--method", "BN"],
            "net (a) there and net (c) here (conv1.weights has the shape (2, 5, 5, 3) there instead of (32, 3, 3, 3)); "
            "choose --model a, or give --init a run of net (c)\n",
        ),
        (
            ["--method", "WC"],
            "BN there and no data norm here (bn1.beta is there and not here); choose a --method with BN\n",
        ),
        (
            ["--method", "WC, LN"],
            "BN there and LN here (ln1.gamma is missing there); choose a --method with BN\n",
        ),
        (
            ["--image-size", "40"],
            "images of 32×32 pixels there and 40×40 here (fc1.weights has the shape (256, 64) there instead of "
            "(256, 100)); give images of 32×32 pixels (of a folder, by --image-size 32)\n",
        ),
        (
            ["--image-size", "40", "--method", "WC"],
            "BN there and no data norm here, and images of 32×32 pixels there and 40×40 here (fc1.weights has",
        ),
        (["--init", "nowhere"], "there is no checkpoint"),
    ],
)
def test_another_net_is_refused_by_its_first_layer_that_differs(sets, tmp_path, capsys, words, message):
    assert sets() == 0
    capsys.readouterr()
    assert sets("--init", tmp_path / "run", *words, out="next") == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "next").exists()


@pytest.mark.parametrize("name, shape", [("", (30, 3)), ("a", (300,))], ids=str)
def test_a_net_that_was_built_in_python_is_refused_like_others(sets, tmp_path, capsys, name, shape):
    """It may have no name, and its data may be no images."""
    net = Net(Sequential(Flatten(), FullyConnected(4), FullyConnected(3)), shape, "cpu", name=name)
    checkpoint.save(tmp_path / "net.safetensors", net, SGD(net.parameters, "cpu", learning_rate=0.1), epoch=1)
    assert sets("--init", tmp_path / "net.safetensors", out="next") == 2
    shown = capsys.readouterr().err
    assert "conv1.weights is missing there" in shown
    assert "net ()" not in shown
    assert shown.count("\n") == 1


def test_a_net_of_another_width_is_refused_by_its_first_layer(sets, small, tmp_path, capsys):
    assert sets() == 0
    small("a", filters=(2, 3, 5))
    capsys.readouterr()
    assert sets("--init", tmp_path / "run", out="next") == 2
    shown = capsys.readouterr().err
    assert ": conv3.weights has the shape (4, 5, 5, 3) there instead of (5, 5, 5, 3); give --init a net with" in shown
    assert "where only fc2 may have other outputs" in shown


def test_a_comparison_begins_only_if_every_method_can_begin_with_the_weights(sets, tmp_path, capsys):
    assert sets() == 0
    words = ["--methods", "WC, BN; WC", "--init", tmp_path / "run", "--data", tmp_path / "set", "--model", "a"]
    assert (
        main(["compare", *map(str, words), "--batch-size", "2", "--device", "cpu", "--out", str(tmp_path / "all")]) == 2
    )
    assert "BN there and no data norm here (bn1.beta is there and not here)" in capsys.readouterr().err
    assert not (tmp_path / "all").exists()


def test_weights_of_another_program_do_not_say_their_images(sets, tmp_path, capsys):
    assert sets() == 0
    start, _ = export(tmp_path / "run", "pytorch", tmp_path / "net.safetensors")
    save_file(load_file(start), start)
    capsys.readouterr()
    assert sets("--init", start, "--image-size", 40, out="next") == 2
    assert ": fc1.weights has the shape (256, 64) there instead of (256, 100); give --init" in capsys.readouterr().err


def test_a_walk_shows_what_a_method_does_to_an_earlier_net(sets, tmp_path, capsys):
    assert sets(method="Baseline") == 0
    words = [
        "walk",
        "--init",
        str(tmp_path / "run"),
        "--data",
        str(tmp_path / "set"),
        "--model",
        "a",
        "--batch-size",
        "2",
    ]
    assert main([*words, "--method", "WC", "--device", "cpu"]) == 0


# -- sizes of images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", [None, "crop", "pad"])
def test_images_of_a_folder_have_the_size_that_is_asked_for(sets, tmp_path, random, fit):
    for label in ("blue", "red"):
        for path in (tmp_path / "set" / label).iterdir():
            Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    assert sets("--image-size", 24, *(["--fit", fit] if fit else [])) == 0
    net = checkpoint.load(tmp_path / "run", "cpu")
    assert net.shape == (24, 24, 3)
    assert net.classes == ("blue", "red")
    assert net.preprocessing.fit == (fit or "stretch")
    settings = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert (settings["image_size"], settings["fit"]) == (24, fit)
    train_set, _ = data.load(str(tmp_path / "set"), size=24, fit=fit)
    first = next(path for path in sorted((tmp_path / "set" / "blue").iterdir()))
    np.testing.assert_array_equal(net.preprocessing.fitted(net.preprocessing.read(first)), train_set.images[0])
    assert train.main(["--resume", str(tmp_path / "run"), "--epochs", "2"]) == 0


@pytest.mark.parametrize(
    "words, message",
    [
        (["--data", "cifar10", "--image-size", "64"], "the images of cifar10 have their sizes already; --image-size"),
        (["--data", "shapes", "--fit", "crop"], "the images of shapes have their sizes already; --image-size"),
        (["--fit", "bend"], "the fit 'bend' is unknown; use stretch, crop or pad"),
    ],
)
def test_impossible_sizes_are_an_error_of_one_sentence(sets, tmp_path, capsys, words, message):
    assert sets(*words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"train.py: {message}")
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_net_of_another_seed_begins_alike(sets, tmp_path):
    """The initial weights do not depend on the seed."""
    assert sets() == 0
    experiment = begun(tmp_path, "--init", tmp_path / "run", "--seed", 5)
    one = arrays(experiment.trainer.net)
    for name, array in arrays(begun(tmp_path, "--init", tmp_path / "run").trainer.net).items():
        np.testing.assert_array_equal(one[name], array)
