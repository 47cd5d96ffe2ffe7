"""A net as a module of PyTorch's own layers, which loads an export by names: the client of the format pytorch."""

import torch
from torch import nn
from torch.nn import functional


class Module(nn.Module):
    """The layers of a net of ours under their names, with PyTorch's initial weights until a state is loaded."""

    def __init__(self, net):
        super().__init__()
        self.root = self.make(net.root)
        self.eval()

    def forward(self, x):
        return self.root(x)

    def own(self, layer, module):
        """Keep a module under the name of our layer."""
        self.add_module(layer.name, module)
        return module

    def make(self, layer):
        """Return a function from PyTorch's data to a layer's output."""
        return getattr(self, f"make_{type(layer).__name__}")(layer)

    def make_Sequential(self, layer):
        made = [self.make(child) for child in layer.children]

        def run(x):
            for one in made:
                x = one(x)
            return x

        return run

    def make_AnySize(self, layer):
        body = self.make(layer.body)

        def run(x):
            padded = [max(layer.least, n + (layer.least - n) % layer.step) for n in x.shape[2:]]
            made = body(functional.pad(x, missing(x, (x.shape[1], *padded))))
            return functional.pad(made, missing(made, (made.shape[1], *x.shape[2:])))

        return run

    def make_Convolution(self, layer):
        c = layer.weights.value.shape[-1]
        return self.own(layer, nn.Conv2d(c, layer.filters, layer.size, layer.stride, layer.padding))

    def make_TransposedConvolution(self, layer):
        c = layer.weights.value.shape[-1]
        return self.own(layer, nn.ConvTranspose2d(c, layer.filters, layer.size, layer.stride, layer.padding))

    def make_FullyConnected(self, layer):
        return self.own(layer, nn.Linear(layer.weights.value.shape[1], layer.outputs))

    def make_BatchNorm(self, layer):
        kind = nn.BatchNorm2d if len(layer.input_shape) == 3 else nn.BatchNorm1d
        return self.own(layer, kind(layer.input_shape[-1], eps=layer.epsilon))

    def make_LayerNorm(self, layer):
        return self.own(layer, nn.GroupNorm(1, layer.input_shape[-1], eps=layer.epsilon))

    def make_GroupNorm(self, layer):
        return self.own(layer, nn.GroupNorm(layer.groups, layer.input_shape[-1], eps=layer.epsilon))

    def make_InstanceNorm(self, layer):
        return self.own(layer, nn.InstanceNorm2d(layer.input_shape[-1], eps=layer.epsilon, affine=True))

    def make_ReLU(self, layer):
        return functional.relu

    def make_MaxPool(self, layer):
        return lambda x: functional.max_pool2d(x, layer.size, layer.stride)

    def make_AveragePool(self, layer):
        return lambda x: functional.avg_pool2d(x, layer.size, layer.stride)

    def make_Resize(self, layer):
        return lambda x: functional.interpolate(x, layer.size, mode="bilinear", align_corners=True)

    def make_GlobalAveragePool(self, layer):
        return lambda x: x.mean(dim=(2, 3))

    def make_Flatten(self, layer):
        return lambda x: x.flatten(1)

    def make_Residual(self, layer):
        body, *others = [self.make(child) for child in layer.children]
        shortcut = others[0] if others else lambda x: x

        def run(x):
            branches = body(x), shortcut(x)
            extents = [max(both) for both in zip(*(one.shape[1:] for one in branches), strict=True)]
            return sum(functional.pad(one, missing(one, extents)) for one in branches)

        return run

    def make_Concat(self, layer):
        body = self.make(layer.body)

        def run(x):
            made = functional.interpolate(body(x), x.shape[2:], mode="bilinear", align_corners=True)
            return torch.cat([x, made], 1)

        return run


def missing(x, extents):
    """Return how many elements a sample lacks to ``extents``, as PyTorch's ``pad`` takes them: the last axis first."""
    return [n for own, extent in zip(x.shape[:0:-1], reversed(extents), strict=True) for n in (0, extent - own)]
