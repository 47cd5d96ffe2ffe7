"""Image files as bytes: upright, without transparency, with 8 bits for each colour."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from minidl.data import regular_file
from minidl.data.dataset import Bytes
from minidl.data.fit import fitted
from minidl.kernels.errors import MinidlError

Colour = tuple[int, int, int]
WHITE = (255, 255, 255)

FORMATS = frozenset({"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP"})
"""Pillow's names of the formats that photographs and drawings come in; whatever a file holds, no other is tried."""

MOST_PIXELS = 1 << 26
"""Of one image, such as 8,192 x 8,192: what Pillow decodes them to are 4 bytes for each."""

MOST_BYTES = 1 << 29
"""Of one file."""

TILE = (322, 323)
"""The tags of TIFF for width and height of the pieces that an image is stored in; each is decoded as a whole."""

BRIGHTEST = (1, 255, 4095, 65535)
"""What white may be in an image of more than 8 bits: 1 for floats alone, otherwise 8, 12 or 16 bits."""

OVERSHOOT = 0.25
"""How far floats may leave their range, as a resampling filter makes them; this part is clipped."""


@cache
def suffixes() -> frozenset[str]:
    """Return the file name suffixes that this Pillow decodes, in lower case and with their dot."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS)


@cache
def _formats() -> tuple[str, ...]:
    """Return those of ``FORMATS`` that this Pillow decodes."""
    Image.init()
    return tuple(sorted(FORMATS & Image.OPEN.keys()))


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image and read only its header; only this function opens files with Pillow.

    Raises MinidlError if it is not an image, or too large: a file of 100 bytes may decode to gigabytes.
    """
    # Given a path, Pillow maps an uncompressed TIFF into memory and mixes up the pixels of a rotated one.
    with (
        _sentences(path),
        regular_file.opened(path, MOST_BYTES) as file,
        Image.open(file, formats=_formats()) as image,
    ):
        _check_extents(image)
        yield image


def decode(path: Path) -> Image.Image:
    """Return an image as it is stored, but upright; raise MinidlError where it cannot be decoded."""
    with opened(path) as image:
        return upright(path, image)


def upright(path: Path, image: Image.Image) -> Image.Image:
    """Return an image as its orientation says; raise MinidlError where it cannot be decoded; path: for messages."""
    with _sentences(path):
        return ImageOps.exif_transpose(image)


def count_pixels(path: Path) -> int:
    """Return the number of pixels in an image's header; raise MinidlError if it cannot be read."""
    with opened(path) as image:
        return image.width * image.height


def read(
    path: Path, size: tuple[int, int] | None = None, background: Colour = WHITE, fit: str = "stretch"
) -> tuple[Bytes | NDArray[np.float32], int]:
    """Return the pixels of an image file, see ``pixels``; raise MinidlError where it cannot be decoded."""
    return pixels(path, decode(path), size, background, fit)


def pixels(
    path: Path, image: Image.Image, size: tuple[int, int] | None, background: Colour, fit: str
) -> tuple[Bytes | NDArray[np.float32], int]:
    """Return an image over a background, fitted to ``size`` (x, y) by ``fit``, and its value of white.

    path: name of the image in messages; fit: see fit.py.
    The image is uint8 RGB (y, x, 3), with 255 for white, or, where the file holds one value of more than 8 bits for
    each pixel, float32 (y, x), with the smallest of ``BRIGHTEST`` that no value exceeds; ``to_bytes`` makes RGB of it.
    Of colours of 16 bits, Pillow decodes only the upper bytes.
    Raises MinidlError if it cannot be converted, or if values are negative, not finite or above 65,535.
    """
    deep = image.mode.startswith(("I", "F"))
    white = _brightest(path, image) if deep else 255
    with _sentences(path):
        image = Image.fromarray(np.asarray(image).astype(np.float32)) if deep else _flat(image, background)
        return np.asarray(fitted(image, size, fit) if size else image), white


def to_bytes(values: Bytes | NDArray[np.float32], white: int, of_set: int = 255) -> Bytes:
    """Return what ``read`` returns as RGB, uint8 (y, x, 3).

    of_set: the value of white in the image's set, so that a dark image of more than 8 bits stays darker than others.
    """
    if values.ndim == 3:
        return values.astype(np.uint8, copy=False)
    grey = np.rint(values * (255 / (white if white <= 255 else max(white, of_set)))).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def constant_note(name: str, files: Sequence[Path], pixels: Iterable[Bytes]) -> tuple[str, ...]:
    """Return a sentence that says which images have the same colour everywhere, if any have."""
    constant = [file for file, image in zip(files, pixels, strict=True) if _is_constant(image)]
    if not constant:
        return ()
    return (f"{name}: {len(constant):,} of {len(files):,} images have one colour everywhere, such as {constant[0]}",)


def _check_extents(image: Image.Image) -> None:
    """Raise an error, which ``_sentences`` explains, if an image or a piece of it has no pixels or too many."""
    tags = getattr(image, "tag_v2", {})
    width, height = (tags.get(tag, 1) for tag in TILE)
    largest = max(image.width * image.height, width * height)
    if largest > MOST_PIXELS:
        raise Image.DecompressionBombError(f"{largest:,} pixels, more than {MOST_PIXELS:,}")
    if not image.width * image.height:
        raise ValueError("it has no pixels")


def _is_constant(image: Bytes) -> bool:
    return bool((image[0] == image[0, 0]).all() and (image == image[:1]).all())


def _flat(image: Image.Image, background: Colour) -> Image.Image:
    """Return an image of 8 bits in RGB, over a background where it is transparent."""
    if image.mode == "La":  # Pillow converts it to nothing else
        image = image.convert("LA")
    palette = image.palette.mode if image.palette else ""
    if image.mode.endswith(("A", "a")) or palette.endswith("A") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image.convert("RGBA"))
    return image.convert("RGB")


def _brightest(path: Path, image: Image.Image) -> int:
    values = np.asarray(image)
    floats = image.mode == "F"
    slack = OVERSHOOT if floats else 0
    low, high = values.min(), values.max()
    if low >= -slack * abs(high):  # false for nan
        for white in BRIGHTEST[0 if floats else 1 :]:
            if high <= (1 + slack) * white:
                return white
    raise MinidlError(
        f"{path} has values from {low:g} to {high:g}, so that its white is not known; store it with values "
        "from 0 to 255 or from 0 to 65,535, or with floats from 0 to 1"
    )


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Turn errors of Pillow into MinidlError; ignore its warnings about large images and damaged metadata."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MinidlError:  # it says what is wrong, and that is not the file
        raise
    except Image.DecompressionBombError as problem:
        raise MinidlError(f"{path} is too large to be decoded safely ({problem}); make it smaller") from problem
    except UnidentifiedImageError as problem:
        raise MinidlError(
            f"{path} cannot be decoded as an image (no format that is read here); replace or remove it"
        ) from problem
    except Exception as problem:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        reason = getattr(problem, "strerror", "") or str(problem) or type(problem).__name__
        raise MinidlError(f"{path} cannot be decoded as an image ({reason}); replace or remove it") from problem
