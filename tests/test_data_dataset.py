"""A data set's parts, and how sets are found by name."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl.data import NAMES, Dataset, default_root, load
from minidl.kernels.errors import MinidlError


@pytest.fixture
def numbered() -> Dataset:
    """Twenty images whose pixels, label and mask all contain the number of the image."""
    numbers = np.arange(20)
    images = np.broadcast_to(numbers[:, None, None, None], (20, 4, 4, 3)).astype(np.uint8)
    classes = tuple(map(str, numbers))
    return Dataset("numbered", images, numbers.astype(np.int64), classes, images[..., 0].copy(), classes)


def test_a_subset_keeps_images_labels_and_masks_together(numbered: Dataset) -> None:
    part = numbered.subset(7)
    assert len(part) == len(set(part.labels)) == 7
    assert part.masks is not None
    np.testing.assert_array_equal(part.images[:, 0, 0, 0], part.labels)
    np.testing.assert_array_equal(part.masks[:, 3, 3], part.labels)
    assert part.classes == numbered.classes
    assert part.images.flags.c_contiguous


def test_a_subset_is_the_same_in_every_run_and_on_every_machine(numbered: Dataset) -> None:
    assert numbered.subset(6).labels.tolist() == [11, 3, 13, 2, 15, 1]
    assert numbered.subset(3).labels.tolist() == [11, 3, 13]


def test_the_whole_set_is_a_subset(numbered: Dataset) -> None:
    assert sorted(numbered.subset(20).labels) == list(range(20))


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (21, "^21 images were asked for.*numbered has 20; ask for 1 to 20$"),
        (0, "^count of subset must be a whole number of at least 1, not 0$"),
        (2.0, "^count of subset must be a whole number of at least 1, not 2.0$"),
        ("2", "^count of subset must be a whole number of at least 1, not '2'$"),
    ],
)
def test_a_subset_of_an_impossible_size_is_refused(numbered: Dataset, count: Any, message: str) -> None:
    with pytest.raises(MinidlError, match=message):
        numbered.subset(count)


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(MinidlError, match=r"'mnist' is neither a data set nor a folder.*shapes, cifar10, cifar100"):
        load("mnist")
    assert NAMES == ("shapes", "cifar10", "cifar100", "voc2012")


def test_the_default_root_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "minidl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root() == tmp_path / ".cache" / "minidl"


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = (
        "import sys, minidl.data; print({'PIL', 'tqdm', 'urllib.request', 'tarfile', 'minidl.data.shapes'} "
        "& set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
