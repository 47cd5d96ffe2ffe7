"""Every normalization of weights, errors and gradients by its name in the paper (Tables 1 and 2).

A name stands for a hook point of Algorithm 1, an area (kernels/areas.py) whose elements share one mean μ and one
deviation σ, and a transform of these elements (kernels/normalize.py):

    center        y = x − μ
    standardize   y = (x − μ)/√(σ² + ε)
    rescale       y = k·x/√(‖x‖² + ε)

How to name one of your own: registry.py, docs/your-own.md.
"""

from minidl.registry import NORMALIZATIONS, Normalization, normalization, register

__all__ = ["NORMALIZATIONS", "Normalization", "normalization", "register"]

register("WN", "weights", "tensor", "rescale")  # equation 1, k = 1
register("WC", "weights", "tensor", "center")  # equation 2
register("WS", "weights", "tensor", "standardize")  # equation 3
register("GC", "grads", "tensor", "center")  # equation 4
register("EBN", "error", "channel", "standardize")  # equation 8
register("ELN", "error", "sample", "standardize")  # equation 9
register("EB", "error", "channel", "center")  # equation 10
register("EL", "error", "sample", "center")  # equation 11

# Table 2: "weight global" to "error instance". A filter is the "tensor" of weights and gradients; errors have samples.
for _name, _point, _areas in (
    ("weight", "weights", ("global", "tensor", "channel", "instance")),
    ("gradient", "grads", ("global", "tensor", "channel", "instance")),
    ("error", "error", ("global", "sample", "channel", "instance")),
):
    for _area in _areas:
        register(f"{_name} {_area}", _point, _area, "center")
