"""How pooling kernels are named for their windows, and launched for tiles of pixels: see windows.cuh."""

from minidl.kernels.gpu.source import over_pixels

KNOWN = (2, 2), (3, 2)  # sizes and strides that the compiler knows


def kind(size: int, stride: int, unit: int) -> str:
    """Return the end of the kernel's name for square windows where a thread takes ``unit`` channels."""
    if unit == 1:
        return "one"
    return f"vector_{size}_{stride}" if (size, stride) in KNOWN else "vector"


def over_tiles(shape: tuple[int, ...], stride: int, unit: int) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Return the grid and the block with which ``each_pixel_of_tiles`` goes through data (samples, y, x, c)."""
    n, y, x, c = shape
    return over_pixels(n * -(-y // stride), -(-x // stride), c // unit)
