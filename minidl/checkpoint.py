"""Saves a training run and brings it back: one safetensors file, written whole or not at all.

The file holds, by name: ``net/NAME``, every parameter as inference uses it and the running statistics of BN; in
reparametrization also ``raw/NAME``, the weights that the optimizer moves; ``optimizer/NAME.moment1`` (and 2); and, as
text, what is needed to build the net again and the number of the last finished epoch.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minidl import models
from minidl.fold import fold
from minidl.kernels.errors import MinidlError
from minidl.method import BASELINE, parse
from minidl.net import Net
from minidl.optimizers import Optimizer

NAME = "checkpoint.safetensors"


def save(path: Path, net: Net, optimizer: Optimizer, epoch: int) -> None:
    """Write the net, its optimizer and the number of the last finished epoch."""
    arrays = {f"net/{name}": array for name, array in (net.effective_weights() | net.running()).items()}
    if net.mode == "reparametrization":
        arrays |= {f"raw/{p.name}": p.value for p in net.parameters}
    arrays |= {f"optimizer/{name}": array for name, array in optimizer.moments().items()}
    about = {
        "model": net.name,
        "classes": net.output_shape[-1],
        "shape": net.shape,
        "method": str(net.method),
        "mode": net.mode,
        "epoch": epoch,
        "time": optimizer.time,
    }
    part = path.with_suffix(".part")
    files = {name: np.ascontiguousarray(net.kernels.host(array)) for name, array in arrays.items()}
    save_file(files, part, {"minidl": json.dumps(about)})
    os.replace(part, path)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        with safe_open(path, framework="np") as file:
            about = json.loads((file.metadata() or {})["minidl"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except FileNotFoundError:
        raise MinidlError(f"there is no checkpoint {path}; give the folder of a run that saved one") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise MinidlError(f"{path} is not a checkpoint of minidl ({error}); use one that is") from error


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


def load(path: str | Path, device: str = "auto") -> Net:
    """Return the saved net, ready for inference: a plain net without hooks, with BN folded into its convolutions.

    path: the file, or the folder of the run that holds it. Raises MinidlError as ``resume`` does.
    """
    path = Path(path)
    arrays, about = _read(path / NAME if path.is_dir() else path)
    shape = tuple(about["shape"])
    data_norm = parse(about["method"]).data_norm or BASELINE
    net = models.build(about["model"], method=data_norm, classes=about["classes"], shape=shape, device=device)
    net.load(_under("net/", arrays))
    net.eval()
    fold(net.root)
    return net
