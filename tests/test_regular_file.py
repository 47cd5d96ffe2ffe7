"""Regular files: a path that is not one, or a file that is too long, is neither waited for nor read."""

import os
from pathlib import Path

import pytest

from minidl.data import regular_file


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert regular_file.read(path, 5) == regular_file.read(str(link), 5) == b"12345"
    with pytest.raises(OSError, match="5 bytes, more than 4"):
        regular_file.read(path, 4)


def test_a_file_that_is_not_regular_or_too_long_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # no process writes into it
    (tmp_path / "link").symlink_to("/dev/zero")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    files = len(os.listdir("/proc/self/fd"))
    for name, reason in (
        ("pipe", "not a file"),
        ("link", "not a file"),
        (".", "not a file"),
        ("sparse", "1,099,511,627,776 bytes, more than 9"),
        ("missing", "No such file"),
        ("x" * 300, "name too long"),
        ("a\0b", "no file can have such a name"),
        ("\ud800", "no file can have such a name"),
    ):
        with pytest.raises(OSError) as caught:
            regular_file.read(tmp_path / name, 9)
        assert reason in caught.value.strerror
    assert len(os.listdir("/proc/self/fd")) == files


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="not on this system")
def test_a_file_that_claims_to_be_empty_is_read_up_to_its_limit():
    with pytest.raises(OSError, match="more than 9 bytes"):
        regular_file.read("/proc/self/status", 9)
