"""Saves a training run and brings it back: one safetensors file, written whole or not at all.

The file holds, by name: ``net/NAME``, every parameter as inference uses it and the running statistics of BN;
``raw/NAME``, the weights that the optimizer moves, where these are others; ``optimizer/NAME.moment1`` (and 2);
``run/NAME``, how far the run has come (see state.py); and, as text, what is needed to build the net again, how its data
are prepared, what it was trained on, and the number of the last finished epoch.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minidl import __version__, models
from minidl.experiment import formats
from minidl.experiment.files import whole
from minidl.experiment.fingerprint import Description
from minidl.fold import fold
from minidl.kernels.errors import MinidlError
from minidl.method import BASELINE, parse
from minidl.net import Net
from minidl.optimizers import Optimizer
from minidl.preprocessing import Preprocessing

NAME = "checkpoint.safetensors"
NEEDED = ("model", "classes", "shape", "method", "mode", "epoch", "time")  # of what is saved as text


def save(
    path: str | Path,
    net: Net,
    optimizer: Optimizer,
    epoch: int,
    data: Description | None = None,
    run: Mapping[str, Any] | None = None,
) -> None:
    """Write the net, its optimizer, the number of the last finished epoch, what describes the data set, and the run.

    run: arrays by name, see state.py. Raises MinidlError where the file cannot be written; the earlier one is still
    there then.
    """
    weights = net.effective_weights()
    arrays = {f"net/{name}": array for name, array in (weights | net.running()).items()}
    arrays |= {f"raw/{p.name}": p.value for p in net.parameters if weights[p.name] is not p.value}
    arrays |= {f"optimizer/{name}": array for name, array in optimizer.moments().items()}
    arrays |= {f"run/{name}": array for name, array in (run or {}).items()}
    about = {
        "format": formats.FORMAT,
        "minidl": __version__,
        "model": net.name,
        "classes": net.output_shape[-1],
        "shape": net.shape,
        "method": str(net.method),
        "data_norm": net.method.data_norm,
        "mode": net.mode,
        "epoch": epoch,
        "time": optimizer.time,
        "preprocessing": net.preprocessing and net.preprocessing.to_json(),
        "data": data,
    }
    files = {name: np.ascontiguousarray(net.kernels.host(array)) for name, array in arrays.items()}
    with whole(Path(path)) as part:
        try:
            save_file(files, part, {"minidl": json.dumps(about, allow_nan=False)})
            with safe_open(part, framework="np"):  # which sees whether the file is as long as it says
                pass
        except SafetensorError as error:  # in whose text the number of the system's error is
            number = re.search(r"os error (\d+)", str(error))
            raise (OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))) from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Open a checkpoint; return the file and what it says as text."""
    try:
        with safe_open(path, framework="np") as file:
            about = json.loads((file.metadata() or {})["minidl"])
            formats.check(path, about)
            if missing := [name for name in NEEDED if name not in about]:
                raise ValueError(f"it does not say its {missing[0]}")
            yield file, about
    except FileNotFoundError:
        raise MinidlError(f"there is no checkpoint {path}; give the folder of a run that saved one") from None
    except MinidlError:
        raise
    except (SafetensorError, KeyError, ValueError, AttributeError, OSError) as error:
        raise MinidlError(f"{path} is not a checkpoint of minidl ({error}); use one that is") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with _opened(path) as (file, about):
        return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118


def about(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says as text: its model, method, mode, shape, number of classes, preprocessing, data.

    Raises MinidlError where the file is missing or is no checkpoint.
    """
    with _opened(path) as (_, said):
        return said


def trained_on(path: Path) -> Description | None:
    """Return what describes the data set of a checkpoint, None for one of minidl 0.1.0, which did not save it.

    Raises MinidlError where the file is missing or is no checkpoint.
    """
    data: Description | None = about(path).get("data")
    return data


def _under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def resume(path: Path, net: Net, optimizer: Optimizer) -> int:
    """Bring a net and its optimizer to where they were saved; return the number of the last finished epoch.

    Raises MinidlError where the file is missing, is no checkpoint, or belongs to another net or optimizer.
    """
    arrays, about = _read(path)
    moments, saved = optimizer.moments(), _under("optimizer/", arrays)
    if moments.keys() != saved.keys():
        raise MinidlError(f"{path} was saved with another optimizer than {optimizer.kind}; use the one it had")
    net.load(_under("net/", arrays) | _under("raw/", arrays))
    for name, moment in moments.items():
        moment[...] = net.kernels.xp.asarray(saved[name])
    optimizer.time = about["time"]
    return about["epoch"]


def run_state(path: Path) -> dict[str, Any]:
    """Return how far the run of a checkpoint had come, by name, see state.py; empty where it does not say so.

    Raises MinidlError where the file is missing or is no checkpoint.
    """
    with _opened(path) as (file, _):
        return _under("run/", {name: file.get_tensor(name) for name in file.keys() if name.startswith("run/")})  # noqa: SIM118


def load(path: str | Path, device: str = "auto", net: Net | None = None) -> Net:
    """Return the saved net, ready for inference: a plain net without hooks, with BN folded into its convolutions.

    path: the file, or the folder of the run that holds it. What the run's method was need not be known any more. net:
    for a net of one's own, whose model has no name here: one with the same parameters, new and on any device; it
    becomes the saved net. Raises MinidlError as ``resume`` does.
    """
    path = Path(path)
    path = path / NAME if path.is_dir() else path
    arrays, about = _read(path)
    if net is None:
        if about["model"] not in models.MODELS:
            raise MinidlError(
                f"the net in {path} is of the model {about['model']!r}, which is unknown; import the file that names "
                "it, or build such a net and load into it by load(path, net=...)"
            )
        data_norm = about["data_norm"] if "data_norm" in about else parse(about["method"]).data_norm
        shape = tuple(about["shape"])
        net = models.build(
            about["model"], method=data_norm or BASELINE, classes=about["classes"], shape=shape, device=device
        )
    for point in net.hook_points:
        point.hook = None  # what was saved is normalized
    net.load(_under("net/", arrays))
    if prepared := about.get("preprocessing"):
        net.preprocessing = Preprocessing.from_json(prepared)
    net.eval()
    fold(net.root)
    return net
