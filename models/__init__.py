"""The nets of Figure 1, one a file."""

from importlib import import_module
from typing import Any

from minidl import kernels
from minidl.kernels.errors import MinidlError
from minidl.method import check_mode, check_place, parse
from minidl.net import Net

NAMES = ("a", "b", "b-cifar", "c", "d")  # b-cifar: net (b) with the stem for small images


def check_name(name: str) -> None:
    """Raise MinidlError for a model that is not known."""
    if name not in NAMES:
        raise MinidlError(f"the model {name!r} is unknown; use one of {', '.join(NAMES)}")


def check(name: str, method: str, mode: str, device: str, place: str = "hooks") -> None:
    """Raise MinidlError for a model, method, mode, device or place that ``build`` would refuse."""
    check_name(name)
    parse(method)
    check_mode(mode)
    check_place(place)
    kernels.load(device)


def best_method(name: str) -> str:
    """Return the method that the paper found best for a net."""
    return _module(name).METHOD


def per_pixel(name: str) -> bool:
    """Return whether a net labels every pixel of an image, or else the image as a whole."""
    return getattr(_module(name), "PER_PIXEL", False)


def build(
    name: str,
    *,
    method: str = "Baseline",
    classes: int = 10,
    shape: tuple[int, int, int] = (32, 32, 3),
    mode: str = "projection",
    place: str = "hooks",
    device: str = "auto",
    dtype: Any = "float32",
    seed: int = 0,
) -> Net:
    """Return net ``name`` of Figure 1, ready to train.

    method: a text as in the paper's tables, such as "WC, GC, fully"; shape: one image's (y, x, channels); mode:
    "projection" or "reparametrization"; place: of WC and GC, "hooks" or "optimizer", see ``Net``; device: "cpu", "gpu",
    "auto" or "reference", see ``kernels.load``; seed: of the random initial weights. Raises MinidlError for a name,
    method, mode, place or device that is not known, and for images too small for the net.
    """
    check(name, method, mode, device, place)
    if classes < 2:
        raise MinidlError(f"a net needs at least 2 classes, not {classes}")
    root = _module(name).net(classes, parse(method), *name.split("-")[1:])
    options: dict[str, Any] = {"method": method, "mode": mode, "place": place, "dtype": dtype, "seed": seed}
    return Net(root, shape, kernels.load(device), name=name, **options)


def _module(name: str) -> Any:
    check_name(name)
    return import_module(f"minidl.models.{name.split('-')[0]}")
