"""Options that change nothing are named before a run begins, and those that do are not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_folder import write_images

import train
from minidl import models
from minidl.__main__ import main
from minidl.experiment.idle import idle as options_without_effect
from minidl.experiment.options import read
from minidl.experiment.preparation import prepare
from minidl.experiment.settings import complete
from minidl.kernels.cpu import loops

Notes = Callable[..., list[str]]


@pytest.fixture
def notes(small: Any, tmp_path: Path, random: np.random.Generator) -> Iterator[Notes]:
    """Return a function from options to what a training would say of their effect."""
    small("a", filters=(2, 3, 4))
    write_images(tmp_path / "photos", 3, random)
    before = loops.name()

    def said(*words: str) -> list[str]:
        places = ["--data", str(tmp_path / "photos"), "--model", "a", "--batch-size", "2", "--device", "cpu"]
        experiment = prepare(complete(*read(train.parser(), [*places, *words]))[0])
        return [note for note in experiment.notes if "effect" in note]

    yield said
    loops.use(before)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--data-root", "sets"], "/photos is a folder of its own."),
        (["--data", "shapes", "--data-root", "sets"], "--data-root has no effect: shapes is built in."),
        (["--mode=reparametrization", "--method=GC"], "--mode reparametrization has no effect on the method GC, which"),
        (["--loops=numpy", "--device=reference"], "--loops numpy has no effect: the loops are those of --device cpu"),
        (["--sync-bn"], "--sync-bn has no effect: there is only one rank."),
    ],
)
def test_an_option_without_effect_is_named(words: list[str], message: str, notes: Notes) -> None:
    [note] = notes(*words)
    assert message in note


@pytest.mark.parametrize("words", [[], ["--mode=reparametrization", "--method=WS"], ["--loops=numpy"]])
def test_an_option_with_effect_is_not(words: list[str], notes: Notes) -> None:
    assert notes(*words) == []


def test_other_commands_name_loops_without_effect(
    notes: Notes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gradcheck", "--layer", "relu", "--device", "reference", "--loops", "numpy"]) == 0
    said = (
        "minidl gradcheck: --loops numpy has no effect: the loops are those of --device cpu, and this is reference.\n"
    )
    assert capsys.readouterr().err == said
    assert main(["gradcheck", "--layer", "relu", "--device", "reference"]) == 0
    assert capsys.readouterr().err == ""
    run, photos = str(tmp_path / "run"), str(tmp_path / "photos")
    words = "--model a --method WC --epochs 1 --batch-size 2 --device cpu --quiet"
    assert main(["train", "--data", photos, "--out", run, *words.split()]) == 0
    assert main(["predict", run, photos, *["--device", "reference", "--loops", "numpy"]]) == 0
    assert "minidl predict: --loops numpy has no effect: the loops are those of --device cpu" in capsys.readouterr().err


def test_a_walk_and_a_comparison_show_the_notes(
    notes: Notes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(tmp_path / "photos"), "--model", "a", "--batch-size", "2", "--device", "cpu"]
    words += ["--data-root", "sets"]
    assert main(["walk", *words, "--method", "WC"]) == 0
    assert "minidl walk: --data-root has no effect" in capsys.readouterr().err
    assert main(["compare", *words, "--methods", "WC; GC", "--epochs", "1", "--out", str(tmp_path / "all")]) == 0
    assert "\n--data-root has no effect" in capsys.readouterr().out


def test_gradcheck_names_a_mode_without_effect(capsys: pytest.CaptureFixture[str]) -> None:
    begin = "minidl gradcheck: --mode reparametrization has no effect on the method "
    for words, method in ([], "Baseline"), (["--method", "GC"], "GC"):
        assert main(["gradcheck", "--layer", "fc", "--mode", "reparametrization", *words]) == 0
        assert capsys.readouterr().err == f"{begin}{method}, which does not normalize weights.\n"
    assert main(["gradcheck", "--layer", "fc", "--mode", "reparametrization", "--method", "WS"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("layer", "method", "said"),
    [
        ("relu", "WC, GC", ["relu: with WC, as this layer has no weights", "relu: with GC, as this layer has no"]),
        ("fc", "WC, BN", ["BN of the method, which is a layer; name it by --layer"]),
        ("fc", "WC, fully", ["fully of the method, which is about the layers of a net; name one by --model"]),
    ],
)
def test_gradcheck_names_what_a_method_does_not_do_here(
    layer: str, method: str, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gradcheck", "--layer", layer, "--method", method]) == 0
    unchecked = capsys.readouterr().out.partition("not checked:")[2]
    assert all(sentence in unchecked for sentence in said)


def test_gradcheck_of_the_data_norm_of_a_method_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for layer, method in (("gn", "EB, GN, WS"), ("bn", "BN")):
        assert main(["gradcheck", "--layer", layer, "--method", method]) == 0
        assert "name it by --layer" not in capsys.readouterr().out


def test_predict_says_that_there_are_no_more_classes(
    notes: Notes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, photos = str(tmp_path / "run"), str(tmp_path / "photos")
    words = "--model a --method WC --epochs 1 --batch-size 2 --device cpu --quiet"
    assert main(["train", "--data", photos, "--out", run, *words.split()]) == 0
    classes = len(list((tmp_path / "photos").iterdir()))
    capsys.readouterr()
    assert main(["predict", run, photos, "--top", "100"]) == 0
    said = f"minidl predict: --top 100 has the effect of --top {classes}: the net knows no more classes.\n"
    assert said in capsys.readouterr().err
    assert main(["predict", run, photos]) == 0
    assert "--top" not in capsys.readouterr().err


@pytest.mark.parametrize(("method", "idle"), [("WC", True), ("WC, BN", False), ("EL", True), ("EB", False)])
def test_with_ranks_the_means_over_a_batch_are_counted(small: Any, method: str, idle: bool) -> None:
    small("a", filters=(2, 3, 4))
    net = models.build("a", method=method, device="cpu", shape=(32, 32, 3))
    settings = {"data": "shapes", "data_root": None, "mode": "projection", "loops": None, "sync_bn": True}
    said = [f"--sync-bn has no effect on the method {method}, which takes no means over a batch."]
    assert list(options_without_effect(settings, net, 2)) == (said if idle else [])
