"""A method as the paper's tables write it: "WC, GC, fully", "Baseline, BN", "error sample (EL)"."""

import re
from dataclasses import dataclass, replace

from minidl.hooks import HookPoint, Reparametrization
from minidl.kernels import Kernels
from minidl.kernels.areas import area_view
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer, Shape
from minidl.layers import BatchNorm, Convolution, DataNorm, FullyConnected, GroupNorm, InstanceNorm, LayerNorm
from minidl.normalizations import NORMALIZATIONS, Normalization

MODES = ("projection", "reparametrization")
FULLY = "fully"
BASELINE = "Baseline"
DATA_NORMS: dict[str, type[DataNorm]] = {"BN": BatchNorm, "LN": LayerNorm, "IN": InstanceNorm, "GN": GroupNorm}


@dataclass(frozen=True)
class Method:
    """What is normalized: at most one normalization for each hook point and one for the data, and whether "fully".

    data_norm: a name of DATA_NORMS, or ""; fully: the penultimate fully connected layer is normalized too, not the
    convolutions alone.
    """

    normalizations: tuple[Normalization, ...] = ()
    data_norm: str = ""
    fully: bool = False

    def norm(self) -> list[Layer]:
        """Return what a net puts between a convolution and its ReLU: a new layer that normalizes the data, or none."""
        return [DATA_NORMS[self.data_norm]()] if self.data_norm else []

    def canonical(self) -> "Method":
        """Return the method by the first names of what it does: "weight tensor" is WC."""
        first = {(n.point, n.area, n.function): n for n in reversed(NORMALIZATIONS.values())}
        return replace(self, normalizations=tuple(first[n.point, n.area, n.function] for n in self.normalizations))

    def __str__(self) -> str:
        names = [n.name for n in self.normalizations] or [BASELINE]
        return ", ".join([*names, *filter(None, [self.data_norm]), *([FULLY] if self.fully else [])])


def parse(text: str) -> Method:
    """Read a method as the paper's tables write it; upper and lower case and what stands in () do not matter.

    Raises MinidlError for a word that is not known, for two normalizations of one hook point or of the data, and for
    "fully" without a normalization.
    """
    known = {name.lower(): normalization for name, normalization in NORMALIZATIONS.items()}
    chosen: dict[str, Normalization] = {}
    data_norm = ""
    fully = False
    for written in re.sub(r"\(.*?\)", "", text).split(","):
        word = " ".join(written.split())
        if word.lower() == FULLY:
            fully = True
        elif word.upper() in DATA_NORMS:
            if data_norm not in ("", word.upper()):
                raise MinidlError(
                    f"the method {text!r} normalizes the data twice, by {data_norm} and {word.upper()}; leave one out"
                )
            data_norm = word.upper()
        elif word.lower() in known:
            normalization = known[word.lower()]
            other = chosen.setdefault(normalization.point, normalization)
            if other is not normalization:
                raise MinidlError(
                    f"the method {text!r} normalizes the {normalization.point} twice, by {other} and "
                    f"{normalization}; leave one out"
                )
        elif word.lower() != BASELINE.lower():
            names = ", ".join([BASELINE, *NORMALIZATIONS, *DATA_NORMS, FULLY])
            raise MinidlError(f"the method {text!r} has the unknown word {word!r}; use words of: {names}")
    if fully and not chosen:
        raise MinidlError(
            f"the method {text!r} says where (fully) but not what is normalized; write, for example, WC, GC, fully"
        )
    return Method(tuple(chosen.values()), data_norm, fully)


def normalized_layers(root: Layer, fully: bool) -> list[Layer]:
    """Return the layers that a method normalizes: all convolutions, and never the layer that makes the output.

    fully: the penultimate fully connected layer too. Raises MinidlError where there is none.
    """
    inner = [layer for layer in root.layers() if layer.weights is not None][:-1]
    chosen: list[Layer] = [layer for layer in inner if isinstance(layer, Convolution)]
    if fully:
        penultimate = [layer for layer in inner if isinstance(layer, FullyConnected)]
        if not penultimate:
            raise MinidlError(
                "this net has no fully connected layer but the one that makes the output, which is never "
                "normalized; leave the word fully out"
            )
        chosen.append(penultimate[-1])
    return chosen


def check_mode(mode: str) -> None:
    """Raise MinidlError for a mode that is not known."""
    if mode not in MODES:
        raise MinidlError(f"the mode {mode!r} is unknown; use {' or '.join(MODES)}")


def attach(method: Method, root: Layer, mode: str, kernels: Kernels) -> None:
    """Hang the method's normalizations at the hook points of the layers that they are for.

    mode: "projection" (the weights themselves are overwritten) or "reparametrization" (see hooks.py). Raises
    MinidlError where an area has single elements, whatever the batch (see ``check_areas``).
    """
    check_mode(mode)
    for layer in normalized_layers(root, method.fully):
        for normalization in method.normalizations:
            hook = normalization.bind(kernels)
            if normalization.point == "weights":
                reparametrize = mode == "reparametrization"
                layer.at_weights.hook = Reparametrization(hook) if reparametrize else hook
            elif normalization.point == "grads":
                layer.at_grads.hook = hook
            else:
                layer.at_error.hook = hook
    check_areas(root, samples=2)


def check_areas(root: Layer, samples: int) -> None:
    """Raise MinidlError for a layer in which a normalization would subtract each element from itself.

    samples: of the smallest batch that will come, which areas of errors may depend on.
    """
    for i, layer in enumerate(root.layers()):
        if layer.weights is not None:
            _check_area(layer, layer.at_weights, layer.weights.value.shape, _or_not_fully(layer))
            _check_area(layer, layer.at_grads, layer.weights.value.shape, _or_not_fully(layer))
        if i:  # the error that the first layer would give to its data, nobody needs
            remedy = ", or larger batches" if samples == 1 else _or_not_fully(layer) or ", or larger images"
            _check_area(layer, layer.at_error, (samples, *layer.input_shape), remedy)


def _or_not_fully(layer: Layer) -> str:
    return ", or leave the word fully out" if isinstance(layer, FullyConnected) else ""


def _check_area(layer: Layer, point: HookPoint, shape: Shape, remedy: str) -> None:
    normalization = getattr(point.hook, "normalization", point.hook)
    if isinstance(normalization, Normalization):
        try:
            area_view(shape, normalization.area)
        except MinidlError as error:
            raise MinidlError(f"{layer.name} ({layer}) cannot have {normalization}: {error}{remedy}") from error
