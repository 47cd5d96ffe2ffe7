"""Batches of a data set, as a net takes them: images with a label for each pixel."""

from collections.abc import Iterator
from itertools import groupby
from math import prod
from typing import Any

import numpy as np

from minidl.data.batches import BORDER, DIVISOR, MEAN, Batches, Request, pieces, share_of
from minidl.data.dataset import Dataset
from minidl.data.labels import lacking
from minidl.kernels.augment import Crops

COLOUR = np.array(  # DLIB's directions, in red, green and blue, in which the colour of photographs varies
    [[-66.379, 25.094, 6.79698], [-68.0492, -0.302309, -13.9539], [-68.4907, -24.0199, 7.27653]]
)

Array = Any


class PixelBatches(Batches):
    """The batches of a data set: (pixels − MEAN)/DIVISOR in the net's number type, and int8 labels, −1 for void.

    Training uses square crops with random colour offsets, every second one mirrored; a test uses whole images. If the
    images have different sizes, a crop has ``dataset.crop`` pixels a side, but no more than the longest side of all
    images, and is black and void outside its image. If they have one size, a crop has this size, and the image has a
    black border. share: which part of each batch to build here, as in ``Batches``. Raises MinidlError for a batch
    larger than the set, and for a set without masks.
    """

    per_pixel = True

    def _store(self, dataset: Dataset, dtype: Any) -> None:
        if dataset.masks is None:
            raise lacking(dataset.name, self.per_pixel)
        self.classes, self.bytes = dataset.mask_classes, (dataset.images, dataset.masks)
        self.extents = np.array([image.shape[:2] for image in dataset.images])
        alike = not isinstance(dataset.images, list)
        shortest, longest = int(self.extents.min()), int(self.extents.max())
        self.crop, self.border = (shortest, BORDER) if alike else (min(dataset.crop, longest), 0)
        self.shape = (self.crop, self.crop, 3)
        # A test batch has at most as many pixels as a training batch, but at least one image.
        largest = max(map(self._own, self.sizes))
        self.pixels = max(largest * self.crop**2, int(self.extents.prod(axis=1).max()))
        xp, n, buffers = self.kernels.xp, self.samples, self.kernels.prefetch.BUFFERS
        self.images, self.masks = map(self.kernels.augment.store, self.bytes)
        position, order, corners = (xp.zeros(shape, np.int64) for shape in (1, n, (n, 2)))
        self.crops = Crops(position, order, corners, xp.zeros((n, 3)), xp.zeros(n, np.bool_))
        self.data, self.labels = xp.empty((buffers, 3 * self.pixels), dtype), xp.empty((buffers, self.pixels), np.int8)

    def in_order(self) -> Iterator[tuple[Array, Array]]:
        """Iterate over all whole images, or over a share of them, one size after the other."""
        own = share_of(self.samples, self.share)
        by_size = sorted(range(self.samples), key=self._extents)[own.start : own.stop]
        groups = [(extents, len(list(group))) for extents, group in groupby(by_size, self._extents)]
        requests = [Request(n, n, extents) for extents, m in groups for n in pieces(m, self.pixels // prod(extents))]
        self._begin(requests, by_size)
        yield from map(self.prefetcher.next, requests)

    def examples(self, count: int) -> Iterator[tuple[Array, Array, Array]]:
        """Iterate over the first images: data (1, y, x, 3), and image and mask as bytes."""
        first = list(range(min(count, self.samples)))
        requests = [Request(1, 1, self._extents(i)) for i in first]
        self._begin(requests, first)
        for i, request in zip(first, requests, strict=True):
            yield self.prefetcher.next(request)[0], self.bytes[0][i], self.bytes[1][i]

    def _extents(self, i: int) -> tuple[int, int]:
        y, x = self.extents[i]
        return int(y), int(x)

    def _request(self, size: int) -> Request:
        return Request(size, self._own(size), (self.crop, self.crop))

    def _augmented(self, order: Array, random: np.random.Generator) -> tuple[Array, ...]:
        """Return corners, colours and which images are mirrored."""
        spare = self.extents[order] - self.crop
        low, high = np.minimum(spare, 0) - self.border, np.maximum(spare, 0) + self.border
        corners = random.integers(low, high, endpoint=True)
        colours = np.rint(0.1 * random.standard_normal((self.samples, 3)) @ COLOUR.T)
        return corners, colours, random.random(self.samples) < 0.5

    def _make(self, buffer: int, request: Request) -> tuple[Array, Array]:
        shape = (request.own, *request.extents)
        data = self.data[buffer, : 3 * prod(shape)].reshape(*shape, 3)
        labels = self.labels[buffer, : prod(shape)].reshape(shape)
        self.kernels.unchecked.augment.crop_with_masks(self.images, self.masks, self.crops, MEAN, DIVISOR, data, labels)
        return data, labels
