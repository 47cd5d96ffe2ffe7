"""Cuts a data set into batches that a net can be given: images with one label each."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.data.dataset import Dataset
from minidl.kernels import Kernels
from minidl.kernels.errors import MinidlError

MEAN = np.array([122.782, 117.001, 104.298])  # red, green, blue of 0 … 255: section 5 of the paper
DIVISOR = 256.0
BORDER = 4  # black pixels around an image, from which it is cropped again

Array = Any


class Batches:
    """The batches of a data set: (pixels − MEAN)/DIVISOR in the net's number type, and the labels.

    shape: of one image's data. Raises MinidlError for a batch larger than the set, and for a set that has no label
    for each image.
    """

    per_pixel = False

    def __init__(self, dataset: Dataset, batch_size: int, kernels: Kernels, dtype: Any) -> None:
        if dataset.labels is None or isinstance(dataset.images, list):
            raise MinidlError(f"{dataset.name} has a label for each pixel and none for an image; use --model d for it")
        check_size(dataset, batch_size)
        self.images, self.labels, self.classes = dataset.images, dataset.labels, dataset.classes
        self.shape: tuple[int, int, int] = dataset.images.shape[1:]
        self.batch_size, self.kernels = batch_size, kernels
        self.data = kernels.xp.empty((batch_size, *self.shape), dtype)

    @property
    def samples(self) -> int:
        """How many images there are."""
        return len(self.images)

    def in_order(self) -> Iterator[tuple[Array, Array]]:
        """Iterate over all images as they are, in their order; the last batch holds what is left."""
        middle = np.full((self.samples, 2), BORDER)
        yield from self._batches(np.arange(self.samples), middle)

    def shuffled(self, random: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """Iterate over all images in random order, each cropped at random from its bordered self."""
        order = random.permutation(self.samples)
        yield from self._batches(order, random.integers(0, 2 * BORDER, (self.samples, 2), endpoint=True))

    def _batches(self, order: Array, offsets: Array) -> Iterator[tuple[Array, Array]]:
        for start in range(0, self.samples, self.batch_size):
            indices = order[start : start + self.batch_size]
            data = self.data[: len(indices)]
            self.kernels.augment.crop(
                self.images, indices, offsets[start : start + len(indices)], BORDER, MEAN, DIVISOR, data
            )
            yield data, self.labels[indices]


def check_size(dataset: Dataset, batch_size: int) -> None:
    """Raise MinidlError for a batch larger than the set."""
    if batch_size > len(dataset):
        raise MinidlError(
            f"a batch of {batch_size} is larger than the {len(dataset)} images of {dataset.name}; use a smaller "
            "--batch-size"
        )
