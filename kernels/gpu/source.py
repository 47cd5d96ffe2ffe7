"""Compile the CUDA sources, which are beside the definitions, and launch their kernels."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import cupy
import numpy as np

SOURCES = Path(__file__).resolve().parents[1]
REALS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
THREADS = 256  # of a block, by default

Extents = int | tuple[int, ...]


def read(name: str) -> str:
    """Return a source in ASCII, with its headers in place of their includes.

    So CuPy's cache, which compares sources, notices a change of a header. ASCII, because CuPy writes sources in the
    encoding of the user's locale, which may lack letters of our comments. They become _, as two ? would begin a
    trigraph.
    """
    text = re.sub("[^\0-\x7f]", "_", (SOURCES / name).read_text("utf-8"))
    return re.sub(r'^#include "(\w+\.cuh)"$', lambda header: read(header[1]), text, flags=re.MULTILINE)


def options(dtype: Any) -> tuple[str, ...]:
    """Return the compiler's options for a number type."""
    return "-std=c++17", f"-DREAL={REALS[np.dtype(dtype)]}"


@cache
def module(name: str, dtype: Any, device: int) -> Any:
    """Return the compiled kernels of NAME.cu for a number type, float32 or float64, on a device."""
    return cupy.RawModule(code=read(f"{name}.cu"), options=options(dtype))


@cache
def _kernel(name: str, kernel: str, dtype: Any, device: int) -> Any:
    return module(name, dtype, device).get_function(kernel)


def launch(name: str, kernel: str, dtype: Any, grid: Extents, block: Extents, args: tuple[Any, ...]) -> None:
    """Run ``kernel`` of NAME.cu on a grid of blocks of threads; nothing happens on an empty grid.

    args: contiguous arrays on the device, and NumPy scalars. Raises TypeError for anything else. Nothing checks whether
    their types are those that the kernel declares.
    """
    for i, argument in enumerate(args):
        if isinstance(argument, cupy.ndarray):
            if not argument.flags.c_contiguous:
                raise TypeError(f"argument {i} of {name}.{kernel} is not contiguous")
        elif not isinstance(argument, np.generic):
            raise TypeError(f"argument {i} of {name}.{kernel} is a {type(argument).__name__}, which no kernel takes")
    grid, block = _extents(grid), _extents(block)
    if all(grid):
        _kernel(name, kernel, dtype, cupy.cuda.runtime.getDevice())(grid, block, args)


def cover(size: int, dtype: Any) -> int:
    """Return the blocks of THREADS that ``map`` in common.cuh needs for ``size`` elements."""
    return -(-size * np.dtype(dtype).itemsize // (16 * THREADS))


def warps(size: int) -> int:
    """Return how many threads, in whole warps, a block has for ``size`` elements; at most THREADS."""
    return min(THREADS, -(-max(size, 1) // 32) * 32)


def aligned(*arrays: Any) -> bool:
    """Return whether all arrays begin at an address that is a multiple of 16 bytes, so that vectors can be read."""
    return not any(array.data.ptr % 16 for array in arrays)


def lanes(channels: int, *arrays: Any) -> int:
    """Return how many channels a thread takes: a vector of 16 bytes of the first array, if possible, or one."""
    width: int = 16 // arrays[0].itemsize
    return width if channels % width == 0 and aligned(*arrays) else 1


def over_pixels(rows: int, pixels: int, units: int) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Return the grid and the block with which ``each_pixel`` in common.cuh goes through rows of pixels.

    units: the number of channels, or of vectors of channels, of a pixel.
    """
    across, x = _evenly(units, THREADS)
    down, y = _evenly(pixels, THREADS // x)
    return (rows, min(down, 65535), min(across, 65535)), (x, y)


def _evenly(size: int, most: int) -> tuple[int, int]:
    """Divide a size into as few nearly equal pieces of at most ``most`` as possible; return their number and length."""
    pieces = -(-max(size, 1) // most)
    return pieces, -(-max(size, 1) // pieces)


def ints(*numbers: int) -> tuple[np.int32, ...]:
    """Return extents as a kernel's ``int`` arguments."""
    return tuple(np.int32(number) for number in numbers)


def _extents(extents: Extents) -> tuple[int, ...]:
    return extents if isinstance(extents, tuple) else (extents,)
