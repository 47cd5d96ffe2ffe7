"""Net (a) of Figure 1: a small net, with or without batch normalization.

[conv 5×5 → BN → ReLU → max pool 2×2] × 3 with 32, 64, 128 filters; fc 256 → ReLU; fc. The figure is a picture without
numbers: this is a reconstruction. 785,738 parameters for ten classes (786,186 with BN), 29 million multiply-adds for
an image of 32 × 32 pixels.

On CIFAR-10 the paper has 81.87 % without and 84.67 % with BN after 300 epochs; here these are 82.46 % and 84.86 %. With
"WC, GC, fully" the paper has 87.07 %; 15 epochs on 10,000 images bring 73.3 % here. On two cores an epoch of all 50,000
images takes half a minute.

    python train.py --model a --data cifar10 --method "WC, GC, fully"
"""

from collections.abc import Sequence

from minidl.layer import Layer
from minidl.layers import Convolution, Flatten, FullyConnected, MaxPool, ReLU, Sequential
from minidl.method import Method
from minidl.models.registry import model

FILTERS = (32, 64, 128)


@model("a", method="WC, GC, fully")  # the paper's best method for this net
def net(classes: int, method: Method, filters: Sequence[int] = FILTERS, hidden: int = 256) -> Sequential:
    """Return the layers of net (a), with ``hidden`` units before the last layer; each max pool halves the sides."""
    stages: list[Layer] = [
        layer for f in filters for layer in (Convolution(f, 5), *method.norm(), ReLU(), MaxPool(2, 2))
    ]
    return Sequential(*stages, Flatten(), FullyConnected(hidden), ReLU(), FullyConnected(classes))
