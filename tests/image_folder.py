"""Writes a folder of images to train on, for fixtures of several tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder: Path, count: int, random: np.random.Generator) -> None:
    """Write ``count`` random images of 16×16 pixels into each of two classes of a folder."""
    for label in ("blue", "red"):
        (folder / label).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / label / f"{i}.png")
