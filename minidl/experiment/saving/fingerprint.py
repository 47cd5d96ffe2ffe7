"""The description of a data set in a checkpoint, with which a resumed run checks that the data are the same."""

from hashlib import blake2b
from typing import Any

import numpy as np

from minidl.data.dataset import Dataset

Description = dict[str, Any]
PARTS = {"train": "training", "test": "test"}


def describe(classes: tuple[str, ...], train: Dataset, test: Dataset) -> Description:
    """Return the names of the classes, and the number of images and the fingerprint of each part, for JSON."""
    parts = zip(PARTS, (train, test), strict=True)
    return {"classes": list(classes)} | {
        name: {"images": len(part), "fingerprint": fingerprint(part)} for name, part in parts
    }


def fingerprint(part: Dataset) -> str:
    """Return a hash (BLAKE2b) of all images, labels and masks, their shapes and their order."""
    digest = blake2b(digest_size=16)
    labels = [] if part.labels is None else [part.labels.astype("<i8")]
    for arrays in (part.images, labels, [] if part.masks is None else part.masks):
        digest.update(f"{len(arrays)} of".encode())
        whole = [arrays] if isinstance(arrays, np.ndarray) else arrays
        for array in whole:
            digest.update(f" {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def difference(earlier: Description, now: Description) -> str:
    """Return how a set differs from its earlier description, or ""."""
    names, present = earlier["classes"], now["classes"]
    if len(names) != len(present):
        return f"there were {len(names)} classes and are {len(present)} now"
    for name, other in zip(names, present, strict=True):
        if name != other:
            return f"the class {name!r} is now {other!r}"
    for part, title in PARTS.items():
        before, after = earlier[part], now[part]
        if before["images"] != after["images"]:
            return f"there were {before['images']:,} {title} images and are {after['images']:,} now"
    for part, title in PARTS.items():
        if earlier[part]["fingerprint"] != now[part]["fingerprint"]:
            return f"the {title} images, their labels or their order are others now"
    return ""
