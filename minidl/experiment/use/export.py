"""Exports: a saved net as a file that other programs read, without pickle.

The two kinds of safetensors have a description in JSON as their metadata ``minidl``: the model, its classes, shape and
method, and how images are prepared; ``layout`` says whether names and axes are ours or PyTorch's, ``axes`` which
of our axes PyTorch's arrays have. An ONNX model has the same description, and BN folded into the layers before it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from minidl import __version__
from minidl.experiment.saving import checkpoint, formats
from minidl.experiment.saving.files import check_ending, write_whole
from minidl.kernels.errors import MinidlError
from minidl.net import Net
from minidl.onnx_model import onnx_model
from minidl.pytorch import axes_of
from minidl.words import check_known

FORMATS = ("safetensors", "pytorch", "onnx")
MODEL = "model.onnx"


def export(run: Path, kind: str, to: Path | None) -> tuple[Path, Net]:
    """Write the net of a run in one of FORMATS, and return where it is and the net.

    run: its folder, or its checkpoint; to: the file, by default in the run's folder NAME, as NAME.safetensors,
    NAME-pytorch.safetensors or model.onnx. Raises MinidlError, and writes nothing, for an
    unknown format, for a wrong ending, if there is no net, for a layer that cannot be exported, and if the file cannot
    be written.
    """
    check_known("format", kind, FORMATS)
    folder = run if run.is_dir() else run.parent
    endings = {"safetensors": ".safetensors", "pytorch": "-pytorch.safetensors"}
    path = to or folder / (MODEL if kind == "onnx" else folder.resolve().name + endings[kind])
    if (path.suffix == ".onnx") != (kind == "onnx") and path.suffix in (".onnx", ".safetensors"):
        raise MinidlError(f"{path} has another ending than the format {kind}; give --format, or another --to")
    check_ending(path, ".onnx" if kind == "onnx" else ".safetensors")
    if path.name == checkpoint.NAME:
        raise MinidlError(
            f"{path} has the name of a checkpoint, which the export would be taken for; give another --to"
        )
    net = checkpoint.load(run, "cpu", folded=kind == "onnx")
    description = describe(net, checkpoint.description(checkpoint.file_of(run)))
    write_whole(path, {"safetensors": ours, "pytorch": theirs, "onnx": model}[kind](net, description))
    return path, net


def describe(net: Net, description: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an exported file; description: that of its checkpoint."""
    kept = {name: description[name] for name in ("model", "classes", "shape", "method")}
    prepared = net.preprocessing and net.preprocessing.to_json()
    return {
        "format": formats.FORMAT,
        "minidl": __version__,
        **kept,
        "data_norm": net.method.data_norm,
        "preprocessing": prepared,
    }


def ours(net: Net, description: dict[str, Any]) -> bytes:
    """Return the net's arrays with our names and axes, as safetensors."""
    return _safetensors(arrays_of(net), description | {"layout": "minidl"})


def theirs(net: Net, description: dict[str, Any]) -> bytes:
    """Return the net's arrays with PyTorch's names and axes, as safetensors."""
    made, arrays = axes_of(net), arrays_of(net)
    axes = {name: {"name": a.name, "shape": a.shape, "view": a.view, "order": a.order} for name, a in made.items()}
    described = description | {"layout": "pytorch", "axes": axes}
    return _safetensors({name: a.there(arrays[a.name]) for name, a in made.items()}, described)


def model(net: Net, description: dict[str, Any]) -> bytes:
    """Return the net as an ONNX model."""
    return onnx_model(net, {"minidl": json.dumps(description)}, __version__)


def arrays_of(net: Net) -> dict[str, Any]:
    """Return all learned arrays of a net, by name, as inference uses them."""
    return {name: net.kernels.host(array) for name, array in (net.effective_weights() | net.running()).items()}


def _safetensors(arrays: dict[str, Any], description: dict[str, Any]) -> bytes:
    return save({name: np.asarray(a, order="C") for name, a in arrays.items()}, {"minidl": json.dumps(description)})
