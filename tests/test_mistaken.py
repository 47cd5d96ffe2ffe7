"""Paths that lead to something else than the run or the saved net that a command expects."""

import pickle
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_folder import write_images
from PIL import Image

from minidl import checkpoint
from minidl.__main__ import main
from minidl.experiment.saving.mistaken import kind_of
from minidl.experiment.use.export import export
from minidl.kernels.errors import MinidlError


@pytest.fixture
def place(small: Any, tmp_path: Path, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder, the current one, with images in "photos" and a run in "runs/one"."""
    small("a", filters=(2, 3, 4))
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos", 3, random)
    words = "--data photos --out runs/one --model a --method WC --epochs 1 --batch-size 2 --device cpu --quiet"
    assert main(["train", *words.split()]) == 0
    return tmp_path


def picture(kind: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (4, 4)).save(file, kind)
    return file.getvalue()


def zipped() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    return file.getvalue()


CONTENTS = {
    "cat.jpg": (picture("JPEG"), "a picture"),
    "cat.png": (picture("PNG"), "a picture"),
    "cat.webp": (picture("WEBP"), "a picture"),
    "cat.bmp": (picture("BMP"), "a picture"),
    "cat.tif": (picture("TIFF"), "a picture"),
    "cat.safetensors": (picture("JPEG"), "a picture"),
    "note.txt": ("Grüße\n".encode() * 100, "a text"),
    "settings.json": (b'{"n": [{"a": 1}]}', "a text"),
    "pointer.safetensors": (b"version https://git-lfs.github.com/spec/v1\n", "a text"),
    "empty": (b"", "an empty file"),
    "net.pt": (zipped(), "a file of PyTorch; minidl does not open it"),
    "old.pt": (pickle.dumps({}), "a pickle; minidl does not open it"),
    "net.onnx": (b"\x08\x09\x12\x06minidl", "an ONNX model; export the run again by --format safetensors"),
    "net.npz": (zipped(), "a file of NumPy"),
    "few.safetensors": (b"\x40\x12\0", "a safetensors file that is cut off or damaged; copy it once more"),
    "noise": (bytes(range(256)) * 4, "a file of another kind"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_no_saved_net_is_named_in_words(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, (content, what) = tmp_path / name, CONTENTS[name]
    path.write_bytes(content)
    for words in (["predict", path, tmp_path], ["export", path], ["train", "--init", path, "--device", "cpu"]):
        assert main(list(map(str, words))) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"minidl {words[0]}: {path} is not a checkpoint of minidl, but {what}")
        assert "; " in told
        assert "header" not in told
        assert told.count("\n") == 1
    for words in (["train", "--resume", path], ["report", path]):
        assert main(list(map(str, words))) == 2
        told = capsys.readouterr().err
        assert told == f"minidl {words[0]}: {path} is a file, not the folder of a run; give the folder of a run\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.999])
def test_a_checkpoint_that_is_cut_off_is_damaged(place: Path, share: float) -> None:
    path = place / "runs" / "one" / checkpoint.NAME
    content = path.read_bytes()
    path.write_bytes(content[: max(1, int(share * len(content)))])
    with pytest.raises(
        MinidlError, match="but a safetensors file that is cut off or damaged; copy it once more, or giv"
    ):
        checkpoint.load(place / "runs" / "one", "cpu")


def test_a_text_that_is_cut_in_a_character_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(b"a" + "ü".encode() * 1000)
    assert kind_of(tmp_path / "note")[0] == "a text"


@pytest.mark.parametrize(
    "words, message",
    [
        (
            "predict photos runs/one",
            "photos is not a saved net, but runs/one is one; the net comes before the pictures: runs",
        ),
        ("predict photos net.safetensors", "photos is not a saved net, but net.safetensors is one; the net comes"),
        (
            "predict runs/one net.safetensors",
            "net.safetensors is a saved net like runs/one, not a picture; give one net",
        ),
        (
            "predict runs photos",
            "there is no checkpoint runs/checkpoint.safetensors; give a run in that folder: runs/one",
        ),
        ("export runs", "there is no checkpoint runs/checkpoint.safetensors; give a run in that folder: runs/one"),
        ("export runs/one/config.json/x", "there is no checkpoint runs/one/config.json/x; give the folder of a run"),
        ("report runs", "there is no run in runs, or it had not begun (config.json is missing); give a run in"),
        ("report runs/one page.html", "page.html is not a run; to name the page, write --out page.html"),
        ("report runs/one/checkpoint.safetensors", "safetensors is a file, not the folder of a run; give runs/one"),
        ("report runs/one --out runs/one/log.csv", "runs/one/log.csv does not end in .html or .htm, as such a file"),
        (
            "compare --methods Baseline;WC --out net.safetensors",
            "the folder net.safetensors cannot be written (File exis",
        ),
        (
            "compare --methods Baseline;WC --out net.safetensors/x",
            "the folder net.safetensors/x cannot be written (Not ",
        ),
        (
            "reproduce --table 2 --out net.safetensors",
            "the folder net.safetensors cannot be written (File exists); give",
        ),
        ("predict runs/one photos --out net.safetensors", "the folder net.safetensors cannot be written (File exists)"),
        ("train --resume runs/one/config.json", "config.json is a file, not the folder of a run; give runs/one"),
        ("train --data runs/one --init photos", "there is no checkpoint "),
        (
            "train --data runs/one",
            "runs/one is a saved net, which --init and --resume take; --data takes images to train on",
        ),
        (
            "train --data net.safetensors",
            "net.safetensors is a saved net, which --init and --resume take; --data takes",
        ),
    ],
)
def test_paths_that_are_exchanged_or_of_another_kind(
    words: str, message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(place / "runs" / "one", "safetensors", place / "net.safetensors")
    before = sorted(place.rglob("*"))
    capsys.readouterr()
    assert main(words.split()) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert sorted(place.rglob("*")) == before


def test_a_folder_of_images_may_hold_a_run(place: Path) -> None:
    words = "train --data photos --model a --method WC --epochs 1 --batch-size 2 --device cpu --quiet --out"
    assert main([*words.split(), "photos"]) == 0
    assert main([*words.split(), "again"]) == 0
