"""The quantities of a trace as the report shows them, in the order of its sections; see minidl/study/trace.py."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """A quantity: its name in the cube, the question that it answers, and how it is computed and drawn."""

    name: str
    question: str
    formula: str
    unit: str = " %"
    log: bool = False


FEATURES = (
    Quantity(
        "alike",
        "How alike do different images look to a layer?",
        "Mean cosine between the outputs of different images, before the ReLU",
    ),
    Quantity("active", "How much of the output is above 0?", "Share of the outputs above 0"),
    Quantity("dead", "How many channels are dead?", "Share of the channels that are nowhere above 0 in the batch"),
)
REMOVED = (
    Quantity("w_taken", "How much of the weights does the hook remove?", "‖W − N(W)‖²/‖W‖²"),
    Quantity("g_taken", "How much of the gradient does the hook remove?", "‖G − N(G)‖²/‖G‖²"),
    Quantity(
        "e_taken",
        "How much of the error does the hook remove?",
        "‖E − N(E)‖²/‖E‖², of the error that the layer passes back",
    ),
    Quantity(
        "flips", "How many gradients change their sign?", "Share of the gradient's elements whose sign its hook changes"
    ),
    Quantity(
        "angle",
        "How far is the gradient turned?",
        "Angle to the gradient without hooks of gradients and errors, same weights and batch",
        "°",
    ),
    Quantity(
        "bias_angle", "… and that of the biases?", "The same angle for the biases, which no hook touches directly", "°"
    ),
)
OPTIMIZER = (
    Quantity("g_mean", "How much of the gradient is the filters' means?", "‖Ḡ‖²/‖G‖², before the hook"),
    Quantity("step_mean", "… and of the step that the optimizer makes of it?", "The same for Step = W(t + 1) − W(t)"),
    Quantity(
        "step_taken",
        "How much of the step does the next normalization take back?",
        "‖W(t + 1) − N(W(t + 1))‖²/‖Step‖²",
    ),
    Quantity("w_mean", "How much of the weights is the filters' means?", "‖W̄‖²/‖W‖², before the hook"),
)
SIZES = (
    Quantity(
        "out_std",
        "Does the signal keep its size on the way down the net?",
        "Standard deviation of the output, before the ReLU",
        "",
        True,
    ),
    Quantity(
        "e_norm",
        "… and the error on its way back up?",
        "‖E‖, of the error that the layer passes back, after its hook",
        "",
        True,
    ),
    Quantity("g_norm", "How large is the gradient?", "‖G‖, after its hook", "", True),
    Quantity("w_norm", "How large are the weights?", "‖W‖, after their hook", "", True),
    Quantity("step_ratio", "How large is a step relative to the weights?", "‖Step‖/‖W‖", " %", True),
)
