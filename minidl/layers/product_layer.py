"""ProductLayer: what convolutions and fully connected layers have in common."""

from functools import partial

from minidl.layer import Array, Layer


class ProductLayer(Layer):
    """A layer of products: those of comp_grads and of backward read the same arrays, and write to different ones."""

    def backpropagate(self, error: Array, need_error: bool = True) -> Array | None:
        """Run comp_grads and backward, at once where the device gains by it."""
        if not need_error:
            return super().backpropagate(error, need_error)
        return self.kernels.concurrently(partial(self.comp_grads, error), partial(self.backward, error))
