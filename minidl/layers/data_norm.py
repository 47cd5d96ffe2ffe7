"""DataNorm: normalizations of the data as layers, LN, IN and GN; BN is in batch_norm.py."""

from math import gcd, prod
from typing import Any

from minidl.fixed import fixed
from minidl.kernels.areas import area_view
from minidl.kernels.errors import MinidlError
from minidl.kernels.running import Running
from minidl.layer import LEARNED, Array, Layer, Shape
from minidl.parameter import Parameter


class DataNorm(Layer):
    """Normalization of the data: out = γ·x̂ + β with x̂ = (data − μ)/√(σ² + ε), γ and β one for each channel.

    data (samples, …, c); μ and σ² are those of the area, in training and, except for BN, at inference.
    """

    area = ""
    epsilon = 1e-5
    gamma: Any = fixed(LEARNED, Parameter)
    beta: Any = fixed(LEARNED, Parameter)

    def __init__(self) -> None:
        super().__init__()
        self.gamma = self.beta = None
        self.statistics: Any = None  # of the last forward in training
        self.kept: tuple[Array, Any] | None = None  # only during backpropagate: the error and its sums

    def infer_shape(self, shape: Shape) -> Shape:
        """Create γ = 1 and β = 0; raise MinidlError if each mean is of one element, as every output would be β."""
        *plane, channels = shape
        together = channels // self.groups if self.area == "group" else 1
        if self.area != "channel" and prod(plane) * together == 1:  # a channel's mean is over all samples
            raise MinidlError(
                f"{self.name} ({self}) got data of shape {shape} for one sample, so that each mean is of a single "
                "element, and subtracting it gives zero; use another normalization or larger images"
            )
        if self.gamma is None:
            self.context.expect(f"{self.name}.gamma", (channels,))
            xp, dtype = self.kernels.xp, self.context.dtype
            ones, zeros = xp.ones(channels, dtype), xp.zeros(channels, dtype)
            self.gamma = Parameter(f"{self.name}.gamma", ones, xp.zeros_like(ones), decay=False)
            self.beta = Parameter(f"{self.name}.beta", zeros, xp.zeros_like(zeros), decay=False)
        return shape

    def view(self, array: Array) -> Array:
        """View an array of the data's shape by its groups, (outer, rows, inner, lanes)."""
        return array.reshape(area_view(array.shape, self.area, self.groups))

    @property
    def groups(self) -> int:
        """The number of groups of channels, each with its own mean, for the area "group"."""
        return 1

    def compute_output(self, data: Array) -> Array:
        """Normalize, scale and shift the data."""
        out = self.new_output(len(data))
        gamma, beta, running = self.gamma.in_use, self.beta.in_use, self.running_to_move()
        self.statistics = self.kernels.data_norm.forward(
            self.view(data), gamma, beta, self.epsilon, self.view(out), running, self.with_relu
        )
        return out

    def running_to_move(self) -> Running | None:
        """Return the running statistics that a training batch updates, or None."""
        return None

    def backpropagate(self, error: Array, need_error: bool = True) -> Array | None:
        """Run comp_grads, and then backward with the sums that comp_grads computed."""
        self.kept = (None, None)
        try:
            return super().backpropagate(self.accept_error(error), need_error)
        finally:
            self.kept = None  # even where a hook fails: the next error has other sums

    def compute_grads(self, error: Array) -> None:
        """Sum error·x̂ for γ and the error for β."""
        sums = self._comp_grads(error, self.gamma.grads, self.beta.grads)
        if self.kept is not None:
            self.kept = error, sums

    def compute_error(self, error: Array) -> Array:
        """Write (γ·error − mean(γ·error) − x̂·mean(γ·error·x̂))/√(σ² + ε)."""
        out = self.new_error(error.shape)
        if self.kept is not None and self.kept[0] is error:
            sums = self.kept[1]
        else:  # backward alone, which must not change the gradients
            sums = self._comp_grads(error, *map(self.kernels.xp.empty_like, (self.gamma.grads, self.beta.grads)))
        self.kernels.data_norm.backward(
            self.view(error), self.view(self.data), self.gamma.in_use, self.statistics, sums, self.view(out)
        )
        return out

    def _comp_grads(self, error: Array, gamma_grads: Array, beta_grads: Array) -> Any:
        view = self.view
        return self.kernels.data_norm.comp_grads(view(error), view(self.data), self.statistics, gamma_grads, beta_grads)

    def parameters(self) -> list[Parameter]:
        """Return γ and β."""
        return [p for p in (self.gamma, self.beta) if p is not None]


class GroupNorm(DataNorm):
    """Group normalization (Wu and He 2018): one mean for each sample and group of channels, 32 groups or fewer.

    The number of groups is the greatest common divisor of 32 and the number of channels.
    """

    kind = "gn"
    area = "group"

    @property
    def groups(self) -> int:
        """The number of groups of channels, each with its own mean."""
        return gcd(32, self.input_shape[-1])

    def __str__(self) -> str:
        return f"group normalization, {self.groups} groups" if self.input_shape else "group normalization"


class LayerNorm(DataNorm):
    """Layer normalization: one mean for each sample (equation 6), which is a single group of all its channels."""

    kind = "ln"
    area = "group"

    def __str__(self) -> str:
        return "layer normalization"


class InstanceNorm(DataNorm):
    """Instance normalization: one mean for each sample and channel (equation 7)."""

    kind = "in"
    area = "instance"

    def __str__(self) -> str:
        return "instance normalization"
