"""Net (b) of Figure 1: a ResNet-34 (He et al. 2016) as DLIB builds it, with or without batch normalization.

    stem     "dlib":  conv 7×7 stride 2 without padding, 64; BN; ReLU; no max pool       32 → 13 pixels
             "cifar": conv 3×3, 64; BN; ReLU                                             32 → 32 pixels
    stages   3 blocks of 64 filters, 4 of 128, 6 of 256, 3 of 512                        13, 6, 3, 1 (32, 16, 8, 4)
    head     global average pool; fc

A block is conv 3×3 → BN → ReLU → conv 3×3 → BN, added to its own input; then ReLU. The first block of each later stage
has stride 2, and its shortcut is an average pool, whose missing channels count as zero. With BN and ten classes
21,123,594 parameters (21,115,914 with the stem "cifar"), 148 million multiply-adds for an image of 32 × 32 pixels
(1,108 million).

On CIFAR-10 the paper has 92.68 % with "WC, GC, BN" after 300 epochs; 6 epochs on 10,000 images bring 62.5 % here. On
two cores an epoch of all 50,000 images takes four minutes, with the stem "cifar" twenty-two.

    python train.py --model b --data cifar10 --method "WC, GC, BN"
    python train.py --model b-cifar --data cifar10 --method "WC, GC, BN"
"""

from collections.abc import Sequence

from minidl.layer import Layer
from minidl.layers import AveragePool, Convolution, FullyConnected, GlobalAveragePool, ReLU, Residual, Sequential
from minidl.method import Method
from minidl.models.registry import model

METHOD = "WC, GC, BN"  # the paper's best method for this net
FILTERS = (64, 128, 256, 512)
BLOCKS = (3, 4, 6, 3)


@model("b", method=METHOD)
def net(
    classes: int,
    method: Method,
    stem: str = "dlib",
    filters: Sequence[int] = FILTERS,
    blocks: Sequence[int] = BLOCKS,
) -> Sequential:
    """Return the layers of net (b), with either stem."""
    first = Convolution(filters[0], 7, stride=2) if stem == "dlib" else Convolution(filters[0], 3)
    stages: list[Layer] = []
    for f, count in zip(filters, blocks, strict=True):
        stages += [block(f, method, down=bool(stages)), *(block(f, method) for _ in range(count - 1))]
    return Sequential(first, *method.norm(), ReLU(), *stages, GlobalAveragePool(), FullyConnected(classes))


@model("b-cifar", method=METHOD)
def net_for_small_images(classes: int, method: Method) -> Sequential:
    """Return the layers of net (b) with the stem "cifar"."""
    return net(classes, method, "cifar")


def block(filters: int, method: Method, down: bool = False) -> Sequential:
    """Return a residual block; ``down`` halves height and width."""
    body = Sequential(
        Convolution(filters, 3, stride=2 if down else 1),
        *method.norm(),
        ReLU(),
        Convolution(filters, 3),
        *method.norm(),
    )
    return Sequential(Residual(body, AveragePool(2, 2) if down else None), ReLU())
