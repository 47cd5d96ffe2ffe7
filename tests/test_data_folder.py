"""A folder of images with one subfolder per class."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.data import folder, load
from minidl.kernels.errors import MinidlError


def save(path: Path, shade: int = 0, size: tuple[int, int] = (32, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 2 * shade, 3 * shade)).save(path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Seven dogs of the shades 0 to 6 and three cats of the shades 50 to 52, saved out of order."""
    for shade in reversed(range(7)):
        save(tmp_path / "pets" / "dog" / f"{shade}.png", shade)
    for shade in (52, 50, 51):
        save(tmp_path / "pets" / "cat" / f"{shade}.PNG", shade, size=(20, 40))
    return tmp_path / "pets"


def test_every_fifth_image_is_a_test_image(pets: Path) -> None:
    train, test = load(str(pets), progress=False)
    assert train.classes == test.classes == ("cat", "dog")
    assert train.images[:, 0, 0, 0].tolist() == [50, 51, 0, 1, 2, 3, 5, 6]
    assert test.images[:, 0, 0, 0].tolist() == [52, 4]
    assert train.labels.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert train.labels.dtype == np.int64
    assert train.images.shape == (8, 32, 32, 3)
    assert train.images[1, 5, 5].tolist() == [51, 102, 153]
    assert train.name == "pets"


def test_subfolders_train_and_test_are_the_parts(tmp_path: Path) -> None:
    for part, shade in (("train", 10), ("test", 60)):
        save(tmp_path / part / "a" / "1.png", shade)
        save(tmp_path / part / "b" / "1.png", shade + 1)
    train, test = load(str(tmp_path), progress=False)
    assert train.images[:, 0, 0, 0].tolist() == [10, 11]
    assert test.images[:, 0, 0, 0].tolist() == [60, 61]


def test_other_files_and_hidden_ones_are_left_alone(pets: Path) -> None:
    (pets / "notes.txt").write_text("not an image")
    (pets / "dog" / "Thumbs.db").write_text("not an image")
    save(pets / "dog" / ".hidden.png")
    save(pets / ".cache" / "x.png")
    train, test = load(str(pets), progress=False)
    assert len(train) + len(test) == 10
    assert train.classes == ("cat", "dog")


def test_the_size_is_a_parameter(pets: Path) -> None:
    train, _ = folder.load(pets, size=8, progress=False)
    assert train.images.shape == (8, 8, 8, 3)


def test_an_image_is_turned_upright_as_its_camera_says(pets: Path) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: what is stored on top belongs on the right
    Image.fromarray(pixels).save(pets / "dog" / "0.png", exif=exif)
    train, _ = load(str(pets), progress=False)
    turned = train.images[train.labels == 1][0]
    assert turned[:, 16:].min() == 255
    assert turned[:, :16].max() == 0


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(pets: Path, mode: str) -> None:
    grey = np.full((32, 32), 200, np.uint8)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 256)
    else:
        image = Image.fromarray(grey).convert(mode, dither=Image.Dither.NONE)
    suffix = "tif" if mode == "CMYK" else "png"
    (pets / "dog" / "0.png").unlink()
    image.save(pets / "dog" / f"0.{suffix}")
    train, _ = load(str(pets), progress=False)
    expected = 255 if mode == "1" else 200
    assert abs(train.images[train.labels == 1][0].astype(int) - expected).max() <= 3


def test_a_palette_with_transparency_is_read_without_a_warning(pets: Path) -> None:
    Image.new("P", (32, 32)).save(pets / "dog" / "0.png", transparency=b"\x00\x80")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(str(pets), progress=False)


def refused(path: Path) -> str:
    with pytest.raises(MinidlError) as caught:
        load(str(path), progress=False)
    return str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "is neither a data set nor a folder; the data sets are shapes" in refused(tmp_path / "nowhere")


def test_a_folder_without_images(tmp_path: Path) -> None:
    assert f"{tmp_path} has no subfolders with images; it must hold one subfolder per class" in refused(tmp_path)
    (tmp_path / "cat").mkdir()
    assert f"{tmp_path} has no subfolders with images" in refused(tmp_path)


def test_a_class_without_images(pets: Path) -> None:
    (pets / "emu").mkdir()
    assert refused(pets) == f"{pets / 'emu'} holds no images; add some or remove this class"


def test_a_single_class(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / "cat" / f"{name}.png")
    assert refused(tmp_path).startswith(f"{tmp_path} has only one class, 'cat'; it must hold one subfolder per class")


def test_a_class_too_small_to_split(pets: Path) -> None:
    save(pets / "emu" / "1.png")
    assert refused(pets).startswith(f"{pets / 'emu'} holds one image only, which cannot be both")


def test_a_test_class_that_was_not_trained(tmp_path: Path) -> None:
    for path in ("train/a/1.png", "train/b/1.png", "test/c/1.png"):
        save(tmp_path / path)
    assert refused(tmp_path).startswith(f"{tmp_path / 'test'} has the class 'c', which {tmp_path / 'train'} has not;")


@pytest.mark.parametrize("kept", [0, 40, 90])
def test_an_image_that_cannot_be_decoded_is_named(pets: Path, kept: int) -> None:
    path = pets / "dog" / "3.png"
    Image.effect_noise((32, 32), 50).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert refused(pets).startswith(f"{path} cannot be decoded as an image (")
