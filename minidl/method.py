"""Methods as the paper's tables write them: "WC, GC, fully", "Baseline, BN", "error sample (EL)"."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from minidl.functions import name_of
from minidl.hooks import HookPoint, Reparametrization
from minidl.kernels import Kernels
from minidl.kernels.areas import area_view
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer, Shape
from minidl.layers import BatchNorm, DataNorm, FullyConnected, GroupNorm, InstanceNorm, LayerNorm
from minidl.normalizations import NORMALIZATIONS, Normalization
from minidl.registry import BASELINE, DATA_NORM_NAMES, FULLY
from minidl.words import check_known, meant

MODES = ("projection", "reparametrization")
ORDER = ("weights", "grads", "error")  # of the hook points in a method's canonical name
PLACES = ("hooks", "optimizer")  # where WC and GC are done: Algorithm 1, or Algorithms 2 and 3
DATA_NORMS: dict[str, type[DataNorm]] = dict(
    zip(DATA_NORM_NAMES, (BatchNorm, LayerNorm, InstanceNorm, GroupNorm), strict=True)
)


@dataclass(frozen=True)
class Method:
    """What is normalized: at most one normalization for each hook point and one for the data, and whether "fully".

    data_norm: a name of DATA_NORMS, or ""; fully: the penultimate fully connected layer is normalized too, not only
    the convolutions.
    """

    normalizations: tuple[Normalization, ...] = ()
    data_norm: str = ""
    fully: bool = False

    def norm(self) -> list[Layer]:
        """Return the layers between a convolution and its ReLU: a new layer that normalizes the data, or none."""
        return [DATA_NORMS[self.data_norm]()] if self.data_norm else []

    def canonical(self) -> "Method":
        """Return the method with its first names, in a fixed order: "gradient tensor, WC" becomes "WC, GC"."""
        first = {(n.point, n.area, n.function): n for n in reversed(NORMALIZATIONS.values())}
        named = [first[n.point, n.area, n.function] for n in self.normalizations]
        return replace(self, normalizations=tuple(sorted(named, key=lambda n: ORDER.index(n.point))))

    def __str__(self) -> str:
        names = [n.name for n in self.normalizations] or [BASELINE]
        return ", ".join([*names, *filter(None, [self.data_norm]), *([FULLY] if self.fully else [])])


def parse(text: str) -> Method:
    """Read a method as the paper's tables write it; case and text in parentheses do not matter.

    Raises MinidlError for a word that is not known, for two normalizations of one hook point or of the data, and for
    "fully" without a normalization.

    >>> print(parse("wc, gc, FULLY"))
    WC, GC, fully
    >>> print(parse("error channel (EB), BN").canonical())
    EB, BN
    """
    if not isinstance(text, str):
        raise MinidlError(f"a method is a text such as 'WC, GC, fully', not {text!r}")
    known = {name.lower(): normalization for name, normalization in NORMALIZATIONS.items()}
    chosen: dict[str, Normalization] = {}
    data_norm = ""
    fully = False
    for written in re.sub(r"\([^()]*\)", "", text).split(","):
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
        elif not word:
            raise MinidlError(f"the method {text!r} has a comma too many, or no word; write, for example, WC, GC")
        elif word.lower() != BASELINE.lower():
            names = [BASELINE, *NORMALIZATIONS, *DATA_NORMS, FULLY]
            raise MinidlError(
                f"the method {text!r} has the unknown word {word!r}{_meant(word, names)}; use words of: "
                f"{', '.join(names)}, or --import the file that defines your own"
            )
    if fully and not chosen:
        raise MinidlError(
            f"the method {text!r} says where (fully) but not what is normalized; write, for example, WC, GC, fully"
        )
    return Method(tuple(chosen.values()), data_norm, fully)


def _meant(word: str, names: list[str]) -> str:
    """Return a hint on an unknown word: known words without commas between them, or a similar one."""
    known, parts = {name.lower(): name for name in names}, word.lower().split()
    if parts and all(part in known for part in parts):
        return f" (did you mean {', '.join(known[part] for part in parts)}, with commas between?)"
    return meant(word, names)


def normalized_layers(root: Layer, fully: bool) -> list[Layer]:
    """Return the layers that a method normalizes: all with weights, except the fully connected ones and the last.

    These are all convolutions, and user-defined layers whose ``weights`` have at least two axes, the outputs first. The
    last layer with such weights makes the output and is never normalized. fully: also the penultimate FullyConnected.
    Raises MinidlError if there is none.
    """
    inner = [layer for layer in root.layers() if layer.has_filters][:-1]
    chosen = [layer for layer in inner if not isinstance(layer, FullyConnected)]
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
    check_known("mode", mode, MODES)


def check_place(place: str) -> None:
    """Raise MinidlError for a place that is not known."""
    check_known("place", place, PLACES)


def attach(method: Method, root: Layer, mode: str, kernels: Kernels, place: str = "hooks") -> None:
    """Hang the method's normalizations at the hook points of the layers that it normalizes.

    mode: "projection" (the weights themselves are overwritten) or "reparametrization" (see hooks.py). place: where WC
    and GC are done, "hooks" or "optimizer" (inside its update); other normalizations, and WC in reparametrization, are
    always hooks. Layers of the root normalize the data; it may have others than the method names. Raises MinidlError if
    the root lacks a data norm of the method, if the method has no layer to normalize, normalizes errors that no layer
    learns from or would replace another hook, if reparametrization lacks an adjoint, and if an area has single elements
    for any batch (see ``check_areas``).
    """
    check_mode(mode)
    check_place(place)
    if method.data_norm and not any(isinstance(layer, DATA_NORMS[method.data_norm]) for layer in root.layers()):
        raise MinidlError(
            f"the method {str(method)!r} names {method.data_norm}, but this net was made without such a layer; put "
            f"{DATA_NORMS[method.data_norm].__name__}() after its convolutions, or leave {method.data_norm} out"
        )
    layers = normalized_layers(root, method.fully)
    if method.normalizations and not layers:
        raise MinidlError(
            f"the method {str(method)!r} has nothing to normalize in this net, where every layer with weights is fully "
            "connected or makes the output; add the word fully or a convolution, or use Baseline"
        )
    for normalization in method.normalizations:
        hook = normalization.bind(kernels)
        reparametrized = hook.point == "weights" and mode == "reparametrization"
        if reparametrized:
            hook.require_adjoint()
        for layer in _passing_back(layers, root, method, hook) if hook.point == "error" else layers:
            point = layer.points[hook.point]
            if point.hook is not None:
                raise MinidlError(
                    f"the method's {hook} would take the place of the hook {name_of(point.hook)} at the {hook.point} "
                    f"of {layer.name}; leave one of them out"
                )
            if reparametrized:
                point.hook = Reparametrization(hook)
            elif place == "optimizer" and _is_centralization(hook):
                _place_in_update(hook, layer, point)
            else:
                point.hook = hook
    check_areas(root, samples=2)
    center_weights(layers)


def _passing_back(layers: Sequence[Layer], root: Layer, method: Method, hook: Normalization) -> list[Layer]:
    """Return those of the layers that pass an error back; raise MinidlError where no layer that learns gets one."""
    entrances, learning = set(root.entrances()), next(layer for layer in root.layers() if layer.parameters())
    found = [layer for layer in layers if layer not in entrances]
    if all(layer is learning for layer in found):
        raise MinidlError(
            f"the method {str(method)!r} would change nothing by {hook}, as no layer that learns gets an error from "
            f"{' or '.join(layer.name for layer in layers)} in this net; add a convolution, or leave {hook} out"
        )
    return found


def center_weights(layers: Iterable[Layer]) -> None:
    """Apply the WC of the update to weights that were made or changed since the last update."""
    for layer in layers:
        if layer.at_weights.in_update is not None:
            layer.at_weights.in_update(layer.weights.value)


def _is_centralization(normalization: Normalization) -> bool:
    """Return whether a normalization is that of Algorithms 2 and 3: it subtracts the mean of each filter."""
    return normalization.point != "error" and (normalization.area, normalization.function) == ("tensor", "center")


def _place_in_update(normalization: Normalization, layer: Layer, point: HookPoint) -> None:
    point.refusal = (
        f"{layer.name}'s {normalization} is done inside the update of the optimizer; build with "
        'place="hooks" to watch it, or to hang another hook there'
    )
    point.in_update = normalization
    if normalization.point == "weights":
        layer.weights.wc = True
    else:
        layer.weights.gc = True


def check_areas(root: Layer, samples: int) -> None:
    """Raise MinidlError for a layer in which a normalization would subtract each element from itself.

    samples: size of the smallest batch that will come; areas of errors may depend on it.
    """
    entrances = set(root.entrances())
    for layer in root.layers():
        if layer.weights is not None:
            _check_area(layer, layer.at_weights, layer.weights.value.shape, _or_not_fully(layer))
            _check_area(layer, layer.at_grads, layer.weights.value.shape, _or_not_fully(layer))
        if layer not in entrances:  # these pass no error back
            remedy = ", or larger batches" if samples == 1 else _or_not_fully(layer) or ", or larger images"
            _check_area(layer, layer.at_error, (samples, *layer.input_shape), remedy)


def _or_not_fully(layer: Layer) -> str:
    return ", or leave the word fully out" if isinstance(layer, FullyConnected) else ""


def _check_area(layer: Layer, point: HookPoint, shape: Shape, remedy: str) -> None:
    normalization = point.in_update or getattr(point.hook, "normalization", point.hook)
    if isinstance(normalization, Normalization):
        try:
            area_view(shape, normalization.area)
        except MinidlError as error:
            raise MinidlError(f"{layer.name} ({layer}) cannot have {normalization}: {error}{remedy}") from error
