"""The folder of a run: what was set, what each epoch brought, the result and its curves."""

import csv
import io
import json
import math
import os
import platform
import sys
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

from minidl import __version__
from minidl.experiment import formats, spreadsheet
from minidl.kernels.cpu.threads import workers
from minidl.kernels.errors import MinidlError
from minidl.experiment.trainer import Epoch

CONFIG, LOG, RESULT = "config.json", "log.csv", "result.json"
CURVES, PREDICTIONS = "curves.png", "predictions.png"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, text in UTF-8; raise MinidlError where it cannot be written."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(part, path)
    except OSError as error:
        raise MinidlError(
            f"{path} cannot be written ({error.strerror}); its folder must be there, writable and with room left"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def as_json(value: Any) -> str:
    """Return JSON, in which numbers that are infinite or none are null."""

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: finite(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [finite(part) for part in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(value), indent=2, allow_nan=False) + "\n"


def folder_for(settings: dict[str, Any]) -> Path:
    """Create the folder of a new run, the one that was asked for or one of its own under runs/, and return it.

    Raises MinidlError where it cannot be written or holds a run already.
    """
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{settings['model']}-{Path(settings['data']).name}"
    folder = Path(settings["out"] or Path("runs", name))
    try:
        if settings["out"]:
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = _new_folder(folder)
        probe = folder / ".part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MinidlError(
            f"the run's folder {folder} cannot be written ({error.strerror}); give another with --out"
        ) from error
    if (folder / CONFIG).exists():
        raise MinidlError(f"{folder} holds a run already; go on with it by --resume {folder}, or give another --out")
    return folder


def _new_folder(folder: Path) -> Path:
    """Create a folder that was not there: this one, or that with -2, -3 … after its name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        own = folder.with_name(f"{folder.name}-{number}") if number > 1 else folder
        with suppress(FileExistsError):  # another run has begun in the same second
            own.mkdir()
            break
    return own


def write_config(folder: Path, settings: dict[str, Any]) -> None:
    """Write every setting, and the versions and the machine that the run used."""
    packages = ("numpy", "pillow", "safetensors", "matplotlib")
    about = {
        "format": formats.FORMAT,
        "settings": settings,
        "versions": {"python": platform.python_version(), "minidl": __version__, **dict(map(_version, packages))},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "threads": workers()},
        "command": sys.argv,
    }
    write_whole(folder / CONFIG, as_json(about))


def _version(package: str) -> tuple[str, str | None]:
    try:
        return package, version(package)
    except PackageNotFoundError:
        return package, None


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of the run in a folder; raise MinidlError where there is none, or one of a later format."""
    try:
        about = json.loads((folder / CONFIG).read_text("utf-8-sig"))
        formats.check(folder / CONFIG, about)
        return {**about["settings"]}
    except (FileNotFoundError, NotADirectoryError):
        raise MinidlError(f"there is no run in {folder} ({CONFIG} is missing); give the folder of a run") from None
    except MinidlError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
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
    """Return the epochs of a run's log, none where there is no log yet.

    A spreadsheet may have saved it, as long as it says the same; otherwise raises MinidlError, which names the line.
    """
    path = folder / LOG
    if not path.exists():
        return []
    epochs: list[Epoch] = []
    for row in spreadsheet.read(path, [field.name for field in fields(Epoch)]):
        values = {name: row.number(name, blank_is_nan=name.startswith("test_")) for name in row.values}
        epoch = values.pop("epoch")
        if epoch != len(epochs) + 1:
            raise MinidlError(
                f"line {row.line} of {path} holds epoch {epoch:g} where epoch {len(epochs) + 1} is expected; put the "
                "log back as it was, or start a new run"
            )
        epochs.append(Epoch(int(epoch), **values))
    return epochs


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write the run's result."""
    write_whole(folder / RESULT, as_json(result))


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return the result of the run in a folder, or None where it has not finished."""
    try:
        return {**json.loads((folder / RESULT).read_text("utf-8-sig"))}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, OSError) as error:
        raise MinidlError(f"{folder / RESULT} cannot be read ({error}); delete it and run it again") from error


def draw_curves(folder: Path, epochs: list[Epoch], title: str) -> None:
    """Draw loss and accuracy over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, quantity, scale in ((axes[0], "loss", 1), (axes[1], "accuracy", 100)):
        for part, style in (("train", "o--"), ("test", "o-")):
            shown = [epoch for epoch in epochs if part == "train" or epoch.tested]
            values = [scale * getattr(epoch, f"{part}_{quantity}") for epoch in shown]
            axis.plot([epoch.epoch for epoch in shown], values, style, markersize=3, label=part)
        axis.set(xlabel="epoch", ylabel=quantity + (", %" if scale == 100 else ""))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend()
    # The title has the name of a folder, which is no formula, and whose bytes need not be text.
    figure.suptitle(title.encode(errors="replace").decode(), parse_math=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_whole(folder / CURVES, picture.getvalue())
