"""The nets of Figure 1 in PyTorch, as the paper describes them, for benchmarks beside ours."""

import torch
from torch import nn


def net_c(classes: int) -> nn.Module:
    """Return net (c) for 32×32 images; see models/c.py."""
    layers: list[nn.Module] = []
    channels = 3
    for filters in (32, 64, 128):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels = filters
    layers += [nn.Flatten(), nn.Linear(2048, 512), nn.ReLU(), nn.Linear(512, classes)]
    return nn.Sequential(*layers)


NETS = {"c": net_c}


def build(name: str, classes: int, layout: str) -> nn.Module:
    """Return a net in a memory layout: "contiguous" (channels first) or "channels_last"."""
    torch.manual_seed(0)
    net = NETS[name](classes)
    if layout == "channels_last":
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def optimizer(kind: str, net: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe, in the fastest form that PyTorch has for the CPU."""
    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    if kind == "adam":
        return torch.optim.Adam(groups, lr=learning_rate, fused=True)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, dampening=0.9, fused=True)
