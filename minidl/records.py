"""The folder of a run: what was set, what each epoch brought, the result and its curves."""

import csv
import io
import json
import os
import platform
import sys
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from minidl.kernels.errors import MinidlError
from minidl.kernels.threads import workers
from minidl.trainer import Epoch

CONFIG, LOG, RESULT = "config.json", "log.csv", "result.json"
CURVES, PREDICTIONS = "curves.png", "predictions.png"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(part, path)


def create_folder(folder: Path) -> None:
    """Create the folder of a new run; raise MinidlError where it cannot be written or holds a run already."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MinidlError(
            f"the run's folder {folder} cannot be written ({error.strerror}); give another with --out"
        ) from error
    if (folder / CONFIG).exists():
        raise MinidlError(f"{folder} holds a run already; go on with it by --resume {folder}, or give another --out")


def write_config(folder: Path, settings: dict[str, Any]) -> None:
    """Write every setting, and the versions and the machine that the run used."""
    versions = {name: version(name) for name in ("minidl", "numpy", "pillow", "safetensors", "matplotlib")}
    about = {
        "settings": settings,
        "versions": {"python": platform.python_version(), **versions},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "threads": workers()},
        "command": sys.argv,
    }
    write_whole(folder / CONFIG, json.dumps(about, indent=2) + "\n")


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of the run in a folder; raise MinidlError where there is none."""
    try:
        return json.loads((folder / CONFIG).read_text())["settings"]
    except FileNotFoundError:
        raise MinidlError(f"there is no run in {folder} ({CONFIG} is missing); give the folder of a run") from None
    except (ValueError, KeyError, OSError) as error:
        raise MinidlError(f"{folder / CONFIG} cannot be read ({error}); start the run anew") from error


def write_log(folder: Path, epochs: list[Epoch]) -> None:
    """Write one line for each epoch."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Epoch))
    for epoch in epochs:
        values = asdict(epoch)
        seconds = values.pop("seconds")
        writer.writerow([*values.values(), f"{seconds:.2f}"])
    write_whole(folder / LOG, text.getvalue())


def read_log(folder: Path) -> list[Epoch]:
    """Return the epochs of a run's log."""
    with open(folder / LOG, newline="") as file:
        return [
            Epoch(int(row.pop("epoch")), **{name: float(value) for name, value in row.items()})
            for row in csv.DictReader(file)
        ]


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write the run's result."""
    write_whole(folder / RESULT, json.dumps(result, indent=2) + "\n")


def draw_curves(folder: Path, epochs: list[Epoch], title: str) -> None:
    """Draw loss and accuracy over the epochs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for axis, quantity, scale in ((axes[0], "loss", 1), (axes[1], "accuracy", 100)):
        for part, style in (("train", "o--"), ("test", "o-")):
            shown = [epoch for epoch in epochs if part == "train" or epoch.tested]
            values = [scale * getattr(epoch, f"{part}_{quantity}") for epoch in shown]
            axis.plot([epoch.epoch for epoch in shown], values, style, markersize=3, label=part)
        axis.set(xlabel="epoch", ylabel=quantity + (", %" if scale == 100 else ""))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(title)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
    write_whole(folder / CURVES, picture.getvalue())
