"""Cuts a data set into batches that a net can be given: images with a label for each pixel."""

from collections.abc import Iterator
from itertools import groupby
from math import prod
from typing import Any

import numpy as np

from minidl.data.batches import BORDER, DIVISOR, MEAN, check_size
from minidl.data.dataset import Dataset
from minidl.kernels import Kernels
from minidl.kernels.errors import MinidlError

CROP = 227  # pixels of a side that training sees of images whose sizes differ
COLOUR = np.array(  # DLIB's directions, in red, green and blue, in which the colour of photographs varies
    [[-66.379, 25.094, 6.79698], [-68.0492, -0.302309, -13.9539], [-68.4907, -24.0199, 7.27653]]
)

Array = Any


class PixelBatches:
    """The batches of a data set: (pixels − MEAN)/DIVISOR in the net's number type, and int8 labels, −1 for void.

    Training sees square crops with random colour offsets, every second one mirrored; a test sees whole images. Where
    sizes differ, a crop has 227 pixels a side, and what it has more than an image is black and void; otherwise it has
    the images' size, out of a black border. Raises MinidlError for a batch larger than the set, and for a set without
    masks.
    """

    per_pixel = True

    def __init__(self, dataset: Dataset, batch_size: int, kernels: Kernels, dtype: Any) -> None:
        if dataset.masks is None:
            raise MinidlError(
                f"{dataset.name} has no label for each pixel, which --model d needs; use shapes or voc2012"
            )
        check_size(dataset, batch_size)
        self.images, self.masks, self.classes = dataset.images, dataset.masks, dataset.mask_classes
        self.sizes = np.array([image.shape[:2] for image in dataset.images])
        self.batch_size, self.kernels = batch_size, kernels
        alike = not isinstance(dataset.images, list)
        self.crop, self.border = (int(self.sizes.min()), BORDER) if alike else (CROP, 0)
        self.shape = (self.crop, self.crop, 3)
        # A test batch has as many pixels as a training batch at most, but one image at least.
        self.pixels = max(batch_size * self.crop**2, int(self.sizes.prod(axis=1).max()))
        self.data = kernels.xp.empty(3 * self.pixels, dtype)
        self.labels = kernels.xp.empty(self.pixels, np.int8)

    @property
    def samples(self) -> int:
        """How many images there are."""
        return len(self.images)

    def in_order(self) -> Iterator[tuple[Array, Array]]:
        """Iterate over all whole images, those of one size after those of another."""
        by_size = sorted(range(self.samples), key=lambda i: tuple(self.sizes[i]))
        for size, group in groupby(by_size, key=lambda i: tuple(self.sizes[i])):
            indices, most = list(group), self.pixels // prod(size)
            for start in range(0, len(indices), most):
                yield self._whole(indices[start : start + most])

    def shuffled(self, random: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """Iterate over crops of all images in random order."""
        order = random.permutation(self.samples)
        spare = self.sizes[order] - self.crop
        low, high = np.minimum(spare, 0) - self.border, np.maximum(spare, 0) + self.border
        corners = random.integers(low, high, endpoint=True)
        colours = np.rint(0.1 * random.standard_normal((self.samples, 3)) @ COLOUR.T)
        mirrored = random.random(self.samples) < 0.5
        for start in range(0, self.samples, self.batch_size):
            part = slice(start, min(start + self.batch_size, self.samples))
            yield self._cut(order[part], corners[part], colours[part], mirrored[part], (self.crop, self.crop))

    def examples(self, count: int) -> Iterator[tuple[Array, Array, Array]]:
        """Iterate over the first images: data (1, y, x, 3), and image and mask as bytes."""
        for i in range(min(count, self.samples)):
            yield self._whole([i])[0], self.images[i], self.masks[i]

    def _whole(self, indices: list[int]) -> tuple[Array, Array]:
        """Return images of one size as they are."""
        n = len(indices)
        y, x = self.sizes[indices[0]]
        return self._cut(
            np.array(indices), np.zeros((n, 2), int), np.zeros((n, 3)), np.zeros(n, bool), (int(y), int(x))
        )

    def _cut(
        self, indices: Array, corners: Array, colours: Array, mirrored: Array, size: tuple[int, int]
    ) -> tuple[Array, Array]:
        shape = (len(indices), *size)
        data, labels = self.data[: 3 * prod(shape)].reshape(*shape, 3), self.labels[: prod(shape)].reshape(shape)
        self.kernels.augment.crop_with_masks(
            self.images, self.masks, indices, corners, colours, mirrored, MEAN, DIVISOR, data, labels
        )
        return data, labels
