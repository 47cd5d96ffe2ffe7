"""Batches of a data set, as a net takes them: images with one label each."""

from collections.abc import Iterator
from operator import index
from typing import Any, NamedTuple, NoReturn

import numpy as np

from minidl.data.dataset import Dataset
from minidl.data.labels import lacking
from minidl.kernels import Kernels, load
from minidl.kernels.arguments import check_kind, generator, number_type, shown, whole
from minidl.kernels.augment import Crops
from minidl.kernels.errors import MinidlError
from minidl.words import counted

MEAN = np.array([122.782, 117.001, 104.298])  # red, green, blue of 0 … 255: section 5 of the paper
DIVISOR = 256.0
BORDER = 4  # black pixels around an image, from which it is cropped again
PART = "give one part of a set, as in train_set, test_set = data.load(...)"

Array = Any


class Request(NamedTuple):
    """A batch to be built: how many images it has, how many of them are built here, and their extents (y, x)."""

    size: int
    own: int
    extents: tuple[int, ...] = ()  # where they differ from batch to batch

    def __str__(self) -> str:
        if not self.extents:
            return str(self.size)
        return f"{counted(self.size, 'image')} of {'×'.join(map(str, self.extents))} pixels"


class Batches:
    """The batches of a data set: (pixels − MEAN)/DIVISOR in the net's number type, and the labels.

    The images and the order of an epoch lie on the device, so building a batch copies nothing to it. On a CPU, a
    background thread builds the next batch while the current one is in use.
    classes: their names; per_pixel: whether each pixel has a label, or each image one; shape: of one image's data;
    share: which part of each batch to build here, as in ``share_of``, if other ranks build the rest; sizes are those of
    whole batches. Raises MinidlError for a batch larger than the set, for a share that there is not, and for a set that
    has no label for each image.
    """

    per_pixel = False
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    crops: Crops

    def __init__(
        self, dataset: Dataset, batch_size: int, kernels: Kernels | str, dtype: Any, share: tuple[int, int] = (0, 1)
    ) -> None:
        check_kind(f"dataset of {type(self).__name__}", dataset, Dataset, PART)
        self.samples, self.batch_size, self.white = len(dataset), whole("the batch_size", batch_size), dataset.white
        if self.batch_size > self.samples:
            raise MinidlError(
                f"a batch of {batch_size} is larger than the {counted(self.samples, 'image')} of {dataset.name}; use a "
                "smaller --batch-size"
            )
        self.sizes, self.share = sizes(self.samples, self.batch_size), _checked(share)
        self.kernels = load(kernels)
        self.prefetcher = self.kernels.prefetch.Prefetcher(self._make)
        self._store(dataset, number_type(dtype))

    def __deepcopy__(self, memo: Any = None) -> NoReturn:
        raise MinidlError("batches of a set cannot be copied, as a thread builds them; make others of the same set")

    __copy__ = __deepcopy__

    def _store(self, dataset: Dataset, dtype: Any) -> None:
        """Put images and labels on the device, and make room there for an epoch's order and for batches."""
        if dataset.labels is None:
            raise lacking(dataset.name, self.per_pixel)
        if isinstance(dataset.images, list):
            raise MinidlError(
                f"{dataset.name} has a list of images, which may have different sizes; give those of one size as one "
                "array, np.stack(images)"
            )
        xp, n, buffers = self.kernels.xp, self.samples, self.kernels.prefetch.BUFFERS
        self.classes, self.shape = dataset.classes, dataset.images.shape[1:]
        self.images, self.truth = self.kernels.augment.store(dataset.images), xp.asarray(dataset.labels, np.int64)
        self.crops = Crops(*(xp.zeros(shape, np.int64) for shape in (1, n, (n, 2))))
        largest = max(1, *map(self._own, self.sizes))
        self.data = xp.empty((buffers, largest, *self.shape), dtype)
        self.labels = xp.empty((buffers, largest), self.truth.dtype)

    def shuffle(self, random: np.random.Generator | int) -> list[int]:
        """Begin an epoch of random crops of all images in random order; return the sizes of its batches.

        random: a generator of NumPy's, or a seed.
        """
        random = generator(random)
        order = random.permutation(self.samples)
        augmented, own = self._augmented(order, random), shares_of(self.sizes, self.share)
        self._begin(list(map(self._request, self.sizes)), order[own], *(values[own] for values in augmented))
        return self.sizes

    def next(self, size: int) -> tuple[Array, Array]:
        """Return the next batch of the epoch: data and labels, which are valid until the next call."""
        return self.prefetcher.next(self._request(size))

    def in_order(self) -> Iterator[tuple[Array, Array]]:
        """Iterate over all images as they are, in their order, or over a share of them."""
        own = np.array(share_of(self.samples, self.share))
        requests = [Request(size, size) for size in pieces(len(own), max(1, self._own(self.batch_size)))]
        self._begin(requests, own)
        yield from map(self.prefetcher.next, requests)

    def _own(self, size: int) -> int:
        return len(share_of(size, self.share))

    def _request(self, size: int) -> Request:
        """Return what to ask ``_make`` for, of a batch of this size."""
        return Request(size, self._own(size))

    def _augmented(self, order: Array, random: np.random.Generator) -> tuple[Array, ...]:
        """Return the corners of crops of bordered images, in this order of them."""
        return (random.integers(0, 2 * BORDER, (self.samples, 2), endpoint=True) - BORDER,)

    def _begin(self, requests: list[Request], order: Array, *augmented: Array) -> None:
        """Begin an epoch, perhaps of fewer images than there is room for; without ``augmented``, they stay as they are.

        order, augmented: see ``Crops``.
        """
        self.prefetcher.stop()
        xp, changes = self.kernels.xp, [array for array in self.crops[2:] if array is not None]
        self.crops.position[...] = 0
        self.crops.order[: len(order)] = xp.asarray(order)
        for array, values in zip(changes, augmented or [0] * len(changes), strict=True):
            array[: len(order)] = xp.asarray(values)
        self.prefetcher.start(requests)

    def _make(self, buffer: int, request: Request) -> tuple[Array, Array]:
        data, labels = self.data[buffer, : request.own], self.labels[buffer, : request.own]
        self.kernels.unchecked.augment.crop(self.images, self.truth, self.crops, MEAN, DIVISOR, data, labels)
        return data, labels


def _checked(share: Any) -> tuple[int, int]:
    """Return a share (i, n) as ints; raise MinidlError unless i is one of 0 … n − 1."""
    try:
        part, parts = map(index, share)
    except (TypeError, ValueError):
        part = parts = 0
    if not 0 <= part < parts:
        raise MinidlError(f"a share of batches is (i, n), the i-th (from 0) of n parts, and not {shown(share)}")
    return part, parts


def share_of(count: int, share: tuple[int, int]) -> range:
    """Return which of ``count`` samples are the share (i, n): the i-th (from 0) of n parts that are nearly equal.

    >>> [list(share_of(7, (i, 3))) for i in range(3)]
    [[0, 1], [2, 3], [4, 5, 6]]
    """
    part, parts = share
    return range(count * part // parts, count * (part + 1) // parts)


def shares_of(sizes: list[int], share: tuple[int, int]) -> Array:
    """Return which samples of an epoch are the share of each of its batches."""
    starts = np.cumsum([0, *sizes])
    return np.concatenate(
        [start + np.array(share_of(size, share), int) for start, size in zip(starts, sizes, strict=False)]
    )


def sizes(samples: int, batch_size: int) -> list[int]:
    """Return the sizes of the batches of an epoch; the last has the rest.

    If the rest is a single sample, it joins the batch before: BN, and other means over a batch, need two samples.
    """
    found = pieces(samples, batch_size)
    if batch_size > 1 and len(found) > 1 and found[-1] == 1:
        found[-2:] = [batch_size + 1]
    return found


def pieces(samples: int, most: int) -> list[int]:
    """Return the sizes of pieces of ``most`` samples; the last has the rest."""
    return [min(most, samples - start) for start in range(0, samples, most)]
