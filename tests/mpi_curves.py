"""Trains tiny nets on all ranks, and writes the curves of their losses.

mpiexec -n 2 python tests/mpi_curves.py FILE, or with only some of the cases: FILE quick, FILE pixels.

Without mpiexec, it writes the curves of a single process, which has the whole of each batch.
"""

import sys
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image

from minidl import data
from minidl.communicator import Communicator
from minidl.data.batches import Batches
from minidl.data.dataset import Dataset
from minidl.data.pictures import palette
from minidl.data.pixel_batches import PixelBatches
from minidl.exchange import Exchange
from minidl.experiment.ranks import launcher
from minidl.experiment.sharing import check_equal
from minidl.experiment.trainer import Trainer
from minidl.kernels import load
from minidl.kernels.cpu import loops, threads
from minidl.method import parse
from minidl.models import a, c, d
from minidl.mpi import MPICommunicator
from minidl.net import Net
from minidl.optimizers import OPTIMIZERS
from minidl.synchronized import synchronize

IMAGES, BATCH, SIDE, CLASSES = 37, 9, 8, 3  # the last batch of an epoch has 10 images
SMALL = {"filters": (3, 4, 5), "hidden": 6}
NETS = {"a": (a, SMALL), "c": (c, SMALL), "whole c": (c, {}), "d": (d, {"filters": (3, 4, 4, 5), "count": 0})}
RATES = {"sgd": 0.1, "adam": 1e-3}


class Case(NamedTuple):
    """A net and its training."""

    model: str
    optimizer: str
    method: str
    mode: str = "projection"
    place: str = "hooks"
    dtype: str = "float64"
    sync: bool = False
    steps: int = 50

    def __str__(self) -> str:
        return "/".join(map(str, self))


METHODS = ("Baseline", "WC, GC, fully")
CASES = [
    *(Case("c", o, m, d) for o, m, d in product(RATES, METHODS, ("projection", "reparametrization"))),
    *(Case("c", o, "WC, GC, fully", place="optimizer", dtype=t) for o, t in product(RATES, ("float64", "float32"))),
    *(Case("c", o, "Baseline", dtype="float32") for o in RATES),
    *(Case("a", o, "WC, GC, BN", place=p, sync=True) for o, p in product(RATES, ("hooks", "optimizer"))),
    *(Case("a", "sgd", f"{m}, BN", sync=True) for m in ("EB", "EBN", "error global")),
    Case("c", "sgd", "EL"),
    *(Case("whole c", o, "WC, GC, fully", dtype=t) for o, t in product(RATES, ("float64", "float32"))),
    Case("a", "adam", "WC, GC, BN", dtype="float32", sync=True),
]
QUICK = [
    Case("c", "adam", "WC, GC, fully", place="optimizer", steps=12),
    Case("c", "sgd", "Baseline", dtype="float32", steps=12),
    Case("a", "adam", "EB, BN", sync=True, steps=12),
]
PIXELS = [
    *(Case("d", o, "WC, GC", place=p, steps=20) for o, p in (("sgd", "hooks"), ("adam", "optimizer"))),
    *(Case("d", o, "WC, GC, BN", place="optimizer", sync=True, steps=20) for o in RATES),
]
CHOSEN = {"quick": QUICK, "pixels": PIXELS}


def noise() -> Dataset:
    """Return random images of all classes."""
    random = np.random.default_rng(5)
    images = random.integers(0, 256, (IMAGES, SIDE, SIDE, 3), np.uint8)
    return Dataset("noise", images, random.integers(0, CLASSES, IMAGES), ("x", "y", "z"))


def labelled_pixels() -> Dataset:
    """Return images in VOC's layout; in one only a row is labelled, and in each of the others a larger part is void."""
    random = np.random.default_rng(6)
    with TemporaryDirectory() as name:
        folder = Path(name) / "VOCdevkit" / "VOC2012"
        for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (folder / part).mkdir(parents=True)
        sizes = [(70, 61), (60, 67), (69, 69), (67, 70), (64, 66), (70, 70), (48, 75), (66, 61), (70, 58)]
        for i, size in enumerate(sizes):
            mask = random.integers(0, 3, size).astype(np.uint8)
            mask[: 5 * i if i else size[0] - 1] = 255
            Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(folder / "JPEGImages" / f"{i}.jpg")
            labels = Image.fromarray(mask)
            labels.putpalette(palette().tobytes())
            labels.save(folder / "SegmentationClass" / f"{i}.png")
        for part in ("train", "val"):
            (folder / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("\n".join("012345678"))
        return data.load("voc2012", name, progress=False)[0]


def curve(case: Case, ranks: Communicator) -> np.ndarray:
    """Return the loss of each step, and at last the sum of all weights and of the other arrays that inference uses."""
    model, widths = NETS[case.model]
    kernels = load("cpu")
    source, images, batch = (PixelBatches, labelled_pixels(), 4) if case.model == "d" else (Batches, noise(), BATCH)
    batches = source(images, batch, kernels, case.dtype, ranks.share)
    root = model.net(len(batches.classes), parse(case.method), **widths)
    how = {"method": case.method, "mode": case.mode, "place": case.place, "dtype": case.dtype}
    net = Net(root, batches.shape, kernels, **how)
    if ranks.size > 1:
        if case.sync:
            synchronize(net, ranks)
        Exchange(net, ranks, case.sync)
    optimizer = OPTIMIZERS[case.optimizer](net.parameters, net.kernels, RATES[case.optimizer], weight_decay=1e-4)
    trainer = Trainer(net, optimizer, batches, batches, drop_every=100, seed=3, ranks=ranks)
    losses: list[float] = []
    for epoch in range(1, case.steps):
        for size in trainer.begin(epoch):
            before = trainer.loss.totals.copy()
            trainer.next_step(size)
            loss, _, labelled, _ = trainer.loss.totals - before
            losses.append(loss / labelled)
        if len(losses) >= case.steps:
            break
    check_equal(ranks, net)
    tested = trainer.test_score()
    return np.array([*losses[: case.steps], *tested])


def main() -> None:
    """Write the curves of all cases."""
    size = launcher.told()[1]
    ranks = MPICommunicator(size) if size > 1 else Communicator()
    threads.set_workers(1)
    loops.use("numpy")
    curves = {str(case): curve(case, ranks) for case in CHOSEN.get(sys.argv[-1], CASES)}
    if ranks.rank == 0:
        np.savez(sys.argv[1], **curves)


if __name__ == "__main__":
    main()
