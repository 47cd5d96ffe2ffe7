"""Flatten: each image becomes one row of numbers."""

from math import prod

from minidl.layer import Array, Layer, Shape


class Flatten(Layer):
    """Flatten: (samples, y, x, c) viewed as (samples, y·x·c), without a copy."""

    kind = "flatten"

    def infer_shape(self, shape: Shape) -> Shape:
        """Multiply the extents."""
        return (prod(shape),)

    def compute_output(self, data: Array) -> Array:
        """View the data as one row for each sample."""
        return data.reshape(len(data), *self.output_shape)

    def compute_error(self, error: Array) -> Array:
        """View the error in the data's shape."""
        return error.reshape(len(error), *self.input_shape)
