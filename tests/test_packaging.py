"""The distributions: the archive of the sources, the wheel, and their metadata."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
from lowest import lowest

CHECKOUT = Path(__file__).parents[1]
PACKAGES = {"minidl": "minidl", "kernels": "minidl/kernels", "models": "minidl/models", "data": "minidl/data"}
BESIDE = ("tests", "benchmarks", "docs", "results")
PAGES = ["CHANGELOG.md", "CONTRIBUTING.md", "README.md"]
ALONE = ["LICENSE", "MANIFEST.in", "Makefile", *PAGES, "pyproject.toml", "reproduce.py", "setup.cfg", "train.py"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout, with both distributions in its folder dist."""
    if tuple(map(int, importlib.metadata.version("setuptools").split(".")[:2])) < (70, 1):
        pytest.skip("building needs setuptools 70.1 or newer: pip install -e '.[test]'")
    copy = tmp_path_factory.mktemp("source") / "copy"
    for folder in (*PACKAGES, *BESIDE):
        shutil.copytree(CHECKOUT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ALONE:
        shutil.copy(CHECKOUT / name, copy)
    build = "from setuptools import build_meta; build_meta.build_sdist('dist'); build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=copy, check=True, capture_output=True)
    return copy


def files(checkout: Path, *folders: str) -> set[str]:
    """Return the files in folders of a checkout."""
    paths = (path for folder in folders for path in (checkout / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(checkout)) for path in paths}


@pytest.mark.thorough
def test_the_archive_of_the_sources_holds_what_the_tests_need(checkout: Path) -> None:
    [archive] = (checkout / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert files(checkout, *PACKAGES, *BESIDE) | set(ALONE) <= names


def test_the_wheel_installs_one_package_and_all_of_it(checkout: Path) -> None:
    [archive] = (checkout / "dist").glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {
        name.replace(folder, package, 1) for folder, package in PACKAGES.items() for name in files(checkout, folder)
    }


@pytest.mark.thorough
def test_the_command_works_from_a_wheel(checkout: Path, tmp_path: Path) -> None:
    """It is unpacked into a separate folder; the rows that it prints come from its own paper.csv."""
    [archive] = (checkout / "dist").glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(tmp_path / "site")
        [points] = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    entry = ConfigParser()
    entry.read(tmp_path / "site" / points)
    module, function = entry["console_scripts"]["minidl"].split(":")
    start = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import {module}; "
        f"assert {module}.__file__.startswith({str(tmp_path)!r}); sys.exit({module}.{function}())"
    )
    command = [sys.executable, "-c", start, "reproduce", "--table", "5", "--rows", "XY"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("minidl reproduce: no row of table 5 is called 'XY'; its rows are: d: Baseline, BN; ")


def test_the_settings_of_setup_cfg_agree() -> None:
    setup = ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    pins = list(lowest(CHECKOUT / "setup.cfg"))
    assert all(re.fullmatch(r"[\w-]+==\d+\.\d+\.\d+", pin) for pin in pins), pins
    [builder] = re.findall(r'requires = \["(.*?)"\]', (CHECKOUT / "pyproject.toml").read_text())
    assert builder.replace(">=", "==") in pins
    versions = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    assert setup["options"]["python_requires"] == f">={versions[0]}"
    assert versions == [f"3.{minor}" for minor in range(10, 10 + len(versions))]
