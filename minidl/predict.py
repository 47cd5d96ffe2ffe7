"""Predict: a net's outputs for any number of samples, or of pictures of any sizes."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.kernels.arguments import whole
from minidl.kernels.arrays import check_unmasked, numbers
from minidl.kernels.errors import MinidlError
from minidl.preprocessing import Preprocessing, pictures

if TYPE_CHECKING:
    from minidl.net import Net

Array = Any  # numpy.ndarray or cupy.ndarray
INPUTS = 1 << 18  # numbers in a batch if its size is not given: 85 small images


def outputs_of(net: "Net", data: Any, batch_size: int | None) -> Any:
    """Return what ``net.predict`` returns, for floats as they are, or for pictures prepared as in training."""
    batch_size = None if batch_size is None else whole("batch_size of predict", batch_size)
    check_unmasked(data)
    on_device = isinstance(data, net.kernels.xp.ndarray)
    given = pictures(net.kernels.host(data) if on_device and data.dtype == np.uint8 else data)
    if given is not None:
        return _of_pictures(net, given, batch_size)
    data = data if on_device else numbers(data)
    if not data.ndim:
        raise MinidlError("predict takes samples (samples, …), and not a single number")
    if data.dtype.kind in "biu":
        raise _unprepared(net, f"integers of type {data.dtype}")
    size = batch_size or _size(data.shape[1:])
    outputs = net.infer(data[i : i + size] for i in range(0, len(data), size))
    return np.concatenate(outputs) if outputs else np.empty((0, *net.output_shape), net.dtype)


def _of_pictures(net: "Net", given: Sequence[Any], batch_size: int | None) -> Any:
    """Return the outputs for pictures: an array, or a list of arrays if their sizes differ."""
    known, extents = net.preprocessing, list[tuple[int, int]]()
    if known is None:
        raise _unprepared(net, "integers of type uint8, or pictures")
    outputs = [output for batch in net.infer(_batches(known, given, extents, batch_size)) for output in batch]
    if known.shrink > 1:
        outputs = [known.enlarged(*pair) for pair in zip(outputs, extents, strict=True)]
    if not outputs:
        return np.empty((0, *net.output_shape), net.dtype)
    return np.stack(outputs) if len({output.shape for output in outputs}) == 1 else outputs


def _batches(
    known: Preprocessing, given: Sequence[Any], extents: list[tuple[int, int]], batch_size: int | None
) -> Iterator[Array]:
    """Yield prepared batches of pictures of one size each, in order, and append each picture's original extents."""
    alike: list[Array] = []
    for picture in map(known.fitted, given):
        extents.append(picture.shape[:2])
        small = known.shrunk(picture)
        if alike and (small.shape != alike[0].shape or len(alike) == (batch_size or _size(small.shape))):
            yield known.prepare(np.stack(alike))
            alike = []
        alike.append(small)
    if alike:
        yield known.prepare(np.stack(alike))


def _size(shape: tuple[int, ...]) -> int:
    """Return how many samples of a shape go through a net at a time."""
    return max(1, INPUTS // max(1, prod(shape)))


def _unprepared(net: "Net", what: str) -> MinidlError:
    by_hand = "give floats; of images, (images - MEAN) / DIVISOR, with both from minidl.data.batches"
    remedy = "give uint8 images, or floats" if net.preprocessing else by_hand
    return MinidlError(f"predict got {what}, and the net does not know how to prepare them; {remedy}")
