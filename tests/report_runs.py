"""Runs for the tests of the report: small, traced, on images that the test makes, with names that HTML must escape."""

from pathlib import Path

import numpy as np
from PIL import Image

import train

NASTY = "<i>b&\"'</script>"  # a class whose name would be HTML
RUNS = {
    "baseline": ("Baseline", 0),
    "baseline-1": ("Baseline", 1),
    "wc_gc": ("WC, GC", 0),
}


def images(folder: Path) -> Path:
    """Make a folder of two classes of tiny images, and return it."""
    random = np.random.default_rng(7)
    for label, colour in ((NASTY.replace("/", "⁄"), (0, 0, 255)), ("red", (255, 0, 0))):
        (folder / label).mkdir(parents=True)
        for i in range(10):
            pixels = random.integers(0, 100, (16, 16, 3)) + np.array(colour) // 2
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{i}.png")
    return folder


def runs(folder: Path, *more: str) -> dict[str, Path]:
    """Train RUNS and return their folders by their names."""
    data = images(folder / "set")
    found = {}
    for name, (method, seed) in RUNS.items():
        found[name] = folder / name
        given = ["--data", data, "--out", found[name], "--method", method, "--seed", seed, *more]
        small = ["--epochs", "2", "--batch-size", "4", "--device", "cpu", "--loops", "numpy", "--quiet"]
        assert train.main([*map(str, given), *small]) == 0
    return found
