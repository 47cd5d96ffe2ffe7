"""A net with its hooks in PyTorch: the same training steps by PyTorch's layers, autograd and optimizers."""

import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch_module import Module
from torch_net import optimizer

from minidl.hooks import Reparametrization
from minidl.layers import TransposedConvolution
from minidl.pytorch import axes_of


class Mirror(Module):
    """A net of ours in PyTorch, with copies of its parameters, and an optimizer with the same settings."""

    def __init__(self, net, kind, settings):
        super().__init__(net)
        self.dtype, self.axes = getattr(torch, net.dtype.name), axes_of(net)
        arrays = {p.name: p.value for p in net.parameters} | net.running()
        state = {name: axes.there(net.kernels.host(arrays[axes.name])) for name, axes in self.axes.items()}
        self.to(self.dtype).load_state_dict({name: torch.tensor(array) for name, array in state.items()})
        self.values = dict(self.named_parameters())
        self.filters = {f"{layer.name}.weight": layer for layer in net.layers if layer.has_filters}
        self.optimizer = optimizer(list(self.values.values()), kind, **settings)

    def own(self, layer, module):
        """Normalize the error with respect to the layer's data where our layer does."""
        run, hook = super().own(layer, module), layer.at_error.hook

        def forward(x):
            if hook is None or not x.requires_grad:
                return run(x)
            x = x.view_as(x)  # others may read the data, too, and their errors are not normalized
            x.register_hook(lambda error: normalized(error, hook))
            return run(x)

        return forward

    def make_BatchNorm(self, layer):
        """Take running statistics as means of all batches, as ours are of the first hundred, and single elements."""
        run, module = super().make_BatchNorm(layer), getattr(self, layer.name)
        module.momentum = None

        def forward(x):
            if not module.training or x.numel() > x.shape[1]:
                return run(x)
            gamma, beta = (array.reshape(x.shape[1:]) for array in (module.weight, module.bias))
            return gamma * (x - x) + beta  # PyTorch refuses them

        return forward

    def make_InstanceNorm(self, layer):
        """Get errors in PyTorch's order: for channels-last ones of one sample, PyTorch 2.13 gives wrong gradients."""
        run = super().make_InstanceNorm(layer)

        def forward(x):
            out = run(x)
            if out.requires_grad:
                out.register_hook(torch.Tensor.contiguous)
            return out

        return forward

    def make_MaxPool(self, layer):
        """Take the first of equal elements column by column, as ours does; PyTorch goes row by row."""
        pool = super().make_MaxPool(layer)
        return lambda x: pool(x.mT.contiguous()).mT

    def step(self, data, labels):
        """Train on a batch; return output, loss and gradients, by name."""
        self.train()
        self.normalize(lambda layer: layer.at_weights.hook, lambda value: value)
        data = to_torch(data, self.dtype).requires_grad_()
        reparametrized = {
            name: normalized(self.values[name], layer.at_weights.hook.normalization, layer)
            for name, layer in self.filters.items()
            if isinstance(layer.at_weights.hook, Reparametrization)
        }
        output = functional_call(self, reparametrized, data)
        loss = cross_entropy(output, torch.tensor(labels), ignore_index=-1)
        self.optimizer.zero_grad()
        loss.backward()
        self.normalize(lambda layer: layer.at_grads.hook, lambda value: value.grad)
        outputs = {"loss": loss.detach().numpy(), "output": to_ours(output)}
        gradients = {"data": to_ours(data.grad)} | self.by_our_names({n: v.grad for n, v in self.values.items()})
        self.normalize(lambda layer: layer.at_grads.in_update, lambda value: value.grad)
        self.optimizer.step()
        self.normalize(lambda layer: layer.at_weights.in_update, lambda value: value)
        return outputs, gradients

    def predict(self, data):
        """Return the output at inference."""
        weights = {}
        for name, layer in self.filters.items():
            if hook := layer.at_weights.hook:
                weights[name] = normalized(self.values[name], getattr(hook, "normalization", hook), layer)
        self.eval()
        with torch.no_grad():
            return to_ours(functional_call(self, weights, to_torch(data, self.dtype)))

    def arrays(self):
        """Return parameters and running statistics by our names."""
        return self.by_our_names(self.state_dict())

    def by_our_names(self, tensors):
        """Return copies of tensors as our arrays."""
        return {self.axes[name].name: self.axes[name].back(value.numpy()).copy() for name, value in tensors.items()}

    @torch.no_grad()
    def normalize(self, hook_of, array_of):
        """Normalize weights or gradients in place, in the layers that have a normalization there."""
        for name, layer in self.filters.items():
            hook = hook_of(layer)
            if hook is not None and not isinstance(hook, Reparametrization):
                array = array_of(self.values[name])
                array.copy_(normalized(array, hook, layer))


def normalized(x, normalization, layer=None):
    """Return equations 1 to 4 and 8 to 11 of an error (samples, channels, …), or of the weights of a layer."""
    first, second = (1, 0) if isinstance(layer, TransposedConvolution) else (0, 1)
    own = {"global": (), "tensor": (first,), "sample": (first,), "channel": (second,), "instance": (first, second)}
    dims = [dim for dim in range(x.ndim) if dim not in own[normalization.area]]
    if normalization.function == "rescale":
        return x / (x.square().sum(dims, keepdim=True) + 1e-12).sqrt()
    centered = x - x.mean(dims, keepdim=True)
    if normalization.function == "center":
        return centered
    return centered / (centered.square().mean(dims, keepdim=True) + 1e-5).sqrt()


def to_torch(array, dtype):
    """Return images, channels last, as PyTorch has them."""
    return torch.tensor(array.transpose(0, 3, 1, 2)).to(dtype)


def to_ours(tensor):
    """Return rows or images of PyTorch as ours."""
    array = tensor.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
