"""ProductLayer: the base class of convolutions and fully connected layers."""

from functools import partial

from minidl.layer import Array, Layer


class ProductLayer(Layer):
    """A layer of matrix products: comp_grads and backward read the same arrays and write to different ones."""

    def backpropagate(self, error: Array, need_error: bool = True) -> Array | None:
        """Run comp_grads and backward, concurrently if this is faster on the device."""
        if not need_error:
            return super().backpropagate(error, need_error)
        return self.kernels.concurrently(partial(self.comp_grads, error), partial(self.backward, error))
