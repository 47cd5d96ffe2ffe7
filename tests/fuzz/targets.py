"""The targets: functions that read untrusted input, each with inputs to begin with.

A target gets bytes and an empty folder, the same folder each time. It may return, or raise MinidlError with a message
of one line; anything else is a fault.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import socket
import struct
import tarfile
import threading
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image
from safetensors.numpy import load, save

import minidl
from minidl import data as sets
from minidl import models
from minidl.commands import COMMANDS, train
from minidl.data import cifar, images, voc
from minidl.data.archive import Archive, unpack
from minidl.data.download import fetch
from minidl.data.pictures import palette
from minidl.experiment import options, settings
from minidl.experiment.cli.command import Command
from minidl.experiment.saving import checkpoint, records
from minidl.experiment.sweeps import results
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.layers import BatchNorm, Convolution, Flatten, FullyConnected, ReLU, Sequential
from minidl.method import Method, parse
from minidl.models.registry import MODELS
from minidl.optimizers import OPTIMIZERS
from minidl.study import trace_files
from minidl.study.trace_files import Carry, Filters, Row, Trace
from minidl.words import CONTROL, printable

Run = Callable[[bytes, Path], object]


@dataclass(frozen=True)
class Target:
    """run: the function; seeds: inputs to begin with; words: the words that inputs of this kind contain."""

    run: Run
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()

    def try_one(self, data: bytes, folder: Path) -> bool:
        """Return whether an input was accepted; a fault is an exception."""
        told = ""
        try:
            self.run(data, folder)
        except MinidlError as error:
            told = printable(str(error)) or "nothing"
        assert not CONTROL.search(told)
        return not told


TARGETS: dict[str, Target] = {}


def target(seeds: Callable[[], list[bytes]], *words: bytes) -> Callable[[Run], Run]:
    """Register a function as a target."""

    def named(run: Run) -> Run:
        TARGETS[run.__name__] = Target(run, seeds, words)
        return run

    return named


def emptied(folder: Path) -> Path:
    """Return a folder after its content is deleted."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


# -- words ------------------------------------------------------------------------------------------------------------


@target(
    lambda: [b"WC, GC, fully", b"weight channel (WC), error sample, BN", b"Baseline", b"((EB)), gradient tensor"],
    *(b"(", b")", b",", b"WC", b"GC", b"EBN", b"fully", b"weight ", b"gradient ", b"error ", b"channel", b"GN"),
)
def method(data: bytes, _: Path) -> None:
    """Methods, as text."""
    text = data.decode("utf-8", "surrogateescape")
    parsed = parse(text)
    assert str(parse(str(parsed))) == str(parsed)
    assert str(parse(str(parsed.canonical()))) == str(parsed.canonical())


@cache
def parsers() -> list[argparse.ArgumentParser]:
    """Return the parsers of all commands."""
    return [import_module(f"minidl.commands.{name}").parser(Command(name, name)) for name in COMMANDS]


@target(
    lambda: [
        b"\0--model\0b\0--epochs\x003",
        b"\x01--table\x002\0--seeds=4",
        b"\x02run\0--images\0100",
        b"\x03--after\x005",
    ],
    *(b"\0", b"--", b"=", b"--data=--", b"--threads\0", b"--seed\0", b"--out\0", b"-1", b"1e400", b"~x", b"--trace\0"),
)
def command_line(data: bytes, _: Path) -> None:
    """Command lines: the first byte is the command, and NUL ends a word."""
    cli = parsers()[data[0] % len(parsers())] if data else parsers()[0]
    words = data[1:].decode("utf-8", "surrogateescape").split("\0")
    said, status = io.StringIO(), 0
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            cli.parse_args(words)
    except SystemExit as end:
        status = end.code
    assert status == 0 or (status == 2 and not CONTROL.search(said.getvalue()[:-1]))


# -- pictures and sets ------------------------------------------------------------------------------------------------


@cache
def pictures() -> list[bytes]:
    """Return small images in each format that is read, and in each mode of it."""
    made = []
    random = np.random.default_rng(0)
    whole = Image.fromarray(random.integers(0, 256, (9, 11, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in sorted(images.FORMATS & Image.SAVE.keys()):
        for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16", "F", "CMYK"):
            # Pillow 12 damages memory where JPEG has no such mode.
            packed = ("raw", "tiff_lzw", "tiff_deflate", *["jpeg"] * (mode in ("RGB", "L")))
            for more in ({"compression": name} for name in packed):
                file = io.BytesIO()
                with suppress(Exception):
                    whole.convert("F").convert(mode) if mode == "I;16" else None
                    whole.convert(mode).save(file, kind, exif=exif, **(more if kind == "TIFF" else {}))
                    made.append(file.getvalue())
                if kind != "TIFF":
                    break
    frames = io.BytesIO()
    whole.save(frames, "GIF", save_all=True, append_images=[whole.rotate(90), whole.rotate(180)])
    return [*made, frames.getvalue(), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", _tiled()]


def _tiled() -> bytes:
    entries = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1, 322: 16, 323: 16, 324: 160, 325: 256}
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)
    return head.ljust(160, b"\0") + bytes(range(256))


@target(pictures)
def picture(data: bytes, folder: Path) -> None:
    """Image files of any kind, under one name."""
    path = folder / "x.png"
    path.write_bytes(data)
    values, white = images.read(path, (8, 8))
    assert images.to_bytes(values, white).shape == (8, 8, 3)


def _pairs(folder: Path) -> Path:
    """Return a folder in VOC's layout with three images."""
    if not (folder / "ImageSets").exists():
        for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (folder / name).mkdir(parents=True)
        for name in "abc":
            Image.new("RGB", (11, 9)).save(folder / "JPEGImages" / f"{name}.jpg")
            Image.new("L", (11, 9)).save(folder / "SegmentationClass" / f"{name}.png")
        for part, names in (("train", "a\nb\n"), ("val", "c\n")):
            (folder / "ImageSets" / "Segmentation" / f"{part}.txt").write_text(names)
    return folder


@cache
def masks() -> list[bytes]:
    """Return masks in grey and in colours, and pictures that are no masks."""
    labels = np.resize([*range(21), 255], (9, 11)).astype(np.uint8)
    grey = Image.fromarray(labels)
    coloured = Image.fromarray(labels)
    coloured.putpalette(palette().tobytes())
    made = [io.BytesIO() for _ in range(4)]
    for file, (image, kind) in zip(
        made, ((grey, "PNG"), (coloured, "PNG"), (coloured, "GIF"), (grey, "TIFF")), strict=True
    ):
        image.save(file, kind)
    return [*(file.getvalue() for file in made), *pictures()]


@target(masks)
def mask(data: bytes, folder: Path) -> None:
    """Masks of VOC."""
    (_pairs(folder) / "SegmentationClass" / "b.png").write_bytes(data)
    train, _ = voc.load(folder, progress=False)
    assert train.images[1].shape[:2] == train.masks[1].shape


@target(lambda: [b"a\nb\n", b"b", b"a b c"], b"../", b"/", b"\\", b"\0", b".", b"\n", b"a", b"b", b"c", b"\xc3\xa9")
def ids(data: bytes, folder: Path) -> None:
    """Lists of VOC's IDs."""
    (_pairs(folder) / "ImageSets" / "Segmentation" / "train.txt").write_bytes(data)
    train, _ = voc.load(folder, progress=False)
    assert 1 <= len(train) <= 3


@target(
    lambda: [b"a/1 b/1 a/2 b/2", b"train/a/1 train/b/1 test/a/1 test/b/2", b"train/a/1 val/b/1 x", b"a/b/c/1 b/1 b/2"],
    *(b"/", b" ", b"train/", b"test/", b"val/", b".", b"a/", b"b/", b"\x1b", b"\xff", b"\n", b"@", b"!"),
)
def tree(data: bytes, folder: Path) -> None:
    """Folders of images: paths separated by spaces; a path that ends in @ is a link, in ! a pipe, in / a folder."""
    root = emptied(folder / "set")
    for word in data.split(b" ")[:20]:
        parts = [part for part in word.split(b"/") if part not in (b"", b".", b"..") and b"\0" not in part][:9]
        if not parts:
            continue
        path = os.path.join(os.fsencode(root), *parts)
        with suppress(OSError):
            os.makedirs(path if word.endswith(b"/") else os.path.dirname(path), exist_ok=True)
            if word.endswith(b"@"):
                os.symlink(os.fsencode(root), path)
            elif word.endswith(b"!"):
                os.mkfifo(path + b".png")
            elif not word.endswith(b"/"):
                os.link(_dot(folder), path + b".png")
    train, test = sets.load(str(root), progress=False)
    assert len(train)
    assert len(test)
    assert all(name.encode() for name in train.classes)


def _dot(folder: Path) -> Path:
    path = folder / "dot.png"
    if not path.exists():
        Image.new("RGB", (1, 1)).save(path)
    return path


@target(
    lambda: [bytes([0]) + bytes(3073), bytes([5]) + bytes(3073) * 2, bytes([6]) + b"\n".join([b"name"] * 10), b"\x07x"],
)
def cifar10(data: bytes, folder: Path) -> None:
    """Files of CIFAR-10: the first byte is the number of the file that the other bytes replace."""
    layout = cifar.LAYOUTS["cifar10"]
    which = data[0] % len(layout.files) if data else 0
    for i, name in enumerate(layout.files):
        usual = b"\n".join([b"x"] * 10) if name == layout.names_file else bytes(3073)
        (folder / name).write_bytes(data[1:] if i == which else usual)
    train, test = cifar.load("cifar10", folder, progress=False)
    assert train.images.shape[1:] == test.images.shape[1:] == (32, 32, 3)


@cache
def archives() -> list[bytes]:
    """Return archives with files, and with links and devices, and names that lead elsewhere."""
    made = []
    for mode in ("w:", "w:gz", "w:bz2", "w:xz"):
        for style in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode=mode, format=style) as tar:
                for name, kind in (
                    ("set/a", tarfile.REGTYPE),
                    ("set/b", tarfile.SYMTYPE),
                    ("set/b", tarfile.REGTYPE),
                    ("../canary", tarfile.REGTYPE),
                    ("set/c", tarfile.LNKTYPE),
                    ("/set/d" + "x" * (60 if style == tarfile.USTAR_FORMAT else 120), tarfile.CHRTYPE),
                ):
                    member = tarfile.TarInfo(name)
                    member.type, member.linkname = kind, "../canary"
                    member.size = 5 if kind == tarfile.REGTYPE else 0
                    tar.addfile(member, io.BytesIO(b"hello"))
            made.append(file.getvalue())
    return made


@target(archives, b"../", b"set/a", b"set/b", b"ustar\0", b"ustar  ", b"GNU.sparse", b"size=", b"path=", b"7777777")
def archive(data: bytes, folder: Path) -> None:
    """Archives whose checksum is right."""
    root = emptied(folder / "root")
    canary = folder / "canary"
    canary.write_text("mine")
    (root / "x.tar").write_bytes(data)
    pinned = Archive("x.tar", len(data), hashlib.sha256(data).hexdigest(), ())
    try:
        unpack(pinned, "set", ("a", "b"), root, progress=False)
        assert sorted(path.name for path in (root / "set").iterdir()) == ["a", "b"]
    finally:
        assert canary.read_text() == "mine"
        assert sorted(path.name for path in folder.iterdir()) == ["canary", "root"]
        assert {path.name for path in root.iterdir()} <= {"x.tar", "set"}


# -- downloads --------------------------------------------------------------------------------------------------------

CONTENT = b"0123456789" * 10


class Server:
    """Answers each request with the same bytes, whatever host it is meant for, and closes the connection."""

    def __init__(self) -> None:
        self.answer = b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.socket.accept()
            with connection, suppress(OSError):
                connection.settimeout(1)
                connection.recv(1 << 16)
                connection.sendall(self.answer)
                connection.shutdown(socket.SHUT_WR)


@cache
def server() -> Server:
    """Return the server."""
    return Server()


@target(
    lambda: [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + CONTENT,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + CONTENT + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 50-99/100\r\n\r\n" + CONTENT[50:],
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: https://mirror.invalid:1/x\r\n\r\n",
        b"HTTP/1.1 416 Range Not Satisfiable\r\n\r\n",
    ],
    *(
        b"\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"Location: ",
        b"HTTP/1.1 ",
        b"Content-Range: bytes ",
    ),
    *(
        b"http://",
        b"https://",
        b"file:///",
        b"-",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Connection: close\r\n",
        b"301",
        b"206",
    ),
)
def answer(data: bytes, folder: Path) -> None:
    """Answers of a mirror; every second time, a part of the file exists already."""
    path = emptied(folder / "download") / "file"
    if len(data) % 2:
        (folder / "download" / "file.part").write_bytes(CONTENT[:50])
    server().answer = data
    # Wherever a redirect leads, this server gets the request.
    asked = {"http_proxy": server().address, "https_proxy": server().address, "no_proxy": ""}
    try:
        with patch.dict(os.environ, asked):
            fetch(["http://mirror.invalid/file"], path, 100, hashlib.sha256(CONTENT).hexdigest(), False, timeout=1.0)
        assert path.read_bytes() == CONTENT
    finally:
        assert {each.name for each in path.parent.iterdir()} <= {"file", "file.part"}
        assert all(each.stat().st_size <= 100 for each in path.parent.iterdir())


# -- records of a run -------------------------------------------------------------------------------------------------


@cache
def configuration() -> bytes:
    """Return the configuration of a run."""
    cli = train.parser(Command("train", "train"))
    given = vars(cli.parse_args([]))
    folder = Path(os.environ.get("TMPDIR", "/tmp"), f"minidl-fuzz-{os.getpid()}")
    emptied(folder)
    chosen, _ = settings.complete(given, given)
    records.write_config(folder, chosen)
    content = (folder / records.CONFIG).read_bytes()
    shutil.rmtree(folder)
    return content


JSON = (b"null", b"true", b"NaN", b"Infinity", b"-1", b"1e999", b"[]", b"{}", b'""', b"[[[[[[", b'"\\ud800"', b"0.5")


@target(lambda: [configuration()], *JSON)
def config(data: bytes, folder: Path) -> None:
    """Configurations of a run that is resumed."""
    (folder / records.CONFIG).write_bytes(data)
    cli = train.parser(Command("train", "train"))
    settings.complete(*options.read(cli, ["--resume", str(folder)]))


CSV = (b",", b";", b"\t", b"\n", b"\r\n", b'"', b"nan", b"inf", b"1e999", b"-1", b"\xef\xbb\xbf", b"\0", b"0x1", b"1_0")
LOG = b"epoch,learning_rate,train_loss,train_accuracy,test_loss,test_accuracy,seconds\n1,0.1,2.3,0.1,2.2,0.2,1.00\n"


@target(lambda: [LOG, LOG + b"2,0.1,2.1,0.3,,,1.00\n", LOG.replace(b",", b";")], *CSV)
def log(data: bytes, folder: Path) -> None:
    """Logs of a run."""
    (folder / records.LOG).write_bytes(data)
    epochs = records.read_log(folder)
    assert [epoch.epoch for epoch in epochs] == list(range(1, len(epochs) + 1))


RESULT = {
    "model": "c",
    "method": "WC",
    "data": "shapes",
    "seed": 0,
    "epochs": 1,
    "train_loss": 2.3,
    "test_accuracy": 0.1,
}


@target(lambda: [json.dumps(RESULT | {"seconds": 1.5, "images_per_second": 9.0}).encode()], *JSON)
def result(data: bytes, folder: Path) -> None:
    """Results of a run."""
    (folder / records.RESULT).write_bytes(data)
    records.read_result(folder)


@target(lambda: [(",".join(results.COLUMNS) + "\n2,c,WC,0,x,cifar10,15,83.1,70.2,9\n").encode()], *CSV)
def table(data: bytes, folder: Path) -> None:
    """Results of the runs of a table."""
    (folder / results.NAME).write_bytes(data)
    results.read_results(folder / results.NAME)


@cache
def traces() -> list[bytes]:
    """Return the files of a trace, one after another, each preceded by its number and its length."""
    folder = emptied(Path(os.environ.get("TMPDIR", "/tmp"), f"minidl-fuzz-{os.getpid()}"))
    rows = [Row(step, layer, *[0.5] * 19) for step in (0, 1) for layer in ("conv1", "fc1")]
    filters = {Filters(0, "conv1", "weights", "before"): np.ones((3, 6), np.float32)}
    trace_files.write(folder, Trace(rows, [Carry(0, 0.5, 2.3)], filters))
    made = [bytes([i]) + (folder / name).read_bytes() for i, name in enumerate(TRACE)]
    shutil.rmtree(folder)
    return made


TRACE = (trace_files.TRACE, trace_files.CARRY, trace_files.FILTERS)


@target(traces, *CSV, b"conv1", b"'shape': (3, 6)", b"<f4", b"|O", b"PK\x03\x04")
def trace(data: bytes, folder: Path) -> None:
    """Files of a trace: the first byte is the number of the file that the other bytes replace."""
    which = data[0] % len(TRACE) if data else 0
    for i, name in enumerate(TRACE):
        (folder / name).write_bytes(data[1:] if i == which else traces()[i][1:])
    trace_files.read(folder)


# -- checkpoints ------------------------------------------------------------------------------------------------------


def net(classes: int, method: Method) -> Layer:
    """Return a tiny net with everything that a checkpoint can contain."""
    return Sequential(Convolution(2, 3), BatchNorm(), ReLU(), Flatten(), FullyConnected(classes))


def name_net() -> None:
    """Register the tiny net as a model."""
    if "fuzzed" not in MODELS:
        minidl.model("fuzzed")(net)


@cache
def saved() -> bytes:
    """Return the checkpoint of a tiny net."""
    name_net()
    folder = emptied(Path(os.environ.get("TMPDIR", "/tmp"), f"minidl-fuzz-{os.getpid()}"))
    made = models.build("fuzzed", classes=3, shape=(4, 4, 3), device="cpu")
    optimizer = OPTIMIZERS["adam"](made.parameters, made.kernels, learning_rate=0.1, weight_decay=0.0, variant="")
    checkpoint.save(folder / checkpoint.NAME, made, optimizer, 1)
    content = (folder / checkpoint.NAME).read_bytes()
    shutil.rmtree(folder)
    return content


def _described(content: bytes) -> bytes:
    """Return what a checkpoint says as text."""
    length = int.from_bytes(content[:8], "little")
    text: str = json.loads(content[8 : 8 + length])["__metadata__"]["minidl"]
    return text.encode()


@target(
    lambda: [saved()], b'"F32"', b'"BF16"', b'"F8_E4M3"', b'"data_offsets":', b'"shape":', b"[1]", b'"__metadata__":'
)
def weights(data: bytes, folder: Path) -> None:
    """Checkpoints, byte by byte."""
    name_net()
    (folder / checkpoint.NAME).write_bytes(data)
    checkpoint.load(folder, device="cpu")


@target(lambda: [_described(saved())], *JSON, b'"classes"', b'"shape"', b'"fuzzed"', b'"epoch"', b"1200000", b'"mode"')
def description(data: bytes, folder: Path) -> None:
    """Checkpoints with valid tensors and any text."""
    name_net()
    text = data.decode("utf-8", "replace")
    (folder / checkpoint.NAME).write_bytes(save(load(saved()), {"minidl": text}))
    checkpoint.load(folder, device="cpu")
