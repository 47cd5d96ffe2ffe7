"""Areas of Table 2: which elements of an array share one mean.

Arrays are channels last: data and errors F[s, y, x, c], convolution weights W[out, y, x, in], fully connected
data F[s, c] and weights W[out, in], which are seen as F[s, 1, 1, c] and W[out, 1, 1, in]. Each area is a reshape
without a copy to four axes (outer, rows, inner, lanes): one mean for each (outer, inner), over rows and lanes.

    area                  one mean per                        (outer, rows, inner, lanes)
    global                array                               (1, n, 1, rest)
    tensor (of weights),  out                                 (n, 1, 1, rest)
      sample (of data)    s
    channel               in, or c                            (1, n·y·x, c, 1)
    instance              (out, in) kernel, or (s, c) plane   (n, y·x, c, 1)
    group (of data)       (s, group of channels)              (n, y·x, groups, c/groups)
"""

from math import prod

from minidl.kernels.errors import MinidlError
from minidl.words import check_known

Shape = tuple[int, ...]
AREAS = ("global", "tensor", "sample", "channel", "instance", "group")


def area_view(shape: Shape, area: str, groups: int = 1) -> tuple[int, int, int, int]:
    """Return the four axes (outer, rows, inner, lanes) that ``area`` gives to an array of ``shape``.

    shape: (n, y, x, c) or (n, c). groups: number of groups of channels, only for the area "group".
    Raises MinidlError if every element would be alone in its group: centering would make the array zero.

    >>> area_view((64, 3, 3, 32), "tensor")  # each of 64 filters has its own mean
    (64, 1, 1, 288)
    >>> area_view((50, 16, 16, 32), "channel")  # each of 32 channels, over a batch of 50 images of 16×16
    (1, 12800, 32, 1)
    """
    n, c = shape[0], shape[-1]
    pixels = prod(shape[1:-1])
    views = {
        "global": (1, n, 1, pixels * c),
        "tensor": (n, 1, 1, pixels * c),
        "sample": (n, 1, 1, pixels * c),
        "channel": (1, n * pixels, c, 1),
        "instance": (n, pixels, c, 1),
        "group": (n, pixels, groups, c // groups),
    }
    check_known("area", area, AREAS)
    if area == "group" and c % groups:
        raise MinidlError(f"{c} channels cannot be split into {groups} equal groups; use a divisor of {c}")
    outer, rows, inner, lanes = views[area]
    if rows * lanes == 1:
        raise MinidlError(
            f"the area {area!r} leaves one element per group in an array of shape {shape}, so that subtracting "
            "the mean would make it zero; use another area here"
        )
    return outer, rows, inner, lanes
