"""CUDA's runtime library as a file, which cuDNN's frontend wants to be told.

CuPy has the runtime inside, and where pip puts the library the loader does not look.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cupy


def path() -> str:
    """Load the runtime of the CUDA that CuPy was built for, and return where it lies.

    Another package may have brought one of another CUDA, which is left alone. Raises OSError where there is none.
    """
    name = f"libcudart.so.{cupy.cuda.runtime.runtimeGetVersion() // 1000}"
    for file in (*_of_pip(name), *_of_pathfinder(name), name):
        with suppress(OSError):
            ctypes.CDLL(file)
            return file
    raise OSError(f"{name} is not to be found; install what the extra cuda12 or cuda13 names")


def _of_pip(name: str) -> Iterator[str]:
    for folder in sys.path:
        yield from map(str, sorted(Path(folder).glob(f"nvidia/*/lib/{name}")))


def _of_pathfinder(name: str) -> Iterator[str]:
    """Yield what NVIDIA's own search finds: in a Conda environment, a toolkit, wherever the loader looks."""
    with suppress(Exception):  # whatever it cannot do, there may be another place
        from cuda import pathfinder

        found = pathfinder.load_nvidia_dynamic_lib("cudart").abs_path
        if Path(found).name.startswith(name):
            yield found
