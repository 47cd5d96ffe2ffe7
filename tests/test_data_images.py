"""Image files with every kind of pixel, read as bytes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.data import images
from minidl.kernels.errors import MinidlError

RAMP = np.tile(np.linspace(0, 255, 32).round().astype(np.uint8), (8, 1))
INK = np.zeros((8, 32), np.uint8)
INK[2:5, 3:20] = 255


def pixels(path: Path, **options: images.Colour) -> images.Bytes:
    return images.to_bytes(*images.read(path, **options))


def palette_ink(transparency: bool = True) -> Image.Image:
    """Return an image with two palette entries, both black, of which the first is transparent."""
    image = Image.fromarray(INK // 255)
    image.putpalette([0, 0, 0, 0, 0, 0])
    if transparency:
        image.info["transparency"] = 0
    return image


def ink(mode: str) -> Image.Image:
    """Return an image with black pixels on a transparent background."""
    if mode == "P":
        return palette_ink()
    if mode == "PA":
        image = palette_ink(transparency=False).convert("PA")
        image.putalpha(Image.fromarray(INK))
        return image
    black = Image.new("L", (32, 8))
    return Image.merge(mode, (*[black] * (len(mode) - 1), Image.fromarray(INK)))


@pytest.mark.parametrize(
    "mode, suffix", [("RGBA", "png"), ("RGBA", "tif"), ("RGBA", "webp"), ("LA", "png"), ("P", "png"), ("P", "gif")]
)
def test_black_ink_on_transparency_is_black_on_white(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"ink.{suffix}"
    ink(mode).save(path, lossless=True)
    np.testing.assert_array_equal(pixels(path), np.stack([255 - INK] * 3, -1))
    np.testing.assert_array_equal(pixels(path, background=(1, 2, 3))[0, 0], [1, 2, 3])


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA", "LA"])
def test_every_mode_with_transparency(mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    image = ink(mode) if mode == "PA" else ink(mode.upper()).convert(mode)
    monkeypatch.setattr(images, "decode", lambda path: image)
    np.testing.assert_array_equal(pixels(tmp_path), np.stack([255 - INK] * 3, -1))


def test_a_transparent_colour(tmp_path: Path) -> None:
    Image.fromarray(RAMP).convert("RGB").save(tmp_path / "x.png", transparency=(0, 0, 0))
    np.testing.assert_array_equal(pixels(tmp_path / "x.png")[..., 1], np.where(RAMP, RAMP, 255))


def test_half_transparent_colours_are_mixed(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (255, 0, 100, 51)).save(tmp_path / "x.png")
    assert pixels(tmp_path / "x.png").tolist() == [[[255, 204, 224]]]


@pytest.mark.parametrize(
    "values",
    [
        RAMP.astype(np.uint16),
        RAMP.astype(np.uint16) * 257,
        RAMP.astype(np.int32),
        RAMP.astype(np.int32) * 257,
        (RAMP / 255).astype(np.float32),
        RAMP.astype(np.float32),
        (RAMP * 257.0).astype(np.float32),
    ],
    ids=["8 of 16 bits", "16 bits", "8 of 32 bits", "16 of 32 bits", "floats to 1", "floats to 255", "floats to 65535"],
)
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_grey_of_more_than_8_bits_is_scaled_by_what_the_file_holds(
    tmp_path: Path, values: np.ndarray, suffix: str
) -> None:
    if suffix == "png" and values.dtype != np.uint16:
        pytest.skip("a PNG holds no such values")
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(pixels(path), np.stack([RAMP] * 3, -1))


def test_12_bits(tmp_path: Path) -> None:
    Image.fromarray((RAMP / 255 * 4095).round().astype(np.uint16)).save(tmp_path / "x.png")
    np.testing.assert_array_equal(pixels(tmp_path / "x.png")[..., 0], RAMP)


def test_big_endian_16_bits(tmp_path: Path) -> None:
    image = Image.new("I;16B", (32, 8))
    image.frombytes((RAMP.astype(np.uint16) * 257).astype(">u2").tobytes())
    image.save(tmp_path / "x.tif")
    np.testing.assert_array_equal(pixels(tmp_path / "x.tif")[..., 0], RAMP)


def test_floats_that_a_filter_pushed_out_of_their_range_are_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.float32([[-0.1, 0.2, 1.1]])).save(tmp_path / "x.tif")
    assert pixels(tmp_path / "x.tif")[0, :, 0].tolist() == [0, 51, 255]


@pytest.mark.parametrize("value", [-1, np.nan, np.inf, -np.inf, 1e6])
def test_values_of_unknown_range_are_refused(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.float32([[0, 1, value]])).save(tmp_path / "x.tif")
    with pytest.raises(MinidlError, match=r"x\.tif has values from .*, so that its white is not known; store it"):
        images.read(tmp_path / "x.tif")


def test_negative_integers_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.int32([[-1, 200]])).save(tmp_path / "x.tif")
    with pytest.raises(MinidlError, match="has values from -1 to 200, so that"):
        images.read(tmp_path / "x.tif")


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "1", "L", "RGB"])
def test_other_modes_are_converted(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode).save(tmp_path / "x.tif")
    assert pixels(tmp_path / "x.tif").min() >= 254


@pytest.mark.parametrize("suffix", ["gif", "webp", "apng"])
def test_an_animation_is_its_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (4, 4), (shade,) * 3) for shade in (200, 0)]
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    assert (pixels(tmp_path / f"x.{suffix}") == 200).all()


@pytest.mark.parametrize(
    "mode, suffix", [("L", "png"), ("L", "tif"), ("RGB", "tif"), ("RGBA", "tif"), ("F", "tif"), ("I;16", "png")]
)
def test_every_image_is_turned_upright(tmp_path: Path, mode: str, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90°
    Image.fromarray(RAMP).convert(mode).save(tmp_path / f"x.{suffix}", exif=exif)
    np.testing.assert_array_equal(pixels(tmp_path / f"x.{suffix}")[..., 0], np.rot90(RAMP, -1))


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (20, 20)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    assert pixels(tmp_path / "x.png").shape == (20, 20, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(MinidlError, match=r"x\.png is too large to be decoded safely .*; make it smaller"):
        images.read(tmp_path / "x.png")


def test_photographs_have_many_suffixes() -> None:
    assert {".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".jp2", ".tiff", ".gif", ".bmp"} <= images.suffixes()
    assert not {".pdf", ".mpg", ".eps", ".psd", ".ico", ".txt"} & images.suffixes()
    assert (".avif" in images.suffixes()) == (".avif" in Image.registered_extensions())
