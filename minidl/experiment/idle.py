"""Idle options: those that were given and change nothing in this run, which it says before it begins."""

from collections.abc import Iterator
from pathlib import Path

from minidl.experiment.settings import Settings
from minidl.layers import BatchNorm
from minidl.method import Method
from minidl.net import Net
from minidl.synchronized import hooks_of_a_batch


def idle(settings: Settings, net: Net, ranks: int) -> Iterator[str]:
    """Yield a sentence on each option that has no effect on the training of a net by so many ranks."""
    device, data = net.kernels.device, settings["data"]
    if settings["data_root"] and (data == "shapes" or Path(data).is_absolute()):  # paths are absolute by now
        yield f"--data-root has no effect: {data} is {'built in' if data == 'shapes' else 'a folder of its own'}."
    yield from idle_mode(settings["mode"], net.method)
    yield from idle_loops(settings["loops"], device)
    if settings["sync_bn"] and ranks == 1:
        yield "--sync-bn has no effect: there is only one rank."
    elif settings["sync_bn"] and not (hooks_of_a_batch(net) or any(isinstance(one, BatchNorm) for one in net.layers)):
        yield f"--sync-bn has no effect on the method {net.method}, which takes no means over a batch."


def idle_mode(mode: str, method: Method) -> Iterator[str]:
    """Yield a sentence if reparametrization was chosen and the method leaves the weights as they are."""
    if mode == "reparametrization" and not any(one.point == "weights" for one in method.normalizations):
        yield f"--mode reparametrization has no effect on the method {method}, which does not normalize weights."


def idle_loops(loops: str | None, device: str) -> Iterator[str]:
    """Yield a sentence if loops were chosen and the device, "cpu", "gpu" or "reference", has none."""
    if loops and device != "cpu":
        yield f"--loops {loops} has no effect: the loops are those of --device cpu, and this is {device}."
