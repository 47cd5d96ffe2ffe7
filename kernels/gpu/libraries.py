"""CUDA's libraries as files: pip puts them where the loader does not look, and cuDNN's frontend not always.

CuPy has the runtime inside, so that nothing else may have loaded it.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cupy


def for_cudnn() -> str:
    """Load cuDNN and the runtime of the CUDA that CuPy was built for; return where the runtime lies. Raises OSError.

    Another package may have brought one of another CUDA, which is left alone.
    """
    load("libcudnn.so.9", "cudnn")
    return load(f"libcudart.so.{cupy.cuda.runtime.runtimeGetVersion() // 1000}", "cudart")


def load(name: str, library: str) -> str:
    """Load a library by its file's name, which NVIDIA's pathfinder calls ``library``, and return where it lies.

    From then on, the loader knows it by its name. Raises OSError where there is none.
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
    """Yield what NVIDIA's own search finds: in a Conda environment, a toolkit, wherever the loader looks."""
    with suppress(Exception):  # whatever it cannot do, there may be another place
        from cuda import pathfinder

        found = pathfinder.load_nvidia_dynamic_lib(library).abs_path
        if Path(found).name.startswith(name):
            yield found
