"""Checkpoint: save and restore a training run in one safetensors file, written completely or not at all.

The file holds, by name: ``net/NAME``, every parameter as inference uses it and the running statistics of BN;
``raw/NAME``, the weights that the optimizer moves, if these are different; ``optimizer/NAME.moment1`` (and 2);
``run/NAME``, how far the run has come (see state.py); and, as text, what is needed to build the net again, how its data
are prepared, what it was trained on, and the number of the last finished epoch.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minidl import __version__, models
from minidl.experiment.saving import formats, saved
from minidl.experiment.saving.files import whole
from minidl.experiment.saving.fingerprint import Description
from minidl.fold import fold
from minidl.kernels import arguments
from minidl.kernels.arguments import check_kind
from minidl.kernels.errors import MinidlError
from minidl.method import BASELINE, DATA_NORMS
from minidl.net import Net
from minidl.optimizers import Optimizer
from minidl.preprocessing import KEEP, Preprocessing

NAME = "checkpoint.safetensors"


def save(
    path: str | Path,
    net: Net,
    optimizer: Optimizer,
    epoch: int,
    data: Description | None = None,
    run: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write the net, its optimizer, the number of the last finished epoch, the description of the data, and the run.

    run: arrays by name, see state.py; settings: those of config.json, by which it is known what made the file. Raises
    MinidlError for an epoch that is no whole number of at least 0, for an optimizer of another net or of two, for a net
    whose BN was folded in part, or is none of its method, and where the file cannot be written; the earlier one is
    still there then.
    """
    check_kind("net of checkpoint.save", net, Net, "give the net, and after it its optimizer")
    check_kind("optimizer of checkpoint.save", optimizer, Optimizer, "give that of the net, such as SGD or Adam")
    file = arguments.path_of("path of checkpoint.save", path)
    epoch = arguments.whole("epoch of checkpoint.save, the last that has finished,", epoch, 0)
    if net.folded and (net.method.data_norm != "BN" or _data_norm(net)):
        raise MinidlError(
            f"{net.folded[0]} was folded into the layer before it when this net was loaded, and its model, which has "
            "that BN, could not be built again from a file; load it by checkpoint.load(path, folded=False) before you "
            "train and save it"
        )
    weights, own = net.effective_weights(), {id(p.value) for p in net.parameters}
    for name, state in zip(optimizer.names, optimizer.states, strict=True):
        if id(state.weights) not in own:
            raise MinidlError(
                f"the optimizer has a parameter {name} of shape {state.weights.shape}, which is not this net's; save a "
                "net together with the optimizer of its own parameters"
            )
    arrays = {f"net/{name}": array for name, array in (weights | net.running()).items()}
    arrays |= {f"raw/{p.name}": p.value for p in net.parameters if weights[p.name] is not p.value}
    arrays |= {f"optimizer/{name}": array for name, array in optimizer.moments().items()}
    arrays |= {f"run/{name}": array for name, array in (run or {}).items()}
    description = {
        "format": formats.FORMAT,
        "minidl": __version__,
        "model": net.name,
        "classes": net.output_shape[-1],
        "shape": net.shape,
        "method": str(net.method),
        "data_norm": _data_norm(net),
        "mode": net.mode,
        "dtype": str(net.dtype),
        "epoch": epoch,
        "time": optimizer.step_count,
        "preprocessing": net.preprocessing and net.preprocessing.to_json(),
        "data": data,
        "settings": settings,
        "choices": net.kernels.choices(),
    }
    files = {name: np.ascontiguousarray(net.kernels.host(array)) for name, array in arrays.items()}
    with whole(file) as part:
        try:
            save_file(files, part, {"minidl": json.dumps(description, allow_nan=False)})
            with safe_open(part, framework="np"):  # this checks that the file is complete
                pass
        except SafetensorError as error:  # its text has the number of the system's error
            number = re.search(r"os error (\d+)", str(error))
            raise (OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))) from error


def file_of(path: str | Path) -> Path:
    """Return the checkpoint in the folder of a run; return any other path unchanged."""
    path = Path(path)
    return path / NAME if path.is_dir() else path


def is_saved(path: Path) -> bool:
    """Return whether a path looks like that of a saved net: the folder of a run, or a safetensors file."""
    return file_of(path).suffix == Path(NAME).suffix and file_of(path).is_file()


def _data_norm(net: Net) -> str:
    """Return the data norm that the net still has: in a loaded net, BN is folded into its convolutions."""
    name = net.method.data_norm
    return name if name and any(isinstance(layer, DATA_NORMS[name]) for layer in net.layers) else ""


def description(path: Path) -> saved.NetDescription:
    """Return the texts of a checkpoint: its model, method, mode, shape, number of classes, preprocessing, data.

    Raises MinidlError where the file is missing or is no checkpoint.
    """
    return saved.read(path).description


def trained_on(path: Path) -> Description | None:
    """Return the description of a checkpoint's data set, None for one of minidl 0.1.0, which did not save it.

    Raises MinidlError where the file is missing or is no checkpoint.
    """
    data: Description | None = description(path).get("data")
    return data


def resume(path: Path, net: Net, optimizer: Optimizer) -> int:
    """Restore a net and its optimizer; return the number of the last finished epoch.

    Raises MinidlError where the file is missing, is no checkpoint, or belongs to another net or optimizer, or to one in
    another precision.
    """
    found = saved.read(path)
    if not found.is_checkpoint:
        raise MinidlError(f"{path} has the weights of a net alone; begin with them by --init, in a new run")
    if found.dtype != net.dtype:
        raise MinidlError(
            f"{path} was saved in {found.dtype}, and this net computes in {net.dtype}, in which it would not be the "
            f'same; build it with dtype="{found.dtype}"'
        )
    moments, earlier = optimizer.moments(), found.arrays("optimizer/")
    if moments.keys() != earlier.keys():
        raise MinidlError(f"{path} was saved with another optimizer than {optimizer.kind}; use the one it had")
    net.kernels.choose(found.description.get("choices", {}))
    net.load(found.net_arrays() | found.arrays("raw/"))
    for name, moment in moments.items():
        moment[...] = net.kernels.array(earlier[name], moment.dtype)
    optimizer.step_count = found.description["time"]
    epoch: int = found.description["epoch"]
    return epoch


def run_state(path: Path) -> dict[str, Any]:
    """Return the run's state in a checkpoint, by name, see state.py; empty if the checkpoint has none.

    Raises MinidlError where the file is missing or is no checkpoint.
    """
    return saved.read(path).arrays("run/")


def load(path: str | Path, device: str = "auto", net: Net | None = None, folded: bool = True) -> Net:
    """Return the saved net, ready for inference: a plain net without hooks, BN folded into its convolutions, frozen.

    It computes in float32 or float64, as it was saved.

    path: the folder of a run, its checkpoint, or weights that ``minidl export`` wrote, in either layout. The net knows
    how pictures are prepared and what its classes are called, see ``net.predict`` and ``net.classes``. What the run's
    method was need not be known any more. net: for a user-defined net, whose model has no name here: one with the same
    parameters, new, in any precision and on any device; it becomes the saved net. folded: whether BN is folded. Raises
    MinidlError where the file is missing, is no such file, or belongs to another net.
    """
    if net is not None:
        check_kind("net of checkpoint.load", net, Net, "give one with the same parameters, or none")
    found = saved.read(file_of(arguments.path_of("path of checkpoint.load", path)))
    net = _built(found, device) if net is None else net
    net.load(found.net_arrays())
    for point in net.hook_points:
        point.hook = None  # saved weights are already normalized
    if prepared := found.description.get("preprocessing"):
        kept = net.name in models.MODELS and models.per_pixel(net.name)  # earlier versions did not say the fit
        net.preprocessing = Preprocessing.from_json(({"fit": KEEP} if kept else {}) | prepared)
    net.eval()
    if folded:
        with np.errstate(all="ignore"):  # a net that has diverged can be loaded, too
            net.folded = fold(net.root)
    net.freeze()
    return net


def _built(found: saved.Saved, device: str) -> Net:
    """Return a new net as a file describes it, with the shapes that it has there."""
    description = found.description
    if not description["model"]:
        raise MinidlError(
            f"the net in {found.path} was built without a model that has a name; build such a net in a program, and "
            "load into it by checkpoint.load(path, net=...)"
        )
    if description["model"] not in models.MODELS:
        raise MinidlError(
            f"the net in {found.path} is of the model {description['model']!r}, which is unknown; --import the file "
            "that names it (in a program, import it, or load into such a net by checkpoint.load(path, net=...))"
        )
    shape, shapes = tuple(description["shape"]), found.net_shapes
    method = found.data_norm or BASELINE
    return models.build(
        description["model"],
        method=method,
        classes=description["classes"],
        shape=shape,
        device=device,
        dtype=found.dtype,
        saved=shapes,
    )
