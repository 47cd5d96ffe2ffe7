"""The calls of CuPy and cuDNN by the GPU's code, checked with the real packages (extra ``conformance``), without a GPU.

Each test runs in a separate process, because this process imports the stand-ins.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "conformance"
EMULATION = Path(__file__).parent / "emulation"
PACKAGES = ("cupy-cuda12x", "nvidia-cudnn-frontend", "nvidia-cudnn-cu12", "nvidia-cuda-runtime-cu12")
PRODUCTS, WITH_BIASES = 165, 46  # different products in all nets, and those with biases in their graph

Run = Callable[..., str]


def missing() -> list[str]:
    """Return which requirements are missing."""
    found = [name for name in PACKAGES if not any(metadata.distributions(name=name))]
    return found + ([] if shutil.which("gcc") else ["gcc"])


def library(source: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-x", "c", "-w", "-shared", "-fPIC", f"-Wl,-soname,{path.name}", "-o", str(path), "-"]
    subprocess.run(command, input=source, text=True, check=True)


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs a script of the folder with arguments, with a driver that has no device."""
    if names := missing():
        assert os.environ.get("MINIDL_CONFORMANCE") != "required", names
        pytest.skip(f"{', '.join(names)} not installed; pip install -e '.[conformance]'")
    driver = tmp_path_factory.mktemp("driver")
    library((FOLDER / "libcuda.c").read_text(), driver / "libcuda.so.1")
    ours = "CUDNN_FRONTEND_CUDART_LIB_NAME", "PYTHONPATH"
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    environment |= {"LD_LIBRARY_PATH": str(driver), "CUPY_CACHE_DIR": str(driver / "kept")}

    def run(script: str, *arguments: Any) -> str:
        command = [sys.executable, "-W", "default", str(FOLDER / script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.strip()

    return run


def test_every_name_and_signature_is_there(child: Run) -> None:
    assert child("names.py") == ""


def test_a_missing_name_is_reported(child: Run, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(
        "import cupy\nself.xp.ascontiguous(1)\ncupy.cuda.Streem()\ncupy.zeros(1, colour=2)\ncupy.zeros(1, order='C')\n"
    )
    told = [line.partition("wrong.py:")[2] for line in child("names.py", tmp_path / "wrong.py").splitlines()]
    assert told == [
        "2: ascontiguous is not there",
        "3: cuda.Streem is not there",
        "4: zeros: got an unexpected keyword argument 'colour'",
    ]


def test_the_runtime_of_cupys_own_cuda_is_found(child: Run, tmp_path: Path) -> None:
    """After a plain installation, and with a PyTorch for another CUDA version, which cuDNN's frontend may import."""
    other = tmp_path / "nvidia" / "cu13" / "lib" / "libcudart.so.13"
    library("int cudaRuntimeGetVersion() { return 13; }", other)
    (tmp_path / "torch.py").write_text(f"import ctypes\nctypes.CDLL({str(other)!r})\nraise ImportError('broken')\n")
    (tmp_path / "cupy").symlink_to(EMULATION / "cupy")
    told, loaded = child("runtime.py", tmp_path).splitlines()
    assert Path(told).is_absolute()
    assert Path(told).name == "libcudart.so.12"
    assert Path(loaded).samefile(told)


@pytest.mark.parametrize("card", ["h100", *(pytest.param(card, marks=pytest.mark.slow) for card in ("a100", "b200"))])
def test_all_products_of_all_nets_are_planned(child: Run, card: str) -> None:
    for precision, line in zip(("tf32", "fp32", "bf16"), child("plan.py", card).splitlines(), strict=True):
        assert json.loads(line) == {
            "precision": precision,
            "asked": PRODUCTS,
            "planned": PRODUCTS,
            "rounded": PRODUCTS if precision == "bf16" else 0,
            "fused": 0 if precision == "bf16" else WITH_BIASES,
        }
