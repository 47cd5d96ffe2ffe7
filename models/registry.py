"""Models by their names: the nets of Figure 1, and user-defined ones, which are written in the same way."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from minidl.functions import check_arguments, is_defined_again
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.method import parse

Function = TypeVar("Function", bound=Callable[..., Layer])


@dataclass(frozen=True)
class Model:
    """A named net.

    layers: ``layers(classes, method)`` makes its layers; method: its default; per_pixel: whether each pixel of an image
    has a label, rather than the image as a whole.
    """

    layers: Callable[..., Layer]
    method: str = "Baseline"
    per_pixel: bool = False


MODELS: dict[str, Model] = {}


def model(name: str, method: str = "Baseline", per_pixel: bool = False) -> Callable[[Function], Function]:
    """Give the decorated function a name by which ``models.build`` and ``--model`` find the net that it makes.

    The function takes the number of classes and a Method, whose ``norm()`` goes between a convolution and its ReLU,
    and returns one layer, such as a Sequential, with an output for each class. method: the default of ``train.py``.
    per_pixel: whether the net labels every pixel, rather than the image as a whole. Raises MinidlError for a name that
    is taken, unless the function is defined again, as in a notebook, for an unknown method, and for a function that
    takes other arguments.

        @minidl.model("tiny", method="WC, fully")
        def tiny(classes, method):
            return Sequential(Flatten(), FullyConnected(9), ReLU(), FullyConnected(classes))
    """
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
        raise MinidlError(f"a model cannot be called {name!r}; use one word of letters, digits, _ and -")
    parse(method)

    def named(function: Function) -> Function:
        if name in MODELS and not is_defined_again(MODELS[name].layers, function):
            raise MinidlError(f"the name {name!r} is taken by another model; use another name")
        check_arguments(f"the model {name!r}", function, "(classes, method)")
        MODELS[name] = Model(function, method, per_pixel)
        return function

    return named
