"""Options that change nothing are named before a run begins, and those that do are not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_folder import write_images

import train
from minidl.__main__ import main
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
