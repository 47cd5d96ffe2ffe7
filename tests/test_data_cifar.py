"""CIFAR's binary layout, read from small files made here."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minidl.data import Dataset, cifar, download, load
from minidl.kernels.errors import MinidlError

CLASSES_10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def record(*labels: int, image: np.ndarray | None = None) -> bytes:
    """One record; the image, (y, x, 3), is black unless given."""
    planes = np.zeros((3, 32, 32), np.uint8) if image is None else image.transpose(2, 0, 1)
    return bytes(labels) + planes.tobytes()


@pytest.fixture
def image() -> np.ndarray:
    """An image that shows mixed-up axes: red counts rows, green counts columns, blue is constant."""
    y, x = np.mgrid[:32, :32]
    return np.stack([y, 100 + x, np.full_like(y, 200)], axis=-1).astype(np.uint8)


@pytest.fixture
def folder10(tmp_path: Path, image: np.ndarray) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(record(number) + record(9, image=image))
    (folder / "test_batch.bin").write_bytes(record(3, image=image))
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES_10) + "\n\n")
    return folder


@pytest.fixture
def folder100(tmp_path: Path, image: np.ndarray) -> Path:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "train.bin").write_bytes(record(19, 99) + record(4, 55, image=image))
    (folder / "test.bin").write_bytes(record(11, 7))
    (folder / "fine_label_names.txt").write_text("".join(f"fine_{number}\n" for number in range(100)))
    return folder


def check_ten(parts: tuple[Dataset, Dataset], image: np.ndarray) -> None:
    train, test = parts
    assert train.labels.tolist() == [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]
    assert train.classes == test.classes == tuple(CLASSES_10)
    assert train.images.shape == (10, 32, 32, 3)
    assert train.images.flags.c_contiguous
    assert (train.images.dtype, train.labels.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(train.images[1], image)
    np.testing.assert_array_equal(test.images, image[None])


def test_planes_become_channels_last_and_batches_keep_their_order(folder10: Path, image: np.ndarray) -> None:
    check_ten(load("cifar10", folder10.parent), image)


def test_the_root_may_be_the_folder_itself(folder10: Path, image: np.ndarray) -> None:
    check_ten(load("cifar10", str(folder10)), image)


def test_cifar100_uses_the_fine_label(folder100: Path, image: np.ndarray) -> None:
    train, test = load("cifar100", folder100.parent)
    assert train.labels.tolist() == [99, 55]
    assert test.labels.tolist() == [7]
    assert train.classes[55] == "fine_55"
    np.testing.assert_array_equal(train.images[1], image)


def refused(folder: Path, name: str = "cifar10") -> str:
    with pytest.raises(MinidlError) as caught:
        load(name, folder.parent)
    message = str(caught.value)
    assert f"move {folder} away so that the set is unpacked or downloaded again" in message
    return message


def test_a_missing_file_is_named(folder10: Path) -> None:
    path = folder10 / "data_batch_4.bin"
    path.unlink()
    assert refused(folder10).startswith(f"{path} cannot be read (No such file or directory); replace it")


@pytest.mark.parametrize("content", [b"", record(1)[:-1], record(1) + b"\0"])
def test_a_file_that_is_not_whole_records_is_refused(folder10: Path, content: bytes) -> None:
    path = folder10 / "test_batch.bin"
    path.write_bytes(content)
    expected = f"{path} is {len(content):,} bytes long, which is not a whole number of CIFAR-10 records of 3,073 bytes"
    assert refused(folder10).startswith(expected)


def test_a_label_out_of_range_is_refused(folder10: Path) -> None:
    path = folder10 / "data_batch_2.bin"
    path.write_bytes(record(0) + record(10))
    expected = f"{path} is damaged: record 1 has the label byte 10, but CIFAR-10 counts from 0 to 9;"
    assert refused(folder10).startswith(expected)


@pytest.mark.parametrize("labels, byte, last", [((20, 5), 20, 19), ((5, 100), 100, 99)])
def test_both_labels_of_cifar100_are_checked(folder100: Path, labels: tuple[int, int], byte: int, last: int) -> None:
    (folder100 / "test.bin").write_bytes(record(*labels))
    message = refused(folder100, "cifar100")
    assert f"record 0 has the label byte {byte}, but CIFAR-100 counts from 0 to {last};" in message


def test_the_class_names_are_counted(folder10: Path) -> None:
    path = folder10 / "batches.meta.txt"
    path.write_text("cat\ndog\n")
    assert refused(folder10).startswith(f"{path} holds 2 class names, but CIFAR-10 has 10 classes;")


def expect_archive(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this archive for the official one."""
    layout = cifar.LAYOUTS["cifar10"]
    archive = replace(layout.archive, size=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(cifar.LAYOUTS, "cifar10", replace(layout, archive=archive))


@pytest.fixture
def archive10(folder10: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of the small folder in an otherwise empty root, with a file whose path leads outside of it."""
    root = folder10.parent / "root"
    root.mkdir()
    path = root / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder10, "cifar-10-batches-bin")
        intruder = tarfile.TarInfo("../intruder")
        intruder.size = 4
        archive.addfile(intruder, io.BytesIO(b"evil"))
    expect_archive(path, monkeypatch)
    return path


def test_an_archive_in_the_root_is_unpacked(archive10: Path, image: np.ndarray) -> None:
    check_ten(load("cifar10", archive10.parent, progress=False), image)
    check_ten(load("cifar10", archive10.parent, progress=False), image)


def test_an_archive_that_is_not_there_is_downloaded(
    archive10: Path, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = cifar.LAYOUTS["cifar10"].archive
    root = archive10.parent.parent / "empty"

    def fetch(mirrors: tuple[str, ...], target: Path, size: int, sha256: str, progress: bool) -> None:
        assert (mirrors, size, sha256, progress) == (official.mirrors, official.size, official.sha256, False)
        target.parent.mkdir()
        target.write_bytes(archive10.read_bytes())

    monkeypatch.setattr(download, "fetch", fetch)
    check_ten(load("cifar10", root, progress=False), image)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_every_mirror_is_asked_for_the_archive_by_its_name(name: str) -> None:
    archive = cifar.LAYOUTS[name].archive
    assert archive.mirrors[0] == f"https://www.cs.toronto.edu/~kriz/{archive.name}"
    assert all(url.startswith("https://") and url.endswith(f"/{archive.name}") for url in archive.mirrors)


def test_unpacking_writes_the_sets_folder_and_nothing_else(archive10: Path) -> None:
    load("cifar10", archive10.parent, progress=False)
    assert sorted(path.name for path in archive10.parent.iterdir()) == ["cifar-10-batches-bin", archive10.name]
    assert not (archive10.parent.parent / "intruder").exists()


def test_an_archive_with_another_checksum_is_refused(archive10: Path) -> None:
    archive10.write_bytes(archive10.read_bytes()[:-1])
    with pytest.raises(MinidlError, match=r"cifar-10-binary.tar.gz is damaged: its SHA-256 checksum is .* delete it"):
        load("cifar10", archive10.parent, progress=False)
    assert list(archive10.parent.iterdir()) == [archive10]


def test_an_archive_without_the_files_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz"):
        pass
    expect_archive(path, monkeypatch)
    with pytest.raises(MinidlError, match=r"could not be unpacked .*data_batch_1\.bin"):
        load("cifar10", tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == [path]
