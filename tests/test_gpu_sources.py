"""Every CUDA source compiled by NVIDIA's own compiler, NVRTC, which needs no GPU."""

import ctypes
import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import EMULATED

from minidl.kernels import Kernels
from minidl.kernels.gpu import source

SOURCES = sorted(path.stem for path in source.SOURCES.glob("*.cu"))
CARDS = ["sm_70", "sm_80", "sm_90", "sm_100"]  # V100, A100, H100 and H200, B200
# A header has more constants than each source needs; CuPy compiles every module so that subnormal numbers become zero.
OPTIONS = ("--diag-suppress=177", "-ftz=true", "--ptxas-options=-v")
MOST_REGISTERS = 1 << 16  # of a block's threads together


def compiler() -> Any:
    """Return NVRTC."""
    spec = importlib.util.find_spec("nvidia.cuda_nvrtc") if importlib.util.find_spec("nvidia") else None
    if spec is None:
        pytest.skip("NVRTC is not installed; pip install -e '.[nvrtc]'")
    (folder,) = spec.submodule_search_locations or ()
    return ctypes.CDLL(str(next(Path(folder).glob("lib/libnvrtc.so.*"))))


def compiled(code: str, options: tuple[str, ...]) -> tuple[bool, str]:
    """Return whether a source can be compiled, and what the compiler says about it."""
    nvrtc, program, size = compiler(), ctypes.c_void_p(), ctypes.c_size_t()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"source.cu", 0, None, None) == 0
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), given)
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return failed == 0, log.value.decode()


@pytest.mark.parametrize("card, dtype", [*((card, "float32") for card in CARDS), ("sm_90", "float64")])
@pytest.mark.parametrize("name", SOURCES)
def test_every_source_compiles_without_a_warning(name: str, card: str, dtype: str) -> None:
    text = source.read(f"{name}.cu")
    assert text.isascii()
    assert "??" not in text, "a trigraph"
    done, log = compiled(text, (*source.options(dtype), *OPTIONS, f"--gpu-architecture={card}"))
    assert done, log
    known = "Architectures prior to", "ptxas info", "bytes stack frame", "ptxas         ."
    assert not [line for line in log.splitlines() if line and not any(words in line for words in known)]
    # No registers are spilled, and they suffice for the threads of a block: 256, unless a kernel declares other bounds.
    kernels = re.findall(r"entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers", log, re.DOTALL)
    assert kernels
    for kernel, spilled, registers in kernels:
        bounds = re.search(rf"__launch_bounds__\((\d+)[^)]*\)\s+{kernel}\b", text)
        threads = int(bounds[1]) if bounds else 256
        assert spilled == "0", kernel
        assert -(-int(registers) // 8) * 8 * threads <= MOST_REGISTERS, kernel


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_formula_compiles_without_a_warning(elementwise: Kernels, dtype: str) -> None:
    if not EMULATED:
        pytest.skip("the tests on the GPU compile them with what CuPy adds")
    kernels, named = (elementwise.xp.ElementwiseKernel, elementwise.xp.ReductionKernel), vars(elementwise.normalize)
    formulas = (*named.values(), *named["SGD"].values(), *named["ADAM"].values())
    types = {"T": np.dtype(dtype), "float64": np.dtype("f8"), "int64": np.dtype("i8"), "bool": np.dtype("?")}
    codes = [formula.code(types) for formula in formulas if isinstance(formula, kernels)]
    assert len(codes) == 12
    for code in codes:
        done, log = compiled(code, ("-std=c++17", "--gpu-architecture=sm_90"))
        assert (done, log.strip("\0")) == (True, "")


def test_a_mistake_is_noticed() -> None:
    done, log = compiled("__global__ void kernel(float* x) { x[0] = y; }", ("--gpu-architecture=sm_90",))
    assert not done
    assert '"y" is undefined' in log
