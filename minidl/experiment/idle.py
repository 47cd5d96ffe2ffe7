"""Idle options: those that were given and change nothing in this run, which it says before it begins."""

from collections.abc import Iterator
from pathlib import Path

from minidl.experiment.settings import Settings
from minidl.net import Net


def idle(settings: Settings, net: Net, ranks: int) -> Iterator[str]:
    """Yield a sentence on each option that has no effect on the training of a net by so many ranks."""
    device, data = net.kernels.device, settings["data"]
    if settings["data_root"] and (data == "shapes" or Path(data).is_absolute()):  # paths are absolute by now
        yield f"--data-root has no effect: {data} is {'built in' if data == 'shapes' else 'a folder of its own'}."
    if settings["mode"] == "reparametrization" and not any(one.point == "weights" for one in net.method.normalizations):
        yield f"--mode reparametrization has no effect on the method {net.method}, which does not normalize weights."
    yield from idle_loops(settings["loops"], device)
    if settings["sync_bn"] and ranks == 1:
        yield "--sync-bn has no effect: there is only one rank."


def idle_loops(loops: str | None, device: str) -> Iterator[str]:
    """Yield a sentence if loops were chosen and the device, "cpu", "gpu" or "reference", has none."""
    if loops and device != "cpu":
        yield f"--loops {loops} has no effect: the loops are those of --device cpu, and this is {device}."
