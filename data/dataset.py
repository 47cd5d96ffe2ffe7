"""A labelled set of images, held in memory."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.errors import MinidlError

Bytes = NDArray[np.uint8]
VOID = 255
"""The label of a pixel in a mask that has none."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """One part (training or test) of a data set, with one label for each image, or for each pixel, or both.

    ``images`` is uint8 ``(n, y, x, 3)``, C-contiguous, red first, or, where sizes differ, a list of images
    ``(y, x, 3)``; ``labels`` is int64 ``(n,)``, an index into ``classes``; ``masks`` is uint8 ``(n, y, x)``, or a
    list, with one label a pixel, an index into ``mask_classes`` or ``VOID``. ``crop`` is how many pixels a side the
    squares have that training cuts out of images whose sizes differ; 227 in section 5 of the paper.
    """

    name: str
    images: Bytes | list[Bytes]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    masks: Bytes | list[Bytes] | None = None
    mask_classes: tuple[str, ...] = ()
    crop: int = 227

    def __repr__(self) -> str:
        return f"<Dataset {self.name}: {len(self):,} images, {len(self.classes or self.mask_classes)} classes>"

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def subset(self, count: int) -> "Dataset":
        """Return ``count`` images drawn at random without replacement, the same ones in every run.

        A smaller subset is the beginning of a larger one. Raises MinidlError if ``count`` is not between 1
        and the number of images.
        """
        if not 1 <= count <= len(self):
            raise MinidlError(
                f"{count:,} images were asked for, but this part of {self.name} has {len(self):,}; "
                f"ask for 1 to {len(self):,}"
            )
        # Sorted raw bits, not Generator.choice: only the raw stream stays the same in all versions of NumPy.
        keys = np.random.PCG64(0).random_raw(len(self))
        chosen = np.argsort(keys, kind="stable")[:count]

        def pick(values: Any) -> Any:
            if isinstance(values, list):
                return [values[i] for i in chosen]
            return None if values is None else values[chosen]

        return replace(self, images=pick(self.images), labels=pick(self.labels), masks=pick(self.masks))

    def shrunk(self, times: int) -> "Dataset":
        """Return the set with images and masks ``times`` times smaller along both axes.

        A pixel is the mean of ``times`` × ``times`` pixels, and has the label of the one in their middle. Raises
        MinidlError for a set whose images are of one size, which its nets are made for.
        """
        if times == 1:
            return self
        images, masks = self._lists("--shrink")

        from PIL import Image

        def middles(size: int) -> NDArray[np.int64]:
            return np.minimum(np.arange(-(-size // times)) * times + times // 2, size - 1)

        return replace(
            self,
            images=[np.asarray(Image.fromarray(image).reduce(times)) for image in images],
            masks=[mask[np.ix_(middles(mask.shape[0]), middles(mask.shape[1]))] for mask in masks],
        )

    def cropped(self, side: int | None) -> "Dataset":
        """Return the set with training crops of ``side`` pixels a side, or as it is for None.

        Raises MinidlError for a set whose images are of one size, to which they are cropped.
        """
        if side is None:
            return self
        self._lists("--crop")
        return replace(self, crop=side)

    def _lists(self, option: str) -> tuple[list[Bytes], list[Bytes]]:
        """Return images and masks of a set whose sizes differ, which ``option`` is for."""
        if isinstance(self.images, list) and isinstance(self.masks, list):
            return self.images, self.masks
        raise MinidlError(f"the images of {self.name} are of one size already; {option} is for voc2012")
