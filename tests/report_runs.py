"""Runs for the tests of the report: a small traced run that is trained, and others that are derived from its record."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import train
from minidl.experiment.saving import records

NASTY = "<i>b&\"'<⁄script>"  # a class whose name is HTML, as far as the name of a folder can be


def images(folder: Path) -> Path:
    """Make a folder of two classes of tiny images, and return it."""
    random = np.random.default_rng(7)
    for label, colour in ((NASTY, (0, 0, 255)), ("red", (255, 0, 0))):
        (folder / label).mkdir(parents=True)
        for i in range(10):
            pixels = random.integers(0, 100, (16, 16, 3)) + np.array(colour) // 2
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{i}.png")
    return folder


def trained(folder: Path, *more: str) -> Path:
    """Train net (a) with "WC, GC, fully" on the images beside it, for an epoch of two steps; return its folder."""
    data = images(folder / "set")
    given = ["--data", data, "--out", folder / "run", "--model", "a", "--method", "WC, GC, fully", *more]
    small = ["--epochs", "1", "--batch-size", "8", "--device", "cpu", "--loops", "numpy", "--quiet"]
    assert train.main([*map(str, given), *small]) == 0
    return folder / "run"


def like(run: Path, name: str, **changes: Any) -> Path:
    """Copy a run into a folder beside it, with other settings in its record; return the copy's folder."""
    folder = run.with_name(name)
    shutil.copytree(run, folder)
    about = json.loads((folder / records.CONFIG).read_text())
    about["settings"] |= changes
    (folder / records.CONFIG).write_text(json.dumps(about))
    return folder
