"""SGD with momentum (Algorithm 2) and Adam (Algorithm 3), and the step schedule of their learning rates."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from minidl.fixed import read_only
from minidl.kernels import Kernels, load
from minidl.kernels.arguments import real, whole
from minidl.kernels.errors import MinidlError
from minidl.kernels.parameter_state import ParameterState
from minidl.parameter import Parameter, repeated
from minidl.words import check_known

Array = Any


ABOVE = "above 0", lambda x: x > 0
FROM = "of at least 0", lambda x: x >= 0
SHARE = "of at least 0 and below 1", lambda x: 0 <= x < 1
SETTLED = (
    "changes nothing but its learning_rate, and as SGD its momentum, since a recorded step has the other settings in "
    "it; make another optimizer, and copy moments() and step_count into it"
)


class Optimizer:
    """What SGD and Adam share; an optimizer of your own defines ``kind``, ``moment_count`` and ``step``.

    learning_rate: α > 0, which may be changed between steps. weight_decay: λ ≥ 0, coupled (L2): λW is added to
    the gradient after GC; biases do not decay. gc, wc: the parameters whose filters are centralized inside the update,
    the gradient before it (GC) and the weights after it (WC), as in Algorithms 2 and 3; hooks in the layers do the
    same. A net that was built with place="optimizer" has marked its parameters, so leave gc and wc out for them.
    """

    kind = ""
    variants: tuple[str, ...] = ("standard",)
    centralizes = False  # whether ``step`` does GC and WC where a state says so

    # Setting another name by mistake, such as "lr", is an error.
    __slots__ = ("_variant", "alpha", "kernels", "names", "states", "steps")
    variant: str = read_only(SETTLED, "_variant")

    def __init__(
        self,
        parameters: Iterable[Parameter],
        kernels: Kernels | str,
        learning_rate: float,
        weight_decay: float = 0.0,
        variant: str = "",
        gc: Iterable[Parameter] = (),
        wc: Iterable[Parameter] = (),
    ) -> None:
        kernels, learning_rate = load(kernels), real("the learning rate", learning_rate, *ABOVE)
        weight_decay = real("the weight decay", weight_decay, *FROM)
        variant = variant or self.variants[0]
        check_known("variant", variant, self.variants, of=f" of {self.kind}")
        parameters, gc, wc = _listed(parameters), _listed(gc), _listed(wc)
        learned = set(map(id, parameters))
        if twice := repeated(parameters):
            raise MinidlError(f"{twice.name} is given twice, and would be updated twice in each step; give it once")
        for name, chosen in (("GC", gc), ("WC", wc)):
            for p in chosen:
                if id(p) not in learned:
                    raise MinidlError(
                        f"{name} is for {p.name}, which is not among the parameters to learn; add it there"
                    )
                if p.value[:1].size < 2:
                    raise MinidlError(
                        f"{name} is for {p.name}, whose filters are single numbers, so that all become 0; leave it out"
                    )
        self._variant, self.kernels = variant, kernels
        # These change from step to step; they are on the device, so that a recorded step can read them.
        self.alpha, self.steps = kernels.xp.full(1, learning_rate, np.float64), kernels.xp.zeros(1, np.int64)
        self.names = [p.name for p in parameters]
        self.states = [
            ParameterState(
                p.value,
                p.grads,
                tuple(kernels.xp.zeros_like(p.value) for _ in range(self.moment_count)),
                weight_decay if p.decay else 0.0,
                gc=p.gc or any(p is other for other in gc),
                wc=p.wc or any(p is other for other in wc),
            )
            for p in parameters
        ]
        centralized = next((p for p, state in zip(parameters, self.states, strict=True) if state.gc or state.wc), None)
        if centralized and not self.centralizes:
            raise MinidlError(
                f"{self.kind} does not do GC and WC in its update, as {centralized.name} needs it; build the net with "
                'place="hooks" (--place hooks), or let step do both and set centralizes = True'
            )

    @property
    def operation(self) -> Any:
        """The update of all parameters, on the device."""
        return getattr(self.kernels.unchecked, self.kind)

    @property
    def moment_count(self) -> int:
        """How many moments each parameter has."""
        count: int = self.operation.MOMENTS
        return count

    @property
    def learning_rate(self) -> float:
        """α."""
        return float(self.alpha[0])

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.alpha[...] = real("the learning rate", value, *FROM)

    @property
    def step_count(self) -> int:
        """How many steps have been made, t of Algorithm 3."""
        return int(self.steps[0])

    @step_count.setter
    def step_count(self, value: int) -> None:
        self.steps[...] = whole("the step_count", value, 0)

    def step(self) -> None:
        """Update every parameter from its gradients."""
        raise NotImplementedError

    def moments(self) -> dict[str, Array]:
        """Return the moments by "parameter's name.moment1" (and 2), for a checkpoint.

        Raises MinidlError if two parameters have the same name, as those of two nets may.
        """
        if twice := [name for i, name in enumerate(self.names) if name in self.names[:i]]:
            raise MinidlError(
                f"two parameters of an optimizer are called {twice[0]}, and a file cannot tell their moments apart; "
                "give each net an optimizer of its own"
            )
        return {
            f"{name}.moment{i}": moment
            for name, state in zip(self.names, self.states, strict=True)
            for i, moment in enumerate(state.moments, 1)
        }


class SGD(Optimizer):
    """Algorithm 2: M = ψM + (1 − ψ)ΔW, W = W − αM; variant "dlib": M = ψM − αΔW, W = W + M.

    The steps of "dlib" are 1/(1 − ψ) times as large. momentum: ψ, 0 ≤ ψ < 1, which may be changed between steps.
    """

    kind = "sgd"
    centralizes = True
    variants = ("paper", "dlib")
    __slots__ = ("psi",)

    def __init__(self, *args: Any, momentum: float = 0.9, **options: Any) -> None:
        super().__init__(*args, **options)
        self.psi = self.kernels.xp.full(1, real("the momentum", momentum, *SHARE), np.float64)  # as alpha, see above

    @property
    def momentum(self) -> float:
        """ψ."""
        return float(self.psi[0])

    @momentum.setter
    def momentum(self, value: float) -> None:
        self.psi[...] = real("the momentum", value, *SHARE)

    @np.errstate(under="ignore")
    def step(self) -> None:
        """Update every parameter from its gradients."""
        self.operation.step(self.states, self.alpha, self.steps, self.psi, self.variant)


class Adam(Optimizer):
    """Algorithm 3; variant "standard" is Kingma and Ba's and DLIB's, "as_printed" has ψ₂ in V̂ and ε in the root.

    betas: ψ₁ and ψ₂, 0 ≤ ψ < 1; epsilon: ε, 0 or above.
    """

    kind = "adam"
    centralizes = True
    variants = ("standard", "as_printed")
    __slots__ = ("_betas", "_epsilon")
    betas: tuple[float, float] = read_only(SETTLED, "_betas")
    epsilon: float = read_only(SETTLED, "_epsilon")

    def __init__(
        self,
        *args: Any,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise MinidlError(f"the betas must be two numbers {SHARE[0]}, not {betas!r}")
        names = "the first of the betas", "the second of the betas"
        self._betas = real(names[0], betas[0], *SHARE), real(names[1], betas[1], *SHARE)
        self._epsilon = real("epsilon", epsilon, *FROM)
        if self.variant == "as_printed" and self.betas[1] == 0:
            raise MinidlError("as_printed multiplies by the second of the betas, which must be above 0 and not 0")

    @np.errstate(under="ignore")
    def step(self) -> None:
        """Update every parameter from its gradients."""
        self.operation.step(self.states, self.alpha, self.steps, self.betas, self.epsilon, self.variant)


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "sgd": SGD}


def _listed(parameters: Iterable[Parameter]) -> list[Parameter]:
    """Return an iterable of parameters as a list; raise MinidlError for anything else."""
    found = list(parameters) if isinstance(parameters, Iterable) else [parameters]
    for p in found:
        if not isinstance(p, Parameter):
            raise MinidlError(
                f"an optimizer takes a list of parameters, such as net.parameters, not of {type(p).__name__}"
            )
    return found


def step_decay(learning_rate: float, epoch: int, every: int) -> float:
    """Return the learning rate of an epoch (counted from 1): it is multiplied by 0.1 after every ``every`` epochs."""
    done = whole("epoch of step_decay", epoch) - 1
    return learning_rate * 0.1 ** (done // whole("every of step_decay", every))
