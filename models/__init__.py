"""The nets of Figure 1, each in its own file."""

from collections.abc import Mapping
from typing import Any

from minidl import kernels
from minidl.kernels.arguments import whole
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.method import check_mode, check_place, parse
from minidl.models import a, b, c, d  # noqa: F401  (each names its nets)
from minidl.models.registry import MODELS, Model
from minidl.net import Net
from minidl.words import check_known

NAMES = tuple(MODELS)  # of Figure 1


def check_name(name: str) -> None:
    """Raise MinidlError for a model that is not known."""
    _model(name)


def check(name: str, method: str, mode: str, device: str | kernels.Kernels, place: str = "hooks") -> None:
    """Raise MinidlError for a model, method, mode, device or place that ``build`` would refuse."""
    check_name(name)
    parse(method)
    check_mode(mode)
    check_place(place)
    kernels.load(device)


def best_method(name: str) -> str:
    """Return the method that the paper found best for a net."""
    return _model(name).method


def per_pixel(name: str) -> bool:
    """Return whether a net labels every pixel of an image, rather than the image as a whole."""
    return _model(name).per_pixel


def build(
    name: str,
    *,
    method: str = "Baseline",
    classes: int = 10,
    shape: tuple[int, int, int] = (32, 32, 3),
    mode: str = "projection",
    place: str = "hooks",
    device: str | kernels.Kernels = "auto",
    dtype: Any = "float32",
    seed: int = 0,
    saved: Mapping[str, tuple[int, ...]] | None = None,
) -> Net:
    """Return net ``name`` of Figure 1, or one that was named by ``minidl.model``, ready to train.

    method: a text as in the paper's tables, such as "WC, GC, fully"; shape: one image's (y, x, channels); mode:
    "projection" or "reparametrization"; place: of WC and GC, "hooks" or "optimizer", see ``Net``; device: "cpu", "gpu",
    "auto" or "reference", or the operations of one, see ``kernels.load``; seed: of the random initial weights; saved:
    the shapes of the arrays that will be loaded, see ``Net``. Raises MinidlError for an unknown name, method, mode,
    place or device, for an invalid number of classes or seed, for images too small for the net, and for a user-defined
    model without an output for each class.
    """
    check(name, method, mode, device, place)
    classes = whole("classes of build", classes, 2)
    root = _model(name).layers(classes, parse(method))
    if not isinstance(root, Layer):
        raise MinidlError(
            f"the model {name!r} returned {type(root).__name__}; let it return one layer, such as Sequential(...)"
        )
    operations = kernels.load(device)
    net = Net(
        root, shape, operations, name=name, method=method, mode=mode, place=place, dtype=dtype, seed=seed, saved=saved
    )
    last = "Convolution(classes, 1)" if per_pixel(name) else "FullyConnected(classes)"
    expected = (*(net.shape[:2] if per_pixel(name) else ()), classes)
    if net.output_shape != expected:
        raise MinidlError(
            f"the model {name!r} makes an output of shape {net.output_shape} of an image, and {expected} is needed for "
            f"{classes} classes; end it with {last}"
        )
    return net


def _model(name: str) -> Model:
    check_known("model", name, MODELS, more=", or --import the file that names it")
    return MODELS[name]
