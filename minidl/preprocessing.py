"""What stands before and after a net: how pixels become its data, and what its outputs mean."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.errors import MinidlError


@dataclass(frozen=True)
class Preprocessing:
    """How a net's images are prepared: data = (pixels − mean)/divisor.

    mean: of red, green and blue, in 0 … 255; shape: the extents (y, x) of the images that the net was trained on;
    classes: the names of its outputs.
    """

    mean: tuple[float, ...]
    divisor: float
    shape: tuple[int, int]
    classes: tuple[str, ...]

    def prepare(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (images − mean)/divisor, float32; images: uint8 (…, y, x, 3). Raises MinidlError for others."""
        if images.dtype != np.uint8 or images.shape[-1:] != (len(self.mean),):
            raise MinidlError(
                f"images of bytes with {len(self.mean)} channels, red first, are expected, but these are "
                f"{images.dtype} of shape {images.shape}; convert them to uint8 (…, y, x, {len(self.mean)})"
            )
        data = images.astype(np.float32)
        data -= np.asarray(self.mean, np.float32)
        data *= np.float32(1 / self.divisor)
        return data

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Preprocessing":
        """Return what ``to_json`` was made from."""
        y, x = fields["shape"]
        return cls(tuple(fields["mean"]), fields["divisor"], (y, x), tuple(fields["classes"]))
