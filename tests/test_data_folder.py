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


def save_part(path: Path, shade: int) -> None:
    save(path / "a" / "1.png", shade)
    save(path / "b" / "1.png", shade + 1)


@pytest.mark.parametrize(
    "first, second",
    [("train", "val"), ("train", "validation"), ("Train", "Test"), ("TRAIN", "VAL"), ("training", "testing")],
)
def test_the_parts_have_many_names(tmp_path: Path, first: str, second: str) -> None:
    save_part(tmp_path / first, 10)
    save_part(tmp_path / second, 60)
    train, test = load(str(tmp_path), progress=False)
    assert train.classes == ("a", "b")
    assert train.images[:, 0, 0, 0].tolist() == [10, 11]
    assert test.images[:, 0, 0, 0].tolist() == [60, 61]


def test_of_test_and_val_one_is_used_and_the_other_named(tmp_path: Path) -> None:
    for shade, part in enumerate(("train", "val", "test", "extra")):
        save_part(tmp_path / part, 10 * shade)
    train, test = load(str(tmp_path), progress=False)
    assert test.images[:, 0, 0, 0].tolist() == [20, 21]
    assert f"{tmp_path.name}: extra, val not used, the parts are train and test" in train.notes


@pytest.mark.parametrize("name", ["train", "Training"])
def test_a_training_part_alone(tmp_path: Path, name: str) -> None:
    save_part(tmp_path / name, 10)
    expected = f"{tmp_path} has {name} but no test part; add a folder 'test' or 'val' with one subfolder per class, or"
    assert refused(tmp_path).startswith(f"{expected} give {tmp_path / name} instead, of which every fifth image")
    save(tmp_path / "other" / "1.png")
    assert refused(tmp_path).startswith(expected)


def test_a_test_part_alone(tmp_path: Path) -> None:
    save_part(tmp_path / "val", 10)
    assert refused(tmp_path).startswith(f"{tmp_path} has val but no training part; put the folders of the training")
    save(tmp_path / "test" / "1.png")
    save(tmp_path / "cat" / "1.png")
    assert refused(tmp_path).startswith(f"{tmp_path} has test and val but no training part; put the folders")


def test_parts_without_classes(tmp_path: Path) -> None:
    save(tmp_path / "train" / "1.png")
    save(tmp_path / "test" / "1.png")
    assert f"{tmp_path / 'train'} has no subfolders with images" in refused(tmp_path)


def test_a_part_that_is_there_twice(tmp_path: Path) -> None:
    for part in ("Train", "training", "test"):
        save_part(tmp_path / part, 10)
    assert f"{tmp_path} has both 'Train' and 'training', which mean the same part" in refused(tmp_path)


def test_a_class_may_be_named_train(pets: Path) -> None:
    for shade in (70, 71):
        save(pets / "train" / f"{shade}.png", shade)
    train, _ = load(str(pets), progress=False)
    assert train.classes == ("cat", "dog", "train")
    assert "pets: train is taken as a class like the others, not as a training part" in train.notes


def test_images_in_deeper_folders_belong_to_their_class(pets: Path) -> None:
    save(pets / "cat" / "51a" / "a.png", 60)
    save(pets / "cat" / "51a" / "deep" / "b.png", 61)
    save(pets / "cat" / ".cache" / "c.png", 62)
    train, test = load(str(pets), progress=False)
    assert train.images[train.labels == 0][:, 0, 0, 0].tolist() == [50, 51, 60, 61]
    assert test.images[test.labels == 0][:, 0, 0, 0].tolist() == [52]
    assert (
        "pets: 2 files in folders inside a class folder taken as images of that class, such as cat/51a/a.png"
        in train.notes
    )


def test_links_that_lead_in_circles_are_not_followed(pets: Path, tmp_path: Path) -> None:
    save(tmp_path / "more" / "1.png", 60)
    for name, target in (("self", pets / "cat"), ("up", pets), ("side", pets / "dog"), ("more", tmp_path / "more")):
        (pets / "cat" / name).symlink_to(target, target_is_directory=True)
    (tmp_path / "more" / "back").symlink_to(pets / "cat", target_is_directory=True)
    train, test = load(str(pets), progress=False)
    cats = [*train.images[train.labels == 0][:, 0, 0, 0], *test.images[test.labels == 0][:, 0, 0, 0]]
    assert sorted(cats) == [50, 51, 52, 60]


def test_files_that_are_left_out_are_named_once(pets: Path) -> None:
    for path in ("cat/x.heic", "cat/y.txt", "dog/z.HEIC", "README.txt"):
        (pets / path).write_text("no image")
    save(pets / "lone.png")
    train, test = load(str(pets), progress=False)
    left_out = [note for note in (*train.notes, *test.notes) if "left out" in note]
    assert left_out == [
        "pets: 3 files in the class folders left out, not being images of a kind that is read here, such as cat/x.heic",
        "pets: 1 file left out, lying beside the class folders and thus in no class, such as lone.png",
    ]


@pytest.mark.parametrize("suffix", ["jfif", "JPE", "jp2", "avif"])
def test_more_suffixes_are_read(pets: Path, suffix: str) -> None:
    if f".{suffix.lower()}" not in Image.registered_extensions():
        pytest.skip("this Pillow does not decode it")
    save(pets / "cat" / f"53.{suffix}", 53)
    train, test = load(str(pets), progress=False)
    assert len(train) + len(test) == 11
    assert not any("left out" in note for note in train.notes)


def test_images_of_one_colour_are_noted_once(pets: Path) -> None:
    for path in sorted(pets.glob("dog/*")):
        Image.effect_noise((32, 32), 50).save(path)
    train, test = load(str(pets), progress=False)
    assert train.notes == (f"pets: 3 of 10 images have one colour everywhere, such as {pets / 'cat' / '50.PNG'}",)
    assert test.notes == ()


def test_the_background_is_a_parameter(pets: Path) -> None:
    Image.new("RGBA", (32, 32)).save(pets / "cat" / "50.PNG")
    for options, colour in (({}, [255, 255, 255]), ({"background": (1, 2, 3)}, [1, 2, 3])):
        train, _ = folder.load(pets, progress=False, **options)
        assert train.images[0, 0, 0].tolist() == colour


def test_images_of_more_than_8_bits_are_scaled_alike(pets: Path) -> None:
    """A dark image stays darker than a bright one, even if they are in different parts of the set."""
    for name, value in (("50", 4000), ("51", 200), ("52", 257 * 240)):
        Image.fromarray(np.full((8, 8), value, np.uint16)).save(pets / "cat" / f"{name}.PNG")
    train, test = load(str(pets), progress=False)
    assert train.images[:2, 0, 0, 0].tolist() == [round(4000 / 257), 200]
    assert test.images[0, 0, 0].tolist() == [240] * 3
    path = pets / "cat" / "51.PNG"
    assert train.notes[-1] == (
        "pets: 1 of 3 images of more than 8 bits have no value above 255 and were read as images of 8 bits, such as "
        f"{path}"
    )
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(pets / "cat" / "52.PNG")
    train, test = load(str(pets), progress=False)
    assert (train.images[0, 0, 0, 0], test.images[0, 0, 0, 0]) == (round(4000 / 4095 * 255), 255)


def test_other_files_and_hidden_ones_are_ignored(pets: Path) -> None:
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
    exif[0x0112] = 6  # to be turned clockwise by 90°: the stored top belongs on the right
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
    (pets / "emu" / "x.heic").touch()
    assert refused(pets).startswith(f"{pets / 'emu'} holds no images of a kind that is read here, but x.heic; add some")


def test_a_single_class(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / "cat" / f"{name}.png")
    expected = f"{tmp_path} has only one class, 'cat'; it must hold one subfolder per class, two or more"
    assert refused(tmp_path) == expected
    save(tmp_path / "cat" / "siamese" / "1.png")
    assert refused(tmp_path) == f"{expected}, or give {tmp_path / 'cat'} if the classes are in there"


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
