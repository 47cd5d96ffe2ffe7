"""Names of the pooling kernels for different windows, and their launch over tiles of pixels: see windows.cuh."""

from minidl.kernels.gpu.source import over_pixels

KNOWN = (2, 2), (3, 2)  # sizes and strides for which there are separate kernels, with these numbers as constants


def kind(size: int, stride: int, unit: int) -> str:
    """Return the end of the kernel's name for square windows; unit: how many channels a thread takes."""
    if unit == 1:
        return "one"
    return f"vector_{size}_{stride}" if (size, stride) in KNOWN else "vector"


def over_tiles(shape: tuple[int, ...], stride: int, unit: int) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Return the grid and the block with which ``each_pixel_of_tiles`` goes through data (samples, y, x, c).

    A tile has stride × stride pixels; a thread takes ``unit`` channels of one.
    """
    n, y, x, c = shape
    return over_pixels(n * -(-y // stride), -(-x // stride), c // unit)
