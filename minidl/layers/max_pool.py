"""MaxPool: the largest element of each window."""

from minidl.layer import Array
from minidl.layers.pool import Pool


class MaxPool(Pool):
    """Max pooling: out[s, y, x, c] = max of data over the size × size window that begins at (t·y, t·x), stride t."""

    kind = "maxpool"
    argmax: Array = None  # of the last forward in training

    def compute_output(self, data: Array) -> Array:
        """Take the largest element of each window and, in training, remember its position."""
        out = self.new_output(len(data))
        if not self.training:
            self.kernels.max_pool.inference(data, self.size, self.stride, out)
            return out
        self.argmax = self.kernels.max_pool.forward(data, self.size, self.stride, out, self.buffer)
        return out

    def compute_error(self, error: Array) -> Array:
        """Add each error to the place of its window's largest element, and write 0 elsewhere."""
        out = self.new_error((len(error), *self.input_shape))
        self.kernels.max_pool.backward(error, self.size, self.stride, self.argmax, out)
        return out

    def __str__(self) -> str:
        return f"max pool {self.size}×{self.size}, stride {self.stride}"
