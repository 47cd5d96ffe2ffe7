"""CUDA sources, compiled as C++ and called with arguments that are checked against their declarations."""

import ctypes
import hashlib
import math
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cupy import capture
from cupy.arrays import check_guards, ndarray

HEADER = Path(__file__).parents[1] / "cuda.hpp"
CACHE = Path(__file__).parents[3] / "build" / "emulation"
COMPILER = (
    "g++",
    "-x",
    "c++",
    "-std=c++14",
    "-O1",
    "-w",
    "-fPIC",
    "-fno-strict-aliasing",
    "-U_FORTIFY_SOURCE",
    "-fsanitize=alignment",
)
ALIAS = re.compile(r"using (\w+)\s*=\s*([\w ]+);")
KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\((\d+)(?:,\s*\d+)?\)\s+)?(\w+)\s*\(([^)]*)\)'
)
# The most threads of a block, unless a kernel declares other bounds: with more, a GPU may have too few registers.
THREADS = 256
TYPES = {
    "float": "f4", "double": "f8", "int": "i4", "unsigned": "u4", "unsigned int": "u4", "long long": "i8",
    "unsigned long long": "u8", "unsigned char": "u1", "signed char": "i1", "short": "i2", "bool": "?",
    "unsigned short": "u2",
}  # fmt: skip


class Parameter(NamedTuple):
    """A kernel's parameter: its C type, the number type that an argument must have, and whether it is a pointer.

    For a pointer to structures, the argument is an array of any type.
    """

    declared: str
    dtype: np.dtype | None
    pointer: bool


class RawModule:
    """The kernels of one source."""

    def __init__(self, *, code: str, options: tuple[str, ...] = (), **_: Any) -> None:
        defines = [option for option in options if option.startswith("-D")]
        key = hashlib.sha256("\0".join([code, HEADER.read_text(), *COMPILER, *defines]).encode()).hexdigest()[:24]
        self.library = CACHE / f"{key}.so"
        expanded = CACHE / f"{key}.ii"
        if not self.library.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            text = _run(["g++", "-x", "c++", "-E", *defines, "-"], code)
            part = self.library.with_suffix(f".{os.getpid()}.part")  # another process may compile the same source
            part.write_text(text)
            os.replace(part, expanded)
            _run([*COMPILER, "-include", str(_header(CACHE)), "-c", "-o", f"{part}.o", "-"], _program(text))
            _run(["g++", "-shared", "-o", str(part), f"{part}.o"], "")
            os.unlink(f"{part}.o")
            os.replace(part, self.library)
        self.text = expanded.read_text()
        self.signatures = _signatures(self.text)
        self.functions = ctypes.CDLL(str(self.library))

    def get_function(self, name: str) -> "RawKernel":
        """Return a kernel."""
        if name not in self.signatures:
            raise RuntimeError(f"named symbol not found: {name}; there are {', '.join(self.signatures)}")
        bounds = {kernel: int(threads or THREADS) for threads, kernel, _ in KERNEL.findall(self.text)}
        return RawKernel(name, getattr(self.functions, f"emulate_{name}"), self.signatures[name], bounds[name])


class RawKernel:
    """A kernel that can be launched."""

    def __init__(self, name: str, function: Any, parameters: list[Parameter], threads: int) -> None:
        self.name, self.function, self.parameters, self.threads = name, function, parameters, threads

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared_mem: int = 0
    ) -> None:
        """Run blocks of threads; a capturing stream records the launch instead."""
        if shared_mem:
            raise NotImplementedError("the emulation has no dynamic shared memory")
        if len(args) != len(self.parameters):
            raise TypeError(f"{self.name} takes {len(self.parameters)} arguments, not {len(args)}")
        grid, block = (*grid, 1, 1)[:3], (*block, 1, 1)[:3]
        limits = ((1 << 31) - 1, 65535, 65535)
        if not all(1 <= n <= most for n, most in zip(grid, limits, strict=True)):
            raise ValueError(f"{self.name}: no card takes a grid of {grid}")
        if not all(1 <= n <= most for n, most in zip(block, (1024, 1024, 64), strict=True)):
            raise ValueError(f"{self.name}: no card takes a block of {block}")
        if math.prod(block) > self.threads:
            raise ValueError(f"{self.name}: it declares {self.threads} threads, and a block of {block} has more")
        values = [self._value(i, argument) for i, argument in enumerate(args)]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        memories = [argument.host.base for argument in args if isinstance(argument, ndarray)]
        if capture.recording():
            for memory in memories:
                capture.watch(memory)
            memories = []

        def launch() -> None:
            message = ctypes.create_string_buffer(200)
            three = ctypes.c_uint * 3
            if self.function(pointers, three(*grid), three(*block), message):
                raise RuntimeError(f"{self.name}: {message.value.decode()}")
            for memory in memories:
                check_guards(memory)

        launch.keep = values  # type: ignore[attr-defined]
        capture.run(launch)

    def _value(self, index: int, argument: Any) -> Any:
        declared, dtype, pointer = self.parameters[index]
        if not isinstance(argument, ndarray if pointer else np.generic) or dtype not in (None, argument.dtype):
            got = f"{type(argument).__name__} of {getattr(argument, 'dtype', 'no number type')}"
            raise TypeError(f"{self.name}: argument {index} is declared {declared}, and got {got}")
        if not pointer:
            return ctypes.create_string_buffer(argument.tobytes(), argument.nbytes)
        if not argument.flags.c_contiguous:
            raise ValueError(f"{self.name}: argument {index} is not contiguous")
        return ctypes.c_void_p(argument.data.ptr)


@cache
def _header(folder: Path) -> Path:
    """Return the path by which g++ finds the precompiled cuda.hpp; otherwise, to read it takes a third of the time."""
    key = hashlib.sha256("\0".join([HEADER.read_text(), *COMPILER, _run(["g++", "--version"], "")]).encode())
    header = folder / f"{key.hexdigest()[:24]}.hpp"
    compiled = header.with_suffix(".hpp.gch")
    if not compiled.exists():
        part = header.with_suffix(f".{os.getpid()}.part")
        _run([*COMPILER, "-x", "c++-header", "-c", "-o", str(part), str(HEADER)], "")
        header.write_text(f'#include "{HEADER}"\n')  # for a g++ that does not accept the precompiled header
        os.replace(part, compiled)
    return header


def _run(command: list[str], source: str) -> str:
    result = subprocess.run(command, input=source, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr}")
    return result.stdout


def _signatures(text: str) -> dict[str, list[Parameter]]:
    aliases = dict(ALIAS.findall(text))
    return {
        name: [_parameter(p, aliases) for p in parameters.split(",")] for _, name, parameters in KERNEL.findall(text)
    }


def _parameter(declaration: str, aliases: dict[str, str]) -> Parameter:
    declared = re.sub(r"\b\w+\s*$", "", declaration.replace("__restrict__", "")).strip()
    base = re.sub(r"\bconst\b|\*", "", declared).strip()
    base = aliases.get(base, base)
    pointer = "*" in declared
    if base not in TYPES and not pointer:
        raise RuntimeError(f"the emulation knows no parameters of type {base}")
    return Parameter(declared, np.dtype(TYPES[base]) if base in TYPES else None, pointer)


def _program(text: str) -> str:
    entries = []
    for name, parameters in _signatures(text).items():
        values = ", ".join(f"*({p.declared}*)a[{i}]" for i, p in enumerate(parameters))
        entries.append(
            f'extern "C" int emulate_{name}(void** args, const unsigned* grid, const unsigned* block, char* message)\n'
            f"{{ return emulation::launch([](void** a) {{ {name}({values}); }}, args, grid, block, message); }}\n"
        )
    body = re.sub(r'extern\s+"C"\s+__global__', "__global__", text)
    return f"namespace {{\n{body}\n}}\n{''.join(entries)}"
