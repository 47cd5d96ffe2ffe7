"""Augmentation: a batch is cropped from images stored on the GPU as bytes; see kernels/augment.py and augment.cu."""

from dataclasses import dataclass
from typing import Any

import cupy
import numpy as np

from minidl.kernels.arguments import Layout, layout
from minidl.kernels.augment import Crops
from minidl.kernels.gpu.source import ints, lanes, launch, over_pixels

Array = Any
ROWS = 4  # rows of a sample per thread; as in augment.cu, for crops without masks
MARGIN = 8  # bytes before the first image and after the last one, as whole words are read


@dataclass(frozen=True)
class Pictures:
    """Images or masks of any sizes: all bytes, the start of each image (n,), and its rows and columns (n, 2)."""

    bytes: Array
    starts: Array
    extents: Array
    layout: Layout

    def __len__(self) -> int:
        return len(self.starts)


def store(images: Any) -> Pictures:
    """Copy images or masks, an array or a list of arrays of any sizes, to the GPU."""
    of_images = layout(images)
    ends = np.cumsum([image.size for image in images], dtype=np.int64)
    around = np.zeros(MARGIN, np.uint8)
    everything = np.concatenate([around, *(image.reshape(-1) for image in images), around])
    starts, extents = MARGIN + np.append(0, ends[:-1]), of_images.extents.astype(np.int32)
    return Pictures(cupy.asarray(everything), cupy.asarray(starts), cupy.asarray(extents), of_images)


def crop(images: Pictures, classes: Array, crops: Crops, mean: Any, divisor: float, out: Array, labels: Array) -> None:
    """Write (crop − mean)/divisor of the next images into ``out``, their classes into ``labels``.

    images: from ``store``; classes: (n,); mean: (3,), in 0 … 255, on the host; out: (samples, out_y, out_x, 3); labels:
    (samples,). Outside an image pixels are black.
    """
    _launch("crop", (images.bytes, images.starts, images.extents, classes), crops, mean, divisor, out, labels)


def crop_with_masks(
    images: Pictures, masks: Pictures, crops: Crops, mean: Any, divisor: float, out: Array, labels: Array
) -> None:
    """Write (crop + colour − mean)/divisor of the next images into ``out``, their masks' crops into ``labels``.

    images, masks: from ``store``; mean: (3,), in 0 … 255, on the host; out: (samples, out_y, out_x, 3); labels:
    (samples, out_y, out_x). Outside an image pixels are black and labels −1; masks of 255 become −1, too.
    """
    arrays = (images.bytes, images.starts, masks.bytes, masks.starts, images.extents)
    _launch("crop_with_masks", arrays, crops, mean, divisor, out, labels)


def _launch(
    kernel: str, arrays: tuple[Array, ...], crops: Crops, mean: Any, divisor: float, out: Array, labels: Array
) -> None:
    """Run a kernel by some blocks for each sample, and advance the position.

    Samples beyond the end of ``crops.order`` become nan, their labels −1: a recorded batch can be launched too often,
    and nothing can raise an error there.
    """
    epoch = [array for array in crops if array is not None]
    scaling = (out.dtype.type(number) for number in (*mean, 1 / divisor))
    samples, y, x, colours = out.shape
    unit = lanes(x * colours, out)
    (_, down, across), block = over_pixels(samples, y, x * colours // unit)
    args = (*arrays, *epoch, np.int64(crops.order.size), *scaling, out, labels, *ints(y, x))
    name = f"{kernel}_{'vector' if unit > 1 else 'one'}"
    launch("augment", name, out.dtype, (samples, -(-down // ROWS), across), block, args)
    launch("augment", "advance", out.dtype, 1, 1, (crops.position, np.int64(samples)))
