"""Checks of arguments that callers of the Python API pass: numbers, types, arrays, images, generators and objects."""

import math
from collections.abc import Callable, Sequence
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl.kernels.errors import MinidlError

FLOATS = np.dtype(np.float32), np.dtype(np.float64)
SHOWN = 60  # characters of a value, the most that a message shows


def whole(what: str, value: Any, least: int = 1) -> int:
    """Return a whole number of any integer type as an int; raise MinidlError if it is none, or below ``least``.

    what: the argument and the function or class that takes it, such as "seed of Net", for the message.
    """
    try:
        number = least - 1 if isinstance(value, bool) else index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise MinidlError(f"{what} must be a whole number of at least {least}, not {shown(value)}")
    return number


def real(what: str, value: Any, words: str, fits: Callable[[float], bool]) -> float:
    """Return a number of any real type as a float; raise MinidlError if it is none, is not finite or does not fit.

    what: as for ``whole``; fits: whether a number is allowed; words: the same condition in words, such as "above 0".
    """
    try:
        single = getattr(value, "ndim", 0) == 0 and not isinstance(value, bool | str | bytes)  # float() reads text, too
        number = float(value) if single else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and fits(number)):
        raise MinidlError(f"{what} must be a number {words}, not {shown(value)}")
    return number


def number_type(dtype: Any) -> np.dtype[Any]:
    """Return float32 or float64 by any of its names; raise MinidlError for another type of numbers, and for None."""
    try:
        found = None if dtype is None else np.dtype(dtype)  # np.dtype(None) is float64
    except (TypeError, ValueError):
        found = None
    if found not in (np.float32, np.float64):
        given = shown(dtype) if found is None else found
        raise MinidlError(f"a net computes in float32 or float64, not in {given}; choose one of them")
    return found


def fits(values: Any, shape: tuple[Any, ...], kinds: Sequence[Any], writes: bool = True) -> bool:
    """Return whether this is an array of a shape and of one of some types, in memory as operations need it.

    It lies on any device; writes: whether operations write into it.
    """
    flags = getattr(values, "flags", None)
    if flags is None or values.shape != shape or values.dtype not in kinds or not getattr(flags, "c_contiguous", False):
        return False
    return bool(getattr(flags, "aligned", True) and (not writes or getattr(flags, "writeable", True)))


def is_plain(values: Any) -> bool:
    """Return whether operations can write into this as it lies: an array of float32 or float64, on any device."""
    return fits(values, getattr(values, "shape", ()), FLOATS)


def generator(random: Any) -> np.random.Generator:
    """Return a random generator as it is, and a new one for a seed; raise MinidlError for anything else."""
    if isinstance(random, np.random.Generator):
        return random
    return np.random.default_rng(whole("random, a generator of NumPy's or a seed,", random, 0))


def path_of(what: str, value: Any) -> Path:
    """Return a path, given as a text or as any path; raise MinidlError for anything else; what: as for ``whole``."""
    if not isinstance(value, str | Path):
        raise MinidlError(f"{what} must be a path, as a text or a Path, not {shown(value)}")
    return Path(value)


def shown(value: Any) -> str:
    """Return the repr of a value for a message: on one line, and shortened if it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def check_kind(what: str, value: Any, kind: type, remedy: str) -> None:
    """Raise MinidlError unless ``value`` is a ``kind``; what: as for ``whole``; remedy: what the user can do."""
    if not isinstance(value, kind):
        raise MinidlError(f"{what} must be of the kind {kind.__name__}, not {type(value).__name__}; {remedy}")


class Layout(NamedTuple):
    """What is known of stored images without their pixels.

    The extents (n, 2) of n images, (y, x) of each, on the host, and the shape of a pixel: (3,), or () of masks.
    """

    extents: Any
    pixel: tuple[int, ...]


def storable(images: Any) -> bool:
    """Return whether this is a NumPy array or a list of them, of bytes: all of them images, or all of them masks."""
    if isinstance(images, np.ndarray):
        return images.dtype == np.uint8 and images.ndim > 2 and len(images) > 0 and storable([images[0]])
    each = images if isinstance(images, list | tuple) else ()
    if not all(isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size for image in each):
        return False
    return {(image.ndim, *image.shape[2:]) for image in each} in ({(3, 3)}, {(2,)})


def layout(images: Any) -> Layout:
    """Return the layout of images that can be stored."""
    if isinstance(images, np.ndarray):
        return Layout(np.broadcast_to(images.shape[1:3], (len(images), 2)), images.shape[3:])
    return Layout(np.array([image.shape[:2] for image in images]), images[0].shape[2:])
