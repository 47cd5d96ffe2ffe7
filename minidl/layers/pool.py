"""Pool: the base class of max and average pooling."""

from minidl.kernels.errors import MinidlError
from minidl.layer import Layer, Shape


class Pool(Layer):
    """One output for each size × size window of the data, which begin ``stride`` pixels apart; no padding."""

    data_axes = ("y", "x", "channels")

    def __init__(self, size: int, stride: int) -> None:
        super().__init__()
        self.size, self.stride = self.check_counts(size=size, stride=stride)

    def infer_shape(self, shape: Shape) -> Shape:
        """Count the windows that fit; the remaining pixels at the border are not used."""
        if min(shape[:2]) < self.size:
            raise MinidlError(
                f"{self.name} ({self}) expected images of at least its window and got data of {shape}; take larger "
                "images, or a smaller window"
            )
        y, x, channels = shape
        return (y - self.size) // self.stride + 1, (x - self.size) // self.stride + 1, channels
