"""BatchNorm: BN, with running statistics for inference."""

from typing import Any

import numpy as np

from minidl.kernels.running import Running
from minidl.layer import Array, Shape
from minidl.layers.data_norm import DataNorm


class BatchNorm(DataNorm):
    """Batch normalization: one mean for each channel, over the whole batch (equation 5).

    Inference uses running statistics instead, as DLIB does: each training batch moves them by 1/(n + 1) towards its
    own mean and unbiased variance, n being the number of earlier batches, but 100 at most.
    """

    kind = "bn"
    area = "channel"
    epsilon = 1e-4
    window = 100

    def __init__(self) -> None:
        super().__init__()
        self.mean: Any = None
        self.variance: Any = None
        self.updates: Any = None
        self.frozen: tuple[Array, Array] | None = None  # factor and offset in a frozen net

    def infer_shape(self, shape: Shape) -> Shape:
        """Create γ, β and the running statistics."""
        if self.mean is None:
            xp, dtype = self.kernels.xp, self.context.dtype
            self.mean, self.variance = xp.zeros(shape[-1], dtype), xp.ones(shape[-1], dtype)
            self.updates = xp.zeros(1, np.int64)
        return super().infer_shape(shape)

    def view(self, array: Array) -> Array:
        """View an array with one group for each channel; if that is a single element, it becomes β."""
        return array.reshape(1, -1, array.shape[-1], 1)

    def compute_output(self, data: Array) -> Array:
        """Normalize by the statistics of the batch in training, and by the running statistics at inference."""
        if not self.training:
            out = self.new_output(len(data))
            self.kernels.data_norm.inference(self.view(data), *self.affine(), self.view(out), self.with_relu)
            return out
        return super().compute_output(data)

    def running_to_move(self) -> Running:
        """Return the running statistics."""
        return Running(self.mean, self.variance, self.updates, self.window)

    def affine(self) -> tuple[Array, Array]:
        """Return factor and offset of each channel at inference: out = factor·data + offset."""
        if self.frozen:
            return self.frozen
        factor = self.gamma.in_use / self.kernels.xp.sqrt(self.variance + self.epsilon)
        return factor, self.beta.in_use - factor * self.mean

    def freeze(self) -> None:
        """Keep copies of the parameters, and the factor and offset of the running statistics."""
        super().freeze()
        self.frozen = self.affine()

    def _thaw(self) -> None:
        super()._thaw()
        self.frozen = None

    def running(self) -> dict[str, Array]:
        """Return the running statistics."""
        arrays = {"mean": self.mean, "variance": self.variance, "updates": self.updates}
        return {f"{self.name}.{name}": array for name, array in arrays.items()}

    def __str__(self) -> str:
        return "batch normalization"
