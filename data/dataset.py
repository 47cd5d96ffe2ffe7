"""Data set: labelled images, held in memory."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.arguments import shown, whole
from minidl.kernels.arrays import check_unmasked
from minidl.kernels.augment import VOID
from minidl.kernels.errors import MinidlError

Bytes = NDArray[np.uint8]
MOST_MASK_CLASSES = 128


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """One part (training or test) of a data set, with one label for each image, or for each pixel, or both.

    ``images`` is uint8 ``(n, y, x, 3)``, C-contiguous, red first, or, where sizes differ, a list of images
    ``(y, x, 3)``; ``labels`` is int64 ``(n,)``, an index into ``classes``; ``masks`` is uint8 ``(n, y, x)``, or a
    list, with one label a pixel, an index into ``mask_classes`` or ``VOID``, 255. ``crop`` is the side in pixels of the
    squares that training cuts out of images of different sizes; 227 in section 5 of the paper. ``white`` is the value
    of white in images of more than 8 bits, see images.py. ``notes`` are sentences for the user: which files were left
    out, and what looks odd. Raises MinidlError if labels or masks do not fit the images and classes.
    """

    name: str
    images: Bytes | list[Bytes]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    masks: Bytes | list[Bytes] | None = None
    mask_classes: tuple[str, ...] = ()
    crop: int = 227
    white: int = 255
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the images, and that labels and masks fit images and classes; make an array of labels in a list."""
        self._check_kinds()
        axes = ("y", "x", "3") if isinstance(self.images, list) else ("n", "y", "x", "3")
        for images in self.images if isinstance(self.images, list) else [self.images]:
            extents = images.shape[-3:]
            if images.dtype != np.uint8 or images.ndim != len(axes) or extents[-1] != 3 or 0 in extents:
                raise MinidlError(
                    f"{self.name} has images of {images.dtype} of shape {images.shape}; give bytes (uint8) of shape "
                    f"({', '.join(axes)}) with red, green and blue last, and with at least one pixel"
                )
        if self.labels is not None:
            self._check_labels(self.labels)
        if self.masks is not None:
            self._check_masks(self.masks)

    def _check_kinds(self) -> None:
        """Raise MinidlError for images and masks that are no arrays or masked, and for classes that are no names."""
        for what, given in (("images", self.images), ("masks", self.masks if self.masks is not None else [])):
            for one in given if isinstance(given, list) else [given]:
                if not isinstance(one, np.ndarray):
                    raise MinidlError(
                        f"{self.name} has {what} of type {type(one).__name__}; give all in one array of bytes (uint8), "
                        "or, where sizes differ, a list of such arrays"
                    )
                check_unmasked(one)
        for what in ("classes", "mask_classes"):
            value: Any = getattr(self, what)
            names = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (None,)
            if not all(isinstance(name, str) for name in names):
                raise MinidlError(f"{what} of {self.name} must be names, such as ('cat', 'dog'), not {shown(value)}")
            object.__setattr__(self, what, names)
        if self.labels is not None:
            check_unmasked(self.labels)
            object.__setattr__(self, "labels", np.asarray(self.labels))

    def _check_labels(self, labels: NDArray[np.int64]) -> None:
        if labels.shape != (len(self),):
            raise MinidlError(
                f"{self.name} has {len(self):,} images and labels of shape {labels.shape}; give one for each image"
            )
        if labels.dtype.kind not in "iu":
            raise MinidlError(f"the labels of {self.name} must be integers, and not {labels.dtype}")
        wrong = labels[(labels < 0) | (labels >= len(self.classes))]
        if wrong.size:
            raise MinidlError(
                f"{self.name} has the label {wrong[0]}; with its {len(self.classes)} classes, labels are 0 to "
                f"{len(self.classes) - 1}"
            )

    def _check_masks(self, masks: Bytes | list[Bytes]) -> None:
        if len(self.mask_classes) > MOST_MASK_CLASSES:
            raise MinidlError(
                f"{self.name} has {len(self.mask_classes)} classes of masks; {MOST_MASK_CLASSES} are as many as a byte "
                "with a sign counts, which the labels of pixels are"
            )
        if len(masks) != len(self):
            raise MinidlError(f"{self.name} has {len(self):,} images and {len(masks):,} masks; give one for each image")
        several = isinstance(masks, list) or isinstance(self.images, list)
        pairs: Iterable[tuple[Any, Any]] = zip(self.images, masks, strict=True) if several else [(self.images, masks)]
        for images, labels in pairs:
            shape = images.shape[:-1]
            if labels.shape != shape or labels.dtype != np.uint8:
                raise MinidlError(
                    f"{self.name} has masks of {labels.dtype} of shape {labels.shape} for images of shape "
                    f"{images.shape}; give masks of uint8 of shape {shape}"
                )
            count = len(self.mask_classes)
            if labels.size and np.max(labels + np.uint8(1)) > count:  # VOID + 1 is 0 in a byte
                wrong = labels[(labels >= count) & (labels != VOID)][0]
                raise MinidlError(
                    f"{self.name} has the label {wrong} in a mask; with its {count} classes of masks, labels are 0 to "
                    f"{count - 1}, and {VOID} where there is none"
                )

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
        if whole("count of subset", count) > len(self):
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

        A pixel is the mean of ``times`` × ``times`` pixels, and has the label of the pixel in their middle. Raises
        MinidlError for a set whose images have one size, since its nets are made for that size.
        """
        if whole("times of shrunk", times) == 1:
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

        Raises MinidlError for a set whose images have one size, since that is the size of its crops.
        """
        if side is None:
            return self
        self._lists("--crop")
        return replace(self, crop=whole("side of cropped", side))

    def _lists(self, option: str) -> tuple[list[Bytes], list[Bytes]]:
        """Return images and masks of a set of different sizes; only for these does ``option`` work."""
        if isinstance(self.images, list) and isinstance(self.masks, list):
            return self.images, self.masks
        raise of_one_size(self.name, option)


def of_one_size(name: str, option: str) -> MinidlError:
    """Return the error for a set whose images have one size, for which ``option`` does not work."""
    return MinidlError(f"the images of {name} are of one size already; {option} is for voc2012")
