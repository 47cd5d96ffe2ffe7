"""Net (c) of Figure 1: a classical net of convolutions, without batch normalization.

[conv 3×3 → ReLU → conv 3×3 → ReLU → max pool 2×2] × 3 with 32, 64, 128 filters; fc 512 → ReLU; fc. The figure is a
picture without numbers: this is a reconstruction. 1,341,226 parameters for ten classes, 40 million multiply-adds for an
image of 32 × 32 pixels. The paper has it without data normalization; a method with BN puts it before each ReLU that
follows a convolution.

On CIFAR-10 the paper has 87.62 % with "WC, GC, fully" after 300 epochs; here it is 88.64 %. 10 epochs bring
83.2 %, 15 on 10,000 images 77.0 %. On two cores an epoch of all 50,000 images takes three quarters of a minute, on an
H200 half a second.

    python train.py --model c --data cifar10 --method "WC, GC, fully"
"""

from collections.abc import Sequence

from minidl.layer import Layer
from minidl.layers import Convolution, Flatten, FullyConnected, MaxPool, ReLU, Sequential
from minidl.method import Method
from minidl.models.registry import model

FILTERS = (32, 64, 128)


@model("c", method="WC, GC, fully")  # the paper's best method for this net
def net(classes: int, method: Method, filters: Sequence[int] = FILTERS, hidden: int = 512) -> Sequential:
    """Return the layers of net (c), with ``hidden`` units before the last layer; each max pool halves the sides."""
    stages: list[Layer] = []
    for f in filters:
        for _ in range(2):
            stages += [Convolution(f, 3), *method.norm(), ReLU()]
        stages.append(MaxPool(2, 2))
    return Sequential(*stages, Flatten(), FullyConnected(hidden), ReLU(), FullyConnected(classes))
