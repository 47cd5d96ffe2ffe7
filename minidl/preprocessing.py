"""Preprocessing: how pictures become a net's data, and what its outputs mean.

Only this module knows it, for the images of a training, for ``net.predict`` and for every command.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minidl.data import images as image_files
from minidl.kernels.arrays import check_unmasked
from minidl.kernels.errors import MinidlError

KEEP = "keep"  # the fit of a net that takes images of any size
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Preprocessing:
    """How a net's images are prepared: data = (pixels − mean)/divisor.

    mean: of red, green and blue, in 0 … 255; shape: the extents (y, x) of the images that the net was trained on;
    classes: the names of its outputs; fit: how a picture gets these extents, "stretch", "crop" or "pad" (see
    ``minidl.data.fit``), or "keep" for a net that takes any size; shrink: with "keep", how many times smaller the net
    sees a picture (``--shrink``); white: the value of white in training images of more than 8 bits.
    """

    mean: tuple[float, ...]
    divisor: float
    shape: tuple[int, int]
    classes: tuple[str, ...]
    fit: str = "stretch"
    shrink: int = 1
    white: int = 255

    def prepare(self, images: Bytes) -> NDArray[np.float32]:
        """Return (images − mean)/divisor, float32; images: uint8 (…, y, x, 3). Raises MinidlError for others."""
        if images.dtype != np.uint8 or images.shape[-1:] != (len(self.mean),):
            raise MinidlError(
                f"images of bytes with {len(self.mean)} channels, red first, are expected, but these are "
                f"{images.dtype} of shape {images.shape}; convert them to uint8 (…, y, x, {len(self.mean)})"
            )
        check_unmasked(images)
        data = images.astype(np.float32)
        data -= np.asarray(self.mean, np.float32)
        data *= np.float32(1 / self.divisor)
        return data

    def read(self, path: Path) -> Bytes:
        """Return the picture in a file as training reads it, uint8 RGB (y, x, 3) of its own size, for ``fitted``.

        Raises MinidlError where it cannot be decoded.
        """
        return image_files.to_bytes(*image_files.read(path), self.white)

    def fitted(self, picture: Any) -> Bytes:
        """Return a picture as uint8 RGB (y, x, 3), with the extents of the net's images unless it takes any.

        picture: a PIL image of any mode, or uint8 (y, x), (y, x, 3) or (y, x, 4). Raises MinidlError for another one.
        """
        if isinstance(picture, np.ndarray):
            check_unmasked(picture)
            if picture.dtype == np.uint8 and picture.shape == (*self.shape, 3):
                return picture
            if picture.dtype != np.uint8 or picture.shape[2:] not in ((), (3,), (4,)) or not picture.size:
                raise MinidlError(
                    f"a picture is uint8 of shape (y, x), (y, x, 3) or (y, x, 4), not {picture.dtype} of shape "
                    f"{picture.shape}; convert it, or give a PIL image"
                )
            picture = Image.fromarray(np.ascontiguousarray(picture))
        if not isinstance(picture, Image.Image):
            raise MinidlError(
                f"a picture is a PIL image or an array of uint8, not {type(picture).__name__}; give one of these"
            )
        if 0 in picture.size:
            raise MinidlError(f"a picture of {picture.width}×{picture.height} pixels shows nothing; leave it out")
        name, size = Path("the picture"), None if self.fit == KEEP else self.shape[::-1]
        image = image_files.upright(name, picture)
        values, white = image_files.pixels(name, image, size, image_files.WHITE, self.fit)
        return image_files.to_bytes(values, white, self.white)

    def shrunk(self, picture: Bytes) -> Bytes:
        """Return a fitted picture as the net sees it, ``shrink`` times smaller."""
        return picture if self.shrink == 1 else np.asarray(Image.fromarray(picture).reduce(self.shrink))

    def enlarged(self, output: Any, extents: tuple[int, int]) -> Any:
        """Return the output (y, x, classes) for a picture that was shrunk with the extents (y, x) of the picture.

        Each pixel of the output stands for ``shrink`` × ``shrink`` pixels of the picture.
        """
        y, x = extents
        return output if self.shrink == 1 else output.repeat(self.shrink, 0).repeat(self.shrink, 1)[:y, :x]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Preprocessing":
        """Return what ``to_json`` was made from; earlier versions wrote no fit, shrink or white."""
        y, x = fields["shape"]
        more = {name: fields[name] for name in ("fit", "shrink", "white") if name in fields}
        return cls(tuple(fields["mean"]), fields["divisor"], (y, x), tuple(fields["classes"]), **more)


def pictures(given: Any) -> Sequence[Any] | None:
    """Return the pictures given to a net, one after the other, or None if they are not pictures.

    given: one picture or several, PIL images or arrays of bytes; a list may have some of each, of different sizes.
    """
    for one in given if isinstance(given, list | tuple) else [given]:
        if isinstance(one, str | os.PathLike):
            raise MinidlError(f"predict takes pictures, and not the name of a file, {one!r}; open it by PIL.Image.open")
    if isinstance(given, Image.Image):
        return [given]
    if isinstance(given, np.ndarray):
        if given.dtype == np.uint8 and given.ndim in (2, 3, 4):
            return list(given) if given.ndim == 4 else [given]
        return None
    if isinstance(given, list | tuple) and any(_is_picture(one) for one in given):
        return given
    return None


def _is_picture(one: Any) -> bool:
    return isinstance(one, Image.Image) or (
        isinstance(one, np.ndarray) and one.dtype == np.uint8 and one.ndim in (2, 3)
    )
