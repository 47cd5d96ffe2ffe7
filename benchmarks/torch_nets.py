"""The nets of Figure 1 in PyTorch, as the paper describes them, for comparisons with ours."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def norm(bn: bool, filters: int) -> list[nn.Module]:
    """Return batch normalization, or nothing."""
    return [nn.BatchNorm2d(filters, eps=1e-4)] if bn else []


def net_a(classes: int, bn: bool) -> nn.Module:
    """Return net (a) for 32×32 images; see models/a.py."""
    layers: list[nn.Module] = []
    channels = 3
    for f in (32, 64, 128):
        layers += [nn.Conv2d(channels, f, 5, padding=2), *norm(bn, f), nn.ReLU(), nn.MaxPool2d(2)]
        channels = f
    layers += [nn.Flatten(), nn.Linear(2048, 256), nn.ReLU(), nn.Linear(256, classes)]
    return nn.Sequential(*layers)


def net_c(classes: int, bn: bool) -> nn.Module:
    """Return net (c) for 32×32 images; see models/c.py."""
    layers: list[nn.Module] = []
    channels = 3
    for f in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(channels, f, 3, padding=1), *norm(bn, f), nn.ReLU()]
            channels = f
        layers += [nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(2048, 512), nn.ReLU(), nn.Linear(512, classes)]
    return nn.Sequential(*layers)


class Add(nn.Module):
    """A residual connection with DLIB's extents: the larger one along each axis; missing elements count as zero."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Add both branches."""
        one, other = self.body(x), self.shortcut(x)
        if one.shape != other.shape:
            _, c, y, x_ = (max(extents) for extents in zip(one.shape, other.shape, strict=True))
            one, other = (
                functional.pad(t, (0, x_ - t.shape[3], 0, y - t.shape[2], 0, c - t.shape[1])) for t in (one, other)
            )
        return functional.relu(one + other)


def block(channels: int, f: int, bn: bool, down: bool = False) -> nn.Module:
    """Return a residual block; see models/b.py."""
    body = nn.Sequential(
        nn.Conv2d(channels, f, 3, stride=2 if down else 1, padding=0 if down else 1),
        *norm(bn, f),
        nn.ReLU(),
        nn.Conv2d(f, f, 3, padding=1),
        *norm(bn, f),
    )
    return Add(body, nn.AvgPool2d(2) if down else nn.Identity())


def net_b(classes: int, bn: bool, stem: str = "dlib") -> nn.Module:
    """Return net (b) for 32×32 images; see models/b.py."""
    first = nn.Conv2d(3, 64, 7, stride=2) if stem == "dlib" else nn.Conv2d(3, 64, 3, padding=1)
    layers: list[nn.Module] = [first, *norm(bn, 64), nn.ReLU()]
    channels = 64
    for f, count in zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True):
        for i in range(count):
            layers.append(block(channels, f, bn, down=f > 64 and i == 0))
            channels = f
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


class Beside(nn.Module):
    """A U connection: the data's channels, then the body's, resized to the data's height and width."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate the channels of both."""
        made = self.body(x)
        if made.shape[2:] != x.shape[2:]:
            made = functional.interpolate(made, x.shape[2:], mode="bilinear", align_corners=True)
        return torch.cat([x, made], 1)


def up(channels: int, f: int, bn: bool) -> list[nn.Module]:
    """Return a residual block that doubles height and width, and two that keep them; see models/d.py."""
    body = nn.Sequential(
        nn.ConvTranspose2d(channels, f, 3, stride=2),
        *norm(bn, f),
        nn.ReLU(),
        nn.Conv2d(f, f, 3, padding=1),
        *norm(bn, f),
    )
    return [Add(body, nn.ConvTranspose2d(channels, f, 2, stride=2)), block(f, f, bn), block(f, f, bn)]


def net_d(classes: int, bn: bool) -> nn.Module:
    """Return net (d) for 227×227 images; see models/d.py."""
    inner: list[nn.Module] = []
    for f, outer in ((512, 256), (256, 128), (128, 64)):
        down = [block(outer, f, bn, down=True), block(f, f, bn), block(f, f, bn)]
        inner = [Beside(nn.Sequential(*down, *inner, *up(f if f == 512 else 3 * f, f, bn)))]
    blocks = [block(64, 64, bn) for _ in range(3)]
    top = Beside(nn.Sequential(nn.MaxPool2d(3, 2), *blocks, *inner, *up(192, 64, bn)))
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, stride=2),
        *norm(bn, 64),
        nn.ReLU(),
        top,
        nn.ConvTranspose2d(128, 64, 7, stride=2),
        *norm(bn, 64),
        nn.ReLU(),
        nn.Conv2d(64, classes, 1),
    )


NETS: dict[str, Callable[..., nn.Module]] = {
    "a": net_a,
    "b": net_b,
    "b-cifar": lambda classes, bn: net_b(classes, bn, "cifar"),
    "c": net_c,
    "d": net_d,
}


def build(name: str, classes: int, bn: bool, layout: str) -> nn.Module:
    """Return a net in a memory layout: "contiguous" (channels first) or "channels_last"."""
    torch.manual_seed(0)
    net: Any = NETS[name](classes, bn)
    return net.to(memory_format=torch.channels_last) if layout == "channels_last" else net


def optimizer(kind: str, net: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe, in the fastest form that PyTorch has for the CPU."""
    groups = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in net.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    if kind == "adam":
        on_gpu = next(net.parameters()).is_cuda  # a CUDA graph can then capture the steps
        return torch.optim.Adam(groups, lr=learning_rate, fused=True, capturable=on_gpu)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, dampening=0.9, fused=True)
