"""Net (d) of Figure 1: a residual U-net that labels every pixel, as in DLIB's example of semantic segmentation.

    stem     conv 7×7 stride 2 without padding, 64; BN; ReLU                     227 → 111 pixels      tag 1
    down     max pool 3×3 stride 2; 3 blocks of 64                                      55             tag 2
             to 128 and 2 blocks, to 256 and 2 blocks, to 512 and 2 blocks              27, 13, 6      tags 3, 4
    up       to 512 and 2 blocks, beside tag 4; to 256 and 2 blocks, beside tag 3;      13, 27
             to 128 and 2 blocks, beside tag 2; to 64 and 2 blocks, beside tag 1        55, 111
    head     transposed conv 7×7 stride 2, 64; BN; ReLU; conv 1×1                       227

"Beside a tag" means that the channels of the tagged layer and of this one are concatenated; this one is resized if
their sizes differ. Blocks are those of net (b); on the way up, transposed convolutions double the size. 40,130,133
parameters for 21 classes with BN, 17.5 billion multiply-adds for an image of 227 × 227 pixels; any size is allowed.

On VOC2012 the paper has 88.98 % of the pixels with "WC, GC, BN" after 800 epochs. Here 85 epochs on 300 images of a
quarter of their size bring 76.4 %, where 71.4 % are background, in 77 minutes on one core (docs/results.md has the
commands). At full size an epoch of 1,464 images takes ten minutes on two cores.

    python train.py --model d --data voc2012 --method "WC, GC, BN"
    python train.py --model d
"""

from collections.abc import Sequence

from minidl.layer import Layer
from minidl.layers import AnySize, Concat, Convolution, MaxPool, ReLU, Residual, Sequential, TransposedConvolution
from minidl.method import Method
from minidl.models.b import block
from minidl.models.registry import model

FILTERS = (64, 128, 256, 512)


@model("d", method="WC, GC, BN", per_pixel=True)  # the paper's best method for this net
def net(classes: int, method: Method, filters: Sequence[int] = FILTERS, count: int = 2) -> AnySize:
    """Return the layers of net (d), with ``count`` blocks after each change of size; U connections nest."""
    first = filters[0]
    inner: list[Layer] = []
    for f in reversed(filters[1:]):
        down = [block(f, method, down=True), *blocks(count, f, method)]
        inner = [Concat(Sequential(*down, *inner, *up(f, method), *blocks(count, f, method)))]
    down = [MaxPool(3, 2), *blocks(count + 1, first, method)]
    top = Concat(Sequential(*down, *inner, *up(first, method), *blocks(count, first, method)))
    body = Sequential(
        Convolution(first, 7, stride=2),
        *method.norm(),
        ReLU(),
        top,
        TransposedConvolution(first, 7, stride=2),
        *method.norm(),
        ReLU(),
        Convolution(classes, 1),
    )
    # Odd sizes come back as they were; with 67 pixels a single one is left at the bottom of the U.
    return AnySize(body, least=67, step=2)


def blocks(count: int, filters: int, method: Method) -> list[Layer]:
    """Return residual blocks that keep the size."""
    return [block(filters, method) for _ in range(count)]


def up(filters: int, method: Method) -> list[Layer]:
    """Return a residual block that doubles height and width."""
    body = Sequential(
        TransposedConvolution(filters, 3, stride=2),
        *method.norm(),
        ReLU(),
        Convolution(filters, 3),
        *method.norm(),
    )
    return [Residual(body, TransposedConvolution(filters, 2, stride=2)), ReLU()]
