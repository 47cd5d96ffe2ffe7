"""SGD with momentum (Algorithm 2) and Adam (Algorithm 3), and the step schedule of their learning rates."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from minidl.kernels import Kernels
from minidl.kernels.errors import MinidlError
from minidl.kernels.parameter_state import ParameterState
from minidl.parameter import Parameter

Array = Any


class Optimizer:
    """What SGD and Adam share.

    learning_rate: α > 0, may be changed between steps. weight_decay: ≥ 0, coupled (L2): it is added to the gradient,
    after GC, of the parameters that decay, which biases do not. gc, wc: the parameters whose filters are centralized
    inside the update, the gradient before it (GC) and the weights after it (WC), as Algorithms 2 and 3 do; the same
    as hooks in the layers. Those of a net that was built with place="optimizer" need not be named here.
    """

    kind = ""
    variants: tuple[str, ...] = ()

    def __init__(
        self,
        parameters: Iterable[Parameter],
        kernels: Kernels,
        learning_rate: float,
        weight_decay: float = 0.0,
        variant: str = "",
        gc: Iterable[Parameter] = (),
        wc: Iterable[Parameter] = (),
    ) -> None:
        _check_rate(learning_rate)
        if not 0 <= weight_decay < math.inf:
            raise MinidlError(f"the weight decay must be a number of 0 or above, not {weight_decay}")
        variant = variant or self.variants[0]
        if variant not in self.variants:
            raise MinidlError(f"the variant {variant!r} of {self.kind} is unknown; use {' or '.join(self.variants)}")
        parameters, gc, wc = list(parameters), list(gc), list(wc)  # of iterators, too
        learned = set(map(id, parameters))
        if len(learned) < len(parameters):
            twice = next(p for i, p in enumerate(parameters) if any(p is other for other in parameters[:i]))
            raise MinidlError(f"{twice.name} is given twice, and would be updated twice in each step; give it once")
        for name, chosen in (("GC", gc), ("WC", wc)):
            for p in chosen:
                if id(p) not in learned:
                    raise MinidlError(
                        f"{name} is for {p.name}, which is not among the parameters to learn; add it there"
                    )
                if p.value[:1].size < 2:
                    raise MinidlError(
                        f"{name} is for {p.name}, whose filters are single numbers, each its own mean; leave it out"
                    )
        self.variant, self.kernels = variant, kernels
        # What changes from step to step lies on the device, where a recorded step finds it.
        self.alpha, self.steps = kernels.xp.full(1, learning_rate, np.float64), kernels.xp.zeros(1, np.int64)
        self.names = [p.name for p in parameters]
        self.tensors = [
            ParameterState(
                p.value,
                p.grads,
                tuple(kernels.xp.zeros_like(p.value) for _ in range(self.operation.MOMENTS)),
                weight_decay if p.decay else 0.0,
                gc=p.gc or any(p is other for other in gc),
                wc=p.wc or any(p is other for other in wc),
            )
            for p in parameters
        ]

    @property
    def operation(self) -> Any:
        """The update of all parameters, on the device."""
        return getattr(self.kernels, self.kind)

    @property
    def learning_rate(self) -> float:
        """α."""
        return float(self.alpha[0])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        _check_rate(value, zero=True)
        self.alpha[...] = value

    @property
    def step_count(self) -> int:
        """How many steps were made, t of Algorithm 3."""
        return int(self.steps[0])

    @step_count.setter
    def step_count(self, value: int) -> None:
        self.steps[...] = value

    def step(self) -> None:
        """Update every parameter from its gradients."""
        raise NotImplementedError

    def moments(self) -> dict[str, Array]:
        """Return the moments by "parameter's name.moment1" (and 2), for a checkpoint."""
        return {
            f"{name}.moment{i}": moment
            for name, tensor in zip(self.names, self.tensors, strict=True)
            for i, moment in enumerate(tensor.moments, 1)
        }


class SGD(Optimizer):
    """Algorithm 2: M = ψM + (1 − ψ)ΔW, W = W − αM; variant "dlib": M = ψM − αΔW, W = W + M.

    The steps of "dlib" are 1/(1 − ψ) times as large. momentum: ψ, 0 ≤ ψ < 1.
    """

    kind = "sgd"
    variants = ("paper", "dlib")

    def __init__(self, *args: Any, momentum: float = 0.9, **options: Any) -> None:
        super().__init__(*args, **options)
        if not 0 <= momentum < 1:
            raise MinidlError(f"the momentum must be at least 0 and below 1, not {momentum}")
        self.momentum = momentum

    def step(self) -> None:
        """Update every parameter from its gradients."""
        self.operation.step(self.tensors, self.alpha, self.steps, self.momentum, self.variant)


class Adam(Optimizer):
    """Algorithm 3; variant "standard" is Kingma and Ba's and DLIB's, "as_printed" has ψ₂ in V̂ and ε in the root.

    betas: ψ₁ and ψ₂, 0 ≤ ψ < 1; epsilon: ε, 0 or above.
    """

    kind = "adam"
    variants = ("standard", "as_printed")

    def __init__(
        self,
        *args: Any,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        if not isinstance(betas, tuple | list) or len(betas) != 2 or not all(0 <= psi < 1 for psi in betas):
            raise MinidlError(f"the betas must be two numbers of at least 0 and below 1, not {betas}")
        if not 0 <= epsilon < math.inf:
            raise MinidlError(f"epsilon must be a number of at least 0, not {epsilon}")
        if self.variant == "as_printed" and betas[1] == 0:
            raise MinidlError("as_printed multiplies by the second of the betas, which must be above 0 and not 0")
        self.betas, self.epsilon = betas, epsilon

    def step(self) -> None:
        """Update every parameter from its gradients."""
        self.operation.step(self.tensors, self.alpha, self.steps, self.betas, self.epsilon, self.variant)


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "sgd": SGD}


def _check_rate(value: Any, zero: bool = False) -> None:
    """Raise MinidlError for what is no learning rate; zero: whether it may be 0, as in the middle of a training."""
    number = isinstance(value, int | float | np.number | np.ndarray)
    if not number or not 0 <= value < math.inf or (value == 0 and not zero):
        what = "of 0 or above" if zero else "above 0"
        raise MinidlError(f"the learning rate must be a number {what}, not {value}")


def stepped(learning_rate: float, epoch: int, every: int) -> float:
    """Return the learning rate of an epoch (counted from 1): it is multiplied by 0.1 after every ``every`` epochs."""
    return learning_rate * 0.1 ** ((epoch - 1) // every)
