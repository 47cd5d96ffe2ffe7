"""Checking: compare the gradients of layers, normalizations and nets with their definition, and list the results."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl import models
from minidl.context import Context
from minidl.experiment.cli.own_code import said
from minidl.gradcheck import (
    TOLERANCE,
    Check,
    GradientError,
    Report,
    Uncheckable,
    check_layer,
    check_net,
    check_normalization,
)
from minidl.hooks import Reparametrization
from minidl.kernels import Kernels, load
from minidl.kernels.areas import area_view
from minidl.kernels.arguments import check_kind
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import check_mode, parse
from minidl.normalizations import NORMALIZATIONS, Normalization
from minidl.registry import PROBE
from minidl.study.diagnosis import diagnose
from minidl.study.specimens import LAYERS, SHAPES, set_up
from minidl.words import meant

Array = Any
SAMPLES = 3
CLASSES = 4
SHAPE = (32, 32, 3)  # of the images on which a net is checked
HOOKED = ("conv 3×3", "transposed conv 3×3", "fc")  # hooks are tried on these if no layer is named
PAST = (
    "In projection the gradient does not pass the normalization, so a net with hooks has no true gradient. This is "
    "true and checked: the gradients at the weights as forward left them, before a hook at errors or gradients sees "
    "them. The gradient through a normalization of the weights is that of --mode reparametrization."
)
TRIED = f"minidl tried your own layer on {SAMPLES} random samples of each shape beside its name."


@dataclass(frozen=True)
class Row:
    """One gradient: its layer, what it is the gradient of, its relative error and, if it is wrong, an explanation."""

    layer: str
    of: str
    error: float
    explanation: str = ""

    @property
    def passed(self) -> bool:
        """Whether the gradient is right."""
        return not self.explanation


@dataclass
class Findings:
    """The checked gradients, notes, sentences on what was not checked, and user-defined layers that no data suited."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Row]:
        """The gradients that are wrong."""
        return [row for row in self.rows if not row.passed]


def find_layers(name: str, own: Sequence[type[Layer]] = ()) -> list[str]:
    """Return the specimens whose names begin with the words of ``name``; an x matches ×, too.

    own: user-defined layers, found by their kind or their class. Raises MinidlError if no specimen has this name.
    """
    check_kind("layer of check_layers", name, str, "give the name of a layer, or None for all")
    words = name.lower().replace("×", "x").split()
    found = [one for one in LAYERS if one.lower().replace("×", "x").split()[: len(words)] == words]
    found += [kind.__name__ for kind in own if name.lower() in (kind.kind.lower(), kind.__name__.lower())]
    if not found or not words:
        known = [*(kind.__name__ for kind in own), *LAYERS]
        hint = meant(name, [*known, *(one.split()[0] for one in LAYERS)])
        raise MinidlError(
            f"no layer is called {name!r}{hint}; the layers are {', '.join(known)}, or their first words, and those of "
            "your own in a file that you --import"
        )
    return found


def check_layers(
    layer: str | None,
    method: str | None,
    mode: str,
    kernels: Kernels | str,
    own: Sequence[type[Layer]] = (),
    progress: Callable[[Any], Any] = iter,
) -> Findings:
    """Check specimens of layers: those with this name, or all; with the hooks of a method, or without.

    Without a layer and a method, check the adjoint of every normalization, too. own: user-defined layers, each
    made without arguments and tried on data of all SHAPES; progress: wraps the iteration over the names of layers, like
    tqdm. Raises MinidlError for an unknown name, and if the named user-defined layer accepts none of the SHAPES.
    """
    check_mode(mode)
    kernels = load(kernels)
    chosen = parse(method) if method else None
    kinds = {kind.__name__: kind for kind in own}
    names = find_layers(layer, own) if layer else list(HOOKED) if chosen else [*LAYERS, *kinds]
    findings = Findings()
    if chosen and chosen.data_norm and not layer:
        names += find_layers(chosen.data_norm)
    elif chosen and chosen.data_norm and not {*find_layers(chosen.data_norm)} <= {*names}:
        findings.unchecked.append(f"{chosen.data_norm} of the method, which is a layer; name it by --layer")
    if chosen and chosen.fully:
        findings.unchecked.append("fully of the method, which is about the layers of a net; name one by --model")
    for name in progress(names):
        own_kind = kinds.get(name)
        specimens = _own_specimens(own_kind, kernels, findings) if own_kind else {name: _specimen(name, kernels)}
        if layer and not specimens:
            raise MinidlError("; ".join(findings.unchecked))
        for title, specimen in specimens.items():
            for normalization in chosen.normalizations if chosen else ():
                if not _hang(normalization.bind(kernels), specimen, mode, findings):
                    findings.unchecked.append(f"{title}: with {normalization}, as this layer has no weights")
            _add_layer(title, specimen, findings)
    if chosen:
        normalizations = list(chosen.normalizations)
        findings.notes += [PAST] if normalizations and mode == "projection" else []
    else:
        normalizations = [] if layer else list(NORMALIZATIONS.values())
    for normalization in normalizations:
        _add_adjoint(normalization, kernels, findings)
    return findings


def check_model(
    model: str, method: str | None, mode: str, kernels: Kernels | str, progress: Callable[[Any], Any] = iter
) -> Findings:
    """Check each parameter of a net under its loss, along one random direction; raises as ``models.build`` does.

    progress: wraps the iteration over the parameters, like tqdm.
    """
    kernels = load(kernels)
    options: dict[str, Any] = {"shape": SHAPE, "classes": CLASSES, "dtype": "float64", "device": kernels.device}
    net = models.build(model, method=method or models.best_method(model), mode=mode, **options)
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, (SAMPLES, *net.output_shape[:-1]))
    data = random.standard_normal((SAMPLES, *SHAPE))
    for p in net.parameters:
        if not p.decay:  # with zero biases, outputs that see only padding are at the kink of a ReLU
            p.value += net.kernels.xp.asarray(random.standard_normal(p.value.shape) / 10)
    findings = Findings()
    try:
        report = check_net(net, SoftmaxCrossEntropy(kernels), data, labels, random, math.inf, progress)
    except GradientError as error:
        findings.rows.append(Row(f"net ({model})", "", math.nan, str(error)))
        return findings
    for check in report:
        layer, _, parameter = check.name.partition(".")
        wrong = "the slope along a random direction differs; look at its elements: minidl gradcheck --layer"
        findings.rows.append(Row(layer, parameter, check.relative_error, "" if _passes(check) else wrong))
    findings.notes += [PAST] if net.method.normalizations and mode == "projection" else []
    findings.notes.append("Each parameter was checked along one random direction, and not element by element.")
    _add_rest(report, findings)
    return findings


def _specimen(name: str, kernels: Kernels) -> Layer:
    return set_up(*LAYERS[name], _context(kernels))


def _own_specimens(kind: type[Layer], kernels: Kernels, findings: Findings) -> dict[str, Layer]:
    """Return a user-defined layer for each of the SHAPES that it accepts, and why it refuses the others."""
    specimens: dict[str, Layer] = {}
    try:
        kind()
    except TypeError as error:
        findings.unchecked.append(f"{kind.__name__}: it cannot be made without arguments ({error}); give it defaults")
        return specimens
    for shape in SHAPES:
        try:
            specimens[f"{kind.__name__} {'×'.join(map(str, shape))}"] = set_up(kind, shape, _context(kernels))
        except Exception as error:  # user code may raise anything
            why = said(error)
            findings.unchecked.append(f"{kind.__name__}: data of shape {(SAMPLES, *shape)}, which it refuses ({why})")
    if not specimens:
        findings.untried.append(kind.__name__)
    if specimens and TRIED not in findings.notes:
        findings.notes.append(TRIED)
    return specimens


def _context(kernels: Kernels) -> Context:
    return Context(kernels, np.dtype(np.float64), np.random.default_rng(0))


def _hang(normalization: Normalization, root: Layer, mode: str, findings: Findings) -> bool:
    """Set a normalization as the hook of each layer with its hook point, unless its areas would be single elements.

    Return whether any layer has its hook point.
    """
    has_point = False
    for layer in root.layers():
        if normalization.point != "error" and layer.weights is None:
            continue
        has_point = True
        shape = (SAMPLES, *layer.input_shape) if normalization.point == "error" else layer.weights.value.shape
        try:
            area_view(shape, normalization.area)
        except MinidlError as error:
            findings.unchecked.append(f"{layer.name}: {normalization} there, as {error}")
            continue
        reparametrized = normalization.point == "weights" and mode == "reparametrization"
        layer.points[normalization.point].hook = Reparametrization(normalization) if reparametrized else normalization
    return has_point


def _add_layer(name: str, layer: Layer, findings: Findings) -> None:
    random = np.random.default_rng(1)
    data = random.standard_normal((SAMPLES, *layer.input_shape))
    try:
        report = check_layer(layer, data, random, math.inf)
    except GradientError as error:
        findings.rows.append(Row(name, "", math.nan, str(error)))
        return
    for check in report:
        of = "data" if check.name == "error" else check.name.removeprefix(f"{layer.name}.")
        findings.rows.append(_row(name, of, check, data))
    _add_rest(report, findings)


def _add_adjoint(normalization: Normalization, kernels: Kernels, findings: Findings) -> None:
    try:
        report = check_normalization(normalization, PROBE, np.random.default_rng(0), kernels, math.inf)
    except Uncheckable as error:
        findings.unchecked.append(str(error))
        return
    findings.rows += [_row(check.name, "adjoint", check) for check in report]


def _add_rest(report: Report, findings: Findings) -> None:
    """Add what a report leaves unchecked, except missing adjoints, which are listed once for each normalization."""
    findings.unchecked += [sentence for sentence in report.unchecked if "has no adjoint" not in sentence]


def _row(layer: str, of: str, check: Check, data: Array = None) -> Row:
    explanation = "" if _passes(check) else diagnose(check.computed, check.numeric, SAMPLES, data)
    return Row(layer, of, check.relative_error, explanation)


def _passes(check: Check) -> bool:
    return check.relative_error <= TOLERANCE


def grouped(sentences: Sequence[str]) -> Iterator[str]:
    """Yield each sentence once, with the names of all its layers."""
    names: dict[str, list[str]] = {}
    for sentence in sentences:
        name, colon, rest = sentence.partition(": ")
        plain = not colon or " " in name
        names.setdefault(sentence if plain else rest, []).extend([] if plain else [name])
    for sentence, layers in names.items():
        yield f"{', '.join(dict.fromkeys(layers))}: {sentence}" if layers else sentence
