"""VOC2012's layout, read from small files made here; batches of labelled pixels, and pictures of them."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.data import Dataset, load, voc
from minidl.data.batches import DIVISOR, MEAN, Batches
from minidl.data.pictures import palette, predictions
from minidl.data.pixel_batches import PixelBatches
from minidl.data.shapes import load as load_shapes
from minidl.kernels.errors import MinidlError

SIZES = {"2007_000001": (20, 30), "2007_000002": (40, 25), "2008_000003": (20, 30)}


def save(folder: Path, name: str, size: tuple[int, int], random: np.random.Generator) -> None:
    """Write an image and its mask, which contains every label of VOC, and void."""
    for part in ("JPEGImages", "SegmentationClass"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / "JPEGImages" / f"{name}.jpg")
    mask = Image.fromarray(random.permutation(np.resize([*range(21), 255], size).astype(np.uint8)))
    mask.putpalette(palette().tobytes())
    mask.save(folder / "SegmentationClass" / f"{name}.png")


@pytest.fixture
def folder(tmp_path: Path, random: np.random.Generator) -> Path:
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for name, size in SIZES.items():
        save(folder, name, size, random)
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000001\n2007_000002\n")
    (lists / "val.txt").write_text("2008_000003\n")
    return folder


def check(parts: tuple[Dataset, Dataset]) -> None:
    train, val = parts
    assert [image.shape for image in train.images] == [(20, 30, 3), (40, 25, 3)]
    assert [mask.shape for mask in val.masks] == [(20, 30)]
    assert sorted(np.unique(train.masks[0])) == [*range(21), 255]
    assert train.mask_classes[0] == "background"
    assert len(train.mask_classes) == 21
    assert train.labels is None


def test_the_official_layout(folder: Path) -> None:
    check(load("voc2012", folder.parents[1], progress=False))
    check(load("voc2012", folder, progress=False))
    check(load("voc2012", folder.parent, progress=False))


def test_a_folder_without_its_lists_is_not_downloaded_over(folder: Path) -> None:
    lists = folder / "ImageSets"
    lists.rename(folder / "Lists")
    with pytest.raises(MinidlError, match=f"{lists}.*cannot be read.*use the official files, or move {folder} away"):
        load("voc2012", folder.parents[1], progress=False)


def test_a_subset_keeps_image_and_mask_together(folder: Path) -> None:
    train, _ = load("voc2012", folder, progress=False)
    part = train.subset(1)
    i = [image.shape for image in train.images].index(part.images[0].shape)
    np.testing.assert_array_equal(part.masks[0], train.masks[i])


def test_smaller_images_have_mean_colours_and_the_labels_of_their_middles(folder: Path, random) -> None:
    image, mask = random.integers(0, 256, (7, 9, 3), dtype=np.uint8), np.arange(63, dtype=np.uint8).reshape(7, 9)
    whole = Dataset("mine", [image], None, (), [mask], tuple(map(str, range(63))))
    small = whole.shrunk(2)
    assert small.images[0].shape == (4, 5, 3)
    np.testing.assert_allclose(small.images[0][1, 2], image[2:4, 4:6].mean(axis=(0, 1)), atol=0.5)
    assert small.masks[0].tolist() == [[9 * y + x for x in (1, 3, 5, 7, 8)] for y in (1, 3, 5, 6)]
    assert whole.shrunk(1) is whole
    with pytest.raises(MinidlError, match="of one size already; --shrink is for voc2012"):
        Dataset("mine", image[None], np.zeros(1, np.int64), ("a",)).shrunk(2)


def test_only_what_is_needed_is_unpacked(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder, "2009_000009", (9, 9), np.random.default_rng(0))
    (folder / "SegmentationClass" / "2009_000009.png").unlink()
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "2007_000001.xml").write_text("not needed")
    root = tmp_path / "root"
    root.mkdir()
    path = root / voc.ARCHIVE.name
    with tarfile.open(path, "w") as archive:
        archive.add(folder, "VOCdevkit/VOC2012")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(voc, "ARCHIVE", replace(voc.ARCHIVE, size=path.stat().st_size, sha256=sha256))
    check(load("voc2012", root, progress=False))
    names = {file.name for file in (root / "VOCdevkit" / "VOC2012").rglob("*.*")}
    assert names == {f"{name}.{kind}" for name in SIZES for kind in ("jpg", "png")} | {"train.txt", "val.txt"}
    assert sorted(file.name for file in root.iterdir()) == ["VOCdevkit", path.name]


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / voc.ARCHIVE.name).write_bytes(b"broken")
    with pytest.raises(MinidlError, match="is damaged: its SHA-256 checksum is"):
        load("voc2012", tmp_path, progress=False)


def refused(folder: Path) -> str:
    with pytest.raises(MinidlError) as caught:
        load("voc2012", folder, progress=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_mask_of_another_size(folder: Path) -> None:
    Image.new("P", (30, 21)).save(folder / "SegmentationClass" / "2007_000001.png")
    message = refused(folder)
    assert "has 20×30 pixels but its mask" in message
    assert "has 21×30; use a mask of the image's size" in message


def test_a_label_out_of_range(folder: Path) -> None:
    Image.new("L", (30, 20), 21).save(folder / "SegmentationClass" / "2008_000003.png")
    assert "2008_000003.png has the label 21; the labels are 0 to 20, and 255 for void" in refused(folder)


@pytest.mark.parametrize("file", ["JPEGImages/2007_000002.jpg", "SegmentationClass/2007_000002.png"])
def test_an_id_without_a_file(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert f"train.txt names 2007_000002, but there is no {folder / file};" in refused(folder)


@pytest.mark.parametrize("file", ["JPEGImages/2007_000002.jpg", "SegmentationClass/2007_000002.png"])
def test_a_file_that_is_no_image(folder: Path, file: str) -> None:
    (folder / file).write_bytes(b"garbage")
    assert f"{folder / file} cannot be decoded as an image" in refused(folder)


def official(folder: Path) -> tuple[Path, np.ndarray]:
    """Return a mask with VOC's palette, and its labels."""
    path = folder / "SegmentationClass" / "2007_000001.png"
    with Image.open(path) as mask:
        return path, np.array(mask)


def reordered(labels: np.ndarray, colours: np.ndarray, random: np.random.Generator) -> Image.Image:
    """Return the mask with its palette in another order: index ``order[i]`` has the colour of label ``i``."""
    order = random.permutation(256).astype(np.uint8)
    mask = Image.fromarray(order[labels])
    shuffled = np.empty_like(colours)
    shuffled[order] = colours
    mask.putpalette(shuffled.tobytes())
    return mask


def first_mask(folder: Path) -> np.ndarray:
    train, _ = load("voc2012", folder, progress=False)
    assert train.masks[0].dtype == np.uint8
    return train.masks[0]


@pytest.mark.parametrize("options", [{}, {"transparency": 7}, {"transparency": bytes(range(256))}])
def test_the_palette_decides_whatever_its_order_is(folder: Path, random, options) -> None:
    path, labels = official(folder)
    reordered(labels, palette(), random).save(path, **options)
    np.testing.assert_array_equal(first_mask(folder), labels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_palette_with_few_bits_per_pixel(folder: Path, random, bits) -> None:
    path, _ = official(folder)
    chosen = random.permutation([*range(21), 255])[: 2**bits]
    indices = np.resize(np.arange(2**bits, dtype=np.uint8), (20, 30))
    mask = Image.fromarray(indices)
    mask.putpalette(palette()[chosen].tobytes())
    mask.save(path, bits=bits)
    np.testing.assert_array_equal(first_mask(folder), chosen[indices])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_mask_in_colours_is_read(folder: Path, mode) -> None:
    path, labels = official(folder)
    Image.fromarray(palette()[labels]).convert(mode).save(path)
    np.testing.assert_array_equal(first_mask(folder), labels)


def test_a_mask_of_grey_values_holds_the_labels(folder: Path) -> None:
    path, labels = official(folder)
    Image.fromarray(labels).save(path)
    np.testing.assert_array_equal(first_mask(folder), labels)


@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_a_colour_that_voc_lacks_is_refused(folder: Path, random, mode) -> None:
    path, labels = official(folder)
    colours = palette()
    colours[20] = 0, 64, 129
    row, column = np.argwhere(labels == 20)[0]
    reordered(labels, colours, random).convert(mode).save(path)
    assert refused(folder) == (
        f"{path} has the colour (0, 64, 129) in row {row}, column {column}, which is none of VOC's; store the mask in "
        "VOC's official colours, or its labels as the values of a grey image"
    )


def test_a_colour_that_does_not_occur_may_be_any(folder: Path, random) -> None:
    path, labels = official(folder)
    colours = palette()
    colours[30:90] = 1, 2, 3
    reordered(labels, colours, random).save(path)
    np.testing.assert_array_equal(first_mask(folder), labels)


def test_a_palette_that_lacks_a_colour(folder: Path) -> None:
    path, _ = official(folder)
    mask = Image.new("P", (30, 20), 200)
    mask.putpalette(palette()[:20].tobytes())
    mask.save(path)
    assert "has the index 200 in a palette of 20 colours; store the mask in" in refused(folder)


@pytest.mark.parametrize("mode", ["LA", "I;16", "F"])
def test_a_mask_that_holds_neither_colours_nor_bytes(folder: Path, mode) -> None:
    path, _ = official(folder)
    Image.new(mode, (30, 20)).save(path, format="TIFF")
    assert f"{path} has neither colours nor grey values of 8 bits (its mode is {mode}); store" in refused(folder)


def test_images_of_one_colour_are_noted(folder: Path) -> None:
    Image.new("RGB", (30, 20), (1, 2, 3)).save(folder / "JPEGImages" / "2007_000001.jpg")
    train, val = load("voc2012", folder, progress=False)
    path = folder / "JPEGImages" / "2007_000001.jpg"
    assert train.notes == (f"voc2012 train: 1 of 2 images have one colour everywhere, such as {path}",)
    assert train.subset(1).notes == train.notes
    assert val.notes == ()


def test_lists_that_are_missing_or_empty(folder: Path) -> None:
    path = folder / "ImageSets" / "Segmentation" / "val.txt"
    path.write_text("\n")
    assert f"{path} names no images" in refused(folder)
    path.unlink()
    assert f"{path} cannot be read" in refused(folder)


def test_labels_of_images_and_of_pixels_are_not_mixed_up(folder, backend, random) -> None:
    train, _ = load("voc2012", folder, progress=False)
    with pytest.raises(MinidlError, match="voc2012 has a label for each pixel and none for an image; use --model d"):
        Batches(train, 2, backend, "float32")
    plain = Dataset("plain", np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int64), ("a", "b"))
    with pytest.raises(MinidlError, match="plain has no label for each pixel, which --model d needs"):
        PixelBatches(plain, 2, backend, "float32")
    with pytest.raises(MinidlError, match="a batch of 3 is larger than the 2 images"):
        PixelBatches(train, 3, backend, "float32")


def test_a_test_sees_whole_images_in_batches_of_one_size(backend, random) -> None:
    sizes = [(20, 30), (400, 300), (20, 30), (30, 20), (20, 30)]
    images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    masks = [random.choice([0, 7, 255], size).astype(np.uint8) for size in sizes]
    batches = PixelBatches(Dataset("x", images, None, (), masks, ("a",) * 8), 2, backend, "float64")
    seen = [(backend.host(data).copy(), backend.host(labels).copy()) for data, labels in batches.in_order()]
    assert [data.shape for data, _ in seen] == [(3, 20, 30, 3), (1, 30, 20, 3), (1, 400, 300, 3)]
    np.testing.assert_allclose(seen[0][0][1], (images[2] - MEAN) / DIVISOR, atol=1e-12)
    expected = np.where(masks[2] == 255, -1, masks[2].astype(int))
    np.testing.assert_array_equal(seen[0][1][1], expected)
    large = PixelBatches(Dataset("x", images[1:2] * 3, None, (), masks[1:2] * 3, ("a",) * 8), 1, backend, "float32")
    assert [len(data) for data, _ in large.in_order()] == [1, 1, 1]


def test_a_test_sorts_its_images_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each image, VOC2012 would take seconds."""
    images, asked = [np.zeros((10 + i % 7, 10, 3), np.uint8) for i in range(100)], []
    some = Dataset("some", images, None, (), [image[..., 0] for image in images], ("a",))
    monkeypatch.setattr(PixelBatches, "_extents", lambda self, i: asked.append(i) or images[i].shape[:2])
    next(PixelBatches(some, 2, "reference", "float32").in_order())
    assert len(asked) <= 3 * len(images)


@pytest.mark.quick_on("numba", "gpu")
def test_training_sees_crops_and_mirrored_ones(backend, random) -> None:
    """Red counts columns, green rows; the masks also tell where in the image a pixel was."""
    y, x = np.mgrid[:240, :250]
    image = np.stack([x, y, np.full_like(x, 128)], axis=-1).astype(np.uint8)
    mask = ((x + y) % 100).astype(np.uint8)
    batches = PixelBatches(Dataset("x", [image] * 40, None, (), [mask] * 40, ("a",) * 100), 20, backend, "float64")
    mirrored, corners = 0, set()
    for size in batches.shuffle(random):
        data, labels = map(backend.host, batches.next(size))
        assert data.shape == (20, 227, 227, 3)
        for pixels, truth in zip(data * DIVISOR + MEAN, labels, strict=True):
            offset = pixels[100, 100, 2] - 128  # the offset of blue; those of red and green differ
            assert offset == np.rint(offset)
            left = np.diff(pixels[100, 50:150, 0]).sum() < 0
            mirrored += left
            upright = (pixels[:, ::-1], truth[:, ::-1]) if left else (pixels, truth)
            rows, columns = upright[1].astype(int)[:2, 0], upright[1].astype(int)[0, :2]
            assert (np.diff(rows) % 100 == 1).all()
            assert (np.diff(columns) % 100 == 1).all()
            corners.add(int(upright[1][0, 0]))
    assert 10 < mirrored < 30
    assert len(corners) > 10


def test_crops_are_as_large_as_asked_for_and_no_larger_than_the_images(backend, random) -> None:
    images = [random.integers(0, 256, (20, side, 3), dtype=np.uint8) for side in (30, 35)]
    some = Dataset("some", images, None, (), [np.zeros((20, side), np.uint8) for side in (30, 35)], ("a",))
    for crop, side in ((8, 8), (40, 35), (None, 35)):
        batches = PixelBatches(some.cropped(crop), 2, backend, "float32")
        data, labels = batches.next(*batches.shuffle(random))
        assert batches.shape == (side, side, 3)
        assert (data.shape, labels.shape) == ((2, side, side, 3), (2, side, side))
        assert [data.shape for data, _ in batches.in_order()] == [(1, 20, 30, 3), (1, 20, 35, 3)]
    with pytest.raises(MinidlError, match="the images of shapes are of one size already; --crop is for voc2012"):
        load_shapes(20, 10)[0].cropped(8)


@pytest.mark.quick_on("numba")
def test_colour_offsets_are_dlibs(backend, random) -> None:
    """They are 0.1·T·z, rounded, with z normal: their covariance is 0.01·T·Tᵀ; colours are clipped to 0 … 255."""
    directions = [[-66.379, 25.094, 6.79698], [-68.0492, -0.302309, -13.9539], [-68.4907, -24.0199, 7.27653]]
    values = np.resize([128, 0, 255], 6000)
    images = [np.full((2, 2 + i % 2, 3), value, np.uint8) for i, value in enumerate(values)]
    masks = [
        np.full(image.shape[:2], 7 * (value == 128), np.uint8) for image, value in zip(images, values, strict=True)
    ]
    some = Dataset("x", images, None, (), masks, ("a",) * 8).cropped(2)
    batches = PixelBatches(some, 6000, backend, "float64")
    data, labels = map(backend.host, batches.next(*batches.shuffle(random)))
    pixels = data[:, 0, 0] * DIVISOR + MEAN
    np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-9)
    assert (pixels.min(), pixels.max()) == (pytest.approx(0, abs=1e-9), pytest.approx(255))
    offsets = pixels[labels[:, 0, 0] == 7] - 128
    assert len(offsets) == 2000
    expected = 0.01 * np.array(directions) @ np.transpose(directions)
    np.testing.assert_allclose(offsets.mean(axis=0), 0, atol=0.6)
    np.testing.assert_allclose(np.cov(offsets.T), expected, rtol=0.1)


def test_small_images_are_padded_with_black_and_void(backend, random) -> None:
    images = [np.full((100, 240, 3), 255, np.uint8)] * 4
    masks = [np.full((100, 240), 3, np.uint8)] * 4
    batches = PixelBatches(Dataset("x", images, None, (), masks, ("a",) * 4), 4, backend, "float64")
    data, labels = map(backend.host, batches.next(*batches.shuffle(random)))
    for pixels, truth in zip(data * DIVISOR + MEAN, labels, strict=True):
        rows = (truth == 3).all(axis=1)
        assert rows.sum() == 100
        assert (truth[~rows] == -1).all()
        np.testing.assert_allclose(pixels[~rows], 0, atol=1e-9)
        assert (pixels[rows] > 100).all()
    assert len({int((labels[i] == 3).argmax()) for i in range(4)}) > 1


def test_shapes_keep_their_size_and_the_border_of_cifar(backend, random) -> None:
    train, _ = load_shapes(60, 10)
    assert len(train.mask_classes) == 11
    batches = PixelBatches(train, 60, backend, "float32")
    assert batches.shape == (32, 32, 3)
    data, labels = map(backend.host, batches.next(*batches.shuffle(random)))
    assert data.shape == (60, 32, 32, 3)
    assert {-1, 0, 1, 10} <= set(np.unique(labels))
    assert sum(bool((truth == -1).any()) for truth in labels) > 30


def test_the_palette_is_vocs() -> None:
    colours = palette()
    assert colours[[0, 1, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]


def test_predictions_are_drawn_beside_image_and_truth(random) -> None:
    sizes = [(20, 30), (300, 200)]
    images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    masks = [random.integers(0, 21, size, dtype=np.uint8) for size in sizes]

    def forward(data):
        return np.eye(21)[np.full(data.shape[:3], 7)]

    png = predictions([(image[None], image, mask) for image, mask in zip(images, masks, strict=True)], forward)
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    assert pixels.shape == (4 * 20 + 4 + 300, 3 * 200 + 8, 3)
    np.testing.assert_array_equal(pixels[84:, :200], images[1])
    np.testing.assert_array_equal(pixels[84:, 204:404], palette()[masks[1]])
    assert (pixels[84:, 408:] == palette()[7]).all()
    np.testing.assert_array_equal(pixels[:80:4, :120:4], images[0])
