"""Ranks on several hosts, which are network namespaces of this machine: see hosts.py."""

import os
import shutil
import subprocess

import hosts
import pytest
from test_mpi import MISSING


def cannot_make_namespaces() -> bool:
    """Return whether hosts cannot be made on this machine."""
    if MISSING or os.name != "posix" or os.geteuid() or not shutil.which("ip"):
        return True
    made = subprocess.run(["ip", "netns", "add", "minidl-probe"], capture_output=True).returncode
    subprocess.run(["ip", "netns", "delete", "minidl-probe"], capture_output=True)
    return made != 0


pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def able():
    if cannot_make_namespaces():
        pytest.skip("hosts need root, the command ip, and pip install -e '.[mpi]'")


@pytest.mark.parametrize("count", [2, 3])
def test_hosts_have_the_curve_of_one_process(count, tmp_path):
    one, many = hosts.curves(count, tmp_path)
    assert len(one) == 3
    assert one[0] == pytest.approx(many[0], abs=1e-3)
    assert one == pytest.approx(many, abs=2e-2)  # about the difference between float32 and float64 after so many steps


def test_a_cut_link_ends_the_job_with_a_sentence(tmp_path):
    after, said, _ = hosts.after_a_cut(2, tmp_path)
    assert after < 30
    assert said.startswith(
        "train.py: rank 0: a rank gave no sign of life for 20 s: it was ended, or the link to it is cut"
    )
    assert "--resume" in said
