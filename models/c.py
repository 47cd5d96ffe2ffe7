"""Net (c) of Figure 1: a classical net of convolutions, without batch normalization.

[conv 3×3 → ReLU → conv 3×3 → ReLU → max pool 2×2] × 3 with 32, 64, 128 filters; fc 512 → ReLU; fc. The figure is a
picture without numbers: this is a reconstruction. 1,341,226 parameters for ten classes.
"""

from minidl.layers import Convolution, Flatten, FullyConnected, MaxPool, ReLU, Sequential

FILTERS = (32, 64, 128)


def net(classes: int) -> Sequential:
    """Return the layers of net (c); each max pool halves an image's height and width."""
    stages = [
        layer
        for filters in FILTERS
        for layer in (Convolution(filters, 3), ReLU(), Convolution(filters, 3), ReLU(), MaxPool(2, 2))
    ]
    return Sequential(*stages, Flatten(), FullyConnected(512), ReLU(), FullyConnected(classes))
