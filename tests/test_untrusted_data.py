"""Untrusted files of data sets: their content is not executed, not trusted, and costs little time and memory."""

import inspect
import io
import os
import struct
import sys
import tarfile
import time
from contextlib import suppress
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from minidl.data import archive, cifar, images, load, memory, voc
from minidl.data import folder as folder_of_images
from minidl.kernels.errors import MinidlError
from minidl.study import trace_files
from minidl.study.trace_files import Filters, Row, Trace
from minidl.words import printable


def tiff(width: int, height: int, tags: dict[int, int]) -> bytes:
    """Return a TIFF whose header claims a number of pixels, but which contains none."""
    entries = {256: width, 257: height, 258: 8, 259: 5, 262: 1, 277: 1, 279: 100, **tags}
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


def refused(name: str, root: Path | None = None) -> str:
    with pytest.raises(MinidlError) as caught:
        load(name, root, progress=False)
    return str(caught.value)


# -- pictures ---------------------------------------------------------------------------------------------------------


def test_postscript_in_a_png_starts_no_program(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: started.append(1))
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n")
    with Image.open(path) as image:  # without a list of formats
        assert image.format == "EPS"
    with pytest.raises(MinidlError, match=r"x\.png cannot be decoded as an image \(no format that is read here\)"):
        images.read(path)
    assert not started


@pytest.mark.parametrize(
    "width, height, tags",
    [
        (9_000, 9_000, {273: 8, 278: 9_000}),
        (1 << 20, 65, {273: 8, 278: 65}),
        (10, 10, {322: 40_000, 323: 40_000, 324: 8, 325: 100}),
        (10, 10, {322: 1 << 30, 323: 1 << 30, 324: 8, 325: 100}),
    ],
    ids=["pixels", "wide", "tile", "huge tile"],
)
def test_a_small_file_of_many_pixels_is_not_decoded(tmp_path, monkeypatch, width, height, tags):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it is decoded"))
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(width, height, tags))
    assert path.stat().st_size < 200
    with pytest.raises(
        MinidlError, match=r"x\.tif is too large to be decoded safely \(.* pixels, more than 67,108,864"
    ):
        images.read(path)


def test_a_path_that_is_no_regular_file_is_not_waited_for(folder):
    os.mkfifo(folder / "red" / "pipe.png")
    assert "pipe.png cannot be decoded as an image (not a file, but a folder, a pipe or a device)" in refused(
        str(folder)
    )
    (folder / "red" / "pipe.png").unlink()
    (folder / "red" / "zero.png").symlink_to("/dev/zero")
    assert "zero.png cannot be decoded as an image (not a file" in refused(str(folder))


# -- the whole set ----------------------------------------------------------------------------------------------------


def test_a_folder_for_which_there_is_no_memory_is_refused_before_anything_is_decoded(folder, monkeypatch):
    monkeypatch.setattr(memory, "size", lambda: 20 * 32 * 32 * 3 - 1)
    monkeypatch.setattr(images, "decode", lambda path: pytest.fail("it is decoded"))
    assert "the images of set take 0.0 GB once they are decoded, and 0.0 GB of memory are here; use" in refused(
        str(folder)
    )


def test_the_memory_of_a_machine():
    assert 1 << 28 < memory.size() < 1 << 50


@pytest.fixture
def pairs(tmp_path) -> Path:
    """Return a folder in VOC's layout with three images."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / name).mkdir(parents=True)
    for name in "abc":
        Image.new("RGB", (20, 10)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        Image.new("L", (20, 10)).save(tmp_path / "SegmentationClass" / f"{name}.png")
    for part, names in (("train", "a\nb\n"), ("val", "c\n")):
        (tmp_path / "ImageSets" / "Segmentation" / f"{part}.txt").write_text(names)
    return tmp_path


def test_pairs_for_which_there_is_no_memory_are_refused_before_anything_is_decoded(pairs, monkeypatch):
    load("voc2012", pairs, progress=False)
    monkeypatch.setattr(memory, "size", lambda: 2 * 200 * 4 - 1)
    monkeypatch.setattr(images, "decode", lambda path: pytest.fail("it is decoded"))
    assert refused("voc2012", pairs).startswith("the images of voc2012 train take 0.0 GB once they are decoded")


@pytest.mark.parametrize(
    "id", ["../secret", "/etc/passwd", "..", "a/../b", "a\\b", "a\0", ".a", "\x1b[2J", "é/é", "-a"]
)
def test_an_id_must_be_a_name_and_no_path(pairs, id):
    (pairs / "ImageSets" / "Segmentation" / "train.txt").write_text(f"b\n{id}\n")
    assert "train.txt names" in (message := refused("voc2012", pairs))
    assert "which is no ID such as 2007_000032" in message


@pytest.mark.parametrize(
    "content, expected",
    [
        ("a b a", "train.txt names a 2 times"),
        (" \n", "train.txt names no images"),
        ("x" * 300, "but there is no"),
        ("\xe9".encode("latin1"), "train.txt cannot be read ('utf-8' codec"),
    ],
    ids=["twice", "empty", "long", "encoding"],
)
def test_a_list_of_ids_is_checked(pairs, content, expected):
    path = pairs / "ImageSets" / "Segmentation" / "train.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert expected in refused("voc2012", pairs)


def test_a_list_of_ids_that_has_no_end(pairs):
    path = pairs / "ImageSets" / "Segmentation" / "train.txt"
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "train.txt cannot be read (not a file, but" in refused("voc2012", pairs)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "train.txt cannot be read (1,099,511,627,776 bytes, more than 16,777,216)" in refused("voc2012", pairs)


def test_a_sparse_file_of_cifar_is_not_read(tmp_path):
    (tmp_path / "batches.meta.txt").write_text("\n".join("abcdefghij"))
    with (tmp_path / "data_batch_1.bin").open("wb") as file:
        file.truncate(1 << 40)
    assert "data_batch_1.bin cannot be read (1,099,511,627,776 bytes, more than 153,650,000)" in refused(
        "cifar10", tmp_path
    )


# -- time -------------------------------------------------------------------------------------------------------------


def test_the_time_to_split_a_class_grows_with_its_files():
    """To compare all pairs would take minutes."""
    files = [Path("many", f"{i}.png") for i in range(20_000)]
    began = time.process_time()
    train, test = folder_of_images._split(Path(), {"many": files})
    assert time.process_time() - began < 1
    assert (len(train["many"]), len(test["many"])) == (16_000, 4_000)


def test_folders_may_be_deeper_than_a_function_can_call_itself(folder):
    deep = folder / "red"
    for _ in range(200):
        deep /= "d"
        deep.mkdir()
    os.link(folder / "red" / "0.png", deep / "0.png")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 120)
    try:
        train, test = load(str(folder), progress=False)
    finally:
        sys.setrecursionlimit(limit)
    assert len(train) + len(test) == 21


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [b"\x1b[2Jcat", b"a\nb", b"caf\xe9", "\u2028".encode()], ids=["escape", "line", "latin", "end"]
)
def test_a_class_has_a_name_that_can_be_printed(folder, name):
    os.rename(folder / "red", os.fsencode(folder) + b"/" + name)
    message = refused(str(folder))
    assert "has a character in its name that cannot be printed; rename this class" in message
    assert printable(message).isprintable()


def test_a_message_is_one_line_of_moderate_length():
    assert printable("a\n\r\t\x1b[31m\x00\x9b\u202e\udcff") == r"a\n\r\t\x1b[31m\x00\x9b\u202e\udcff"
    assert printable("schön 猫 👩\u200d🚀") == "schön 猫 👩\u200d🚀"
    assert len(printable("a" * 100_000 + "b")) == 2_000


# -- archives ---------------------------------------------------------------------------------------------------------


def official(root: Path, monkeypatch: pytest.MonkeyPatch, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """Take an archive with these members for the official one of CIFAR-10."""
    layout = cifar.LAYOUTS["cifar10"]
    path = root / layout.archive.name
    with tarfile.open(path, "w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    pinned = replace(layout.archive, size=path.stat().st_size, sha256=sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(cifar.LAYOUTS, "cifar10", replace(layout, archive=pinned))
    return path


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_only_files_are_unpacked(tmp_path, monkeypatch, kind):
    member = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    member.type, member.linkname = kind, "/etc/passwd"
    path = official(tmp_path, monkeypatch, (member, b""))
    assert "could not be unpacked" in (message := refused("cifar10", tmp_path))
    assert "there is no file cifar-10-batches-bin/data_batch_1.bin in it" in message
    assert list(tmp_path.iterdir()) == [path]


def test_the_size_of_unpacked_files_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 999)
    path = official(tmp_path, monkeypatch, (tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin"), bytes(1_000)))
    assert "its files have more than 999 bytes" in refused("cifar10", tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_that_is_a_pipe_or_too_long(tmp_path):
    path = tmp_path / voc.ARCHIVE.name
    os.mkfifo(path)
    assert "cannot be used (not a file, but a folder, a pipe or a device); delete it" in refused("voc2012", tmp_path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "bytes, more than 1,999,639,040); delete it" in refused("voc2012", tmp_path)


# -- methods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["(" * 120_000, "(a" * 60_000, "()" * 60_000, ")" * 120_000, "WC," * 40_000, " " * 120_000]
)
def test_the_time_for_a_method_grows_with_its_length(text):
    from minidl.method import parse

    began = time.process_time()
    with suppress(MinidlError):
        parse(text)
    assert time.process_time() - began < 1


# -- traces -----------------------------------------------------------------------------------------------------------


def test_filters_of_a_trace_that_are_too_large_are_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / trace_files.FILTERS
    trace_files.write(
        tmp_path, Trace(filters={Filters(0, "conv1", "weights", "before"): np.zeros((20_000, 6), np.float32)})
    )
    (tmp_path / trace_files.TRACE).write_text(",".join(field.name for field in fields(Row)) + "\n")
    (tmp_path / trace_files.CARRY).write_text("step,s,loss\n")
    assert len(trace_files.read(tmp_path).filters) == 1
    monkeypatch.setattr(trace_files, "LONG", 100_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(MinidlError, match=r"filters\.npz cannot be read \(it would take 480,128 bytes\)"):
        trace_files.read(tmp_path)
