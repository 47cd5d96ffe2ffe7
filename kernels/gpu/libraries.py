"""CUDA's libraries as files: pip installs them where the loader, and sometimes cuDNN's frontend, does not look.

CuPy contains the CUDA runtime, so the runtime as a separate library may not be loaded yet.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cupy


def for_cudnn() -> str:
    """Load cuDNN and the runtime of the CUDA version that CuPy was built for; return the runtime's path.

    A runtime of another CUDA version, from another package, is not touched. Raises OSError if one of them is missing.
    """
    load("libcudnn.so.9", "cudnn")
    return load(f"libcudart.so.{cupy.cuda.runtime.runtimeGetVersion() // 1000}", "cudart")


def load(name: str, library: str) -> str:
    """Load a library by its file's name, which NVIDIA's pathfinder calls ``library``, and return its path.

    After that, the loader finds it by its name. Raises OSError if there is none.
    """
    for file in (*_of_pip(name), *_of_pathfinder(name, library), name):
        with suppress(OSError):
            ctypes.CDLL(file)
            return file
    raise OSError(f"{name} is not to be found; install what the extra cuda12 or cuda13 names")


def _of_pip(name: str) -> Iterator[str]:
    for folder in sys.path:
        yield from map(str, sorted(Path(folder).glob(f"nvidia/*/lib/{name}")))


def _of_pathfinder(name: str, library: str) -> Iterator[str]:
    """Yield the paths that NVIDIA's own search finds: in a Conda environment, a toolkit, or the loader's path."""
    with suppress(Exception):  # if it fails, there may be another place
        from cuda import pathfinder

        found = pathfinder.load_nvidia_dynamic_lib(library).abs_path
        if Path(found).name.startswith(name):
            yield found
