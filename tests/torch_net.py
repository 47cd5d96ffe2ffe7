"""Net (c) and its training step in PyTorch, with the parameters of our net, for the parity tests."""

import numpy as np
import torch


class TorchNet:
    """Net (c), with the hooks WC and GC on the layers that ``centralized`` names."""

    def __init__(self, net, centralized=()):
        self.centralized = set(centralized)
        self.values = {}
        self.last = net.shape[0] // 8  # side of the last feature map, in pixels
        for layer in net.layers:
            for p in layer.parameters():
                value = torch.tensor(p.value)
                if p.value.ndim == 4:
                    value = value.permute(0, 3, 1, 2).contiguous()
                if layer.name == "fc1" and p.value.ndim == 2:  # ours flattens (y, x, c), PyTorch (c, y, x)
                    value = (
                        value.reshape(-1, self.last, self.last, 128)
                        .permute(0, 3, 1, 2)
                        .reshape(len(value), -1)
                        .contiguous()
                    )
                self.values[p.name] = value.requires_grad_()

    def ours(self, name, value):
        """Return an array of PyTorch's layout in our layout."""
        if value.ndim == 4:
            value = value.permute(0, 2, 3, 1)
        elif name == "fc1.weights":
            value = value.reshape(-1, 128, self.last, self.last).permute(0, 2, 3, 1).reshape(len(value), -1)
        return value.detach().contiguous().numpy()

    def output(self, data):
        """Return the net's output for data in our layout."""
        x = torch.tensor(data).permute(0, 3, 1, 2)
        for i in range(1, 7):
            x = torch.conv2d(x, self.values[f"conv{i}.weights"], self.values[f"conv{i}.biases"], padding=1).relu()
            if i % 2 == 0:
                x = torch.max_pool2d(x, 2)
        x = torch.nn.functional.linear(x.flatten(1), self.values["fc1.weights"], self.values["fc1.biases"]).relu()
        return torch.nn.functional.linear(x, self.values["fc2.weights"], self.values["fc2.biases"])

    def centralize(self, of):
        """Subtract the mean of each filter (WC) or of each filter's gradient (GC)."""
        with torch.no_grad():
            for name, value in self.values.items():
                if name in self.centralized:
                    array = of(value)
                    array -= array.mean(dim=tuple(range(1, array.ndim)), keepdim=True)

    def backward(self, data, labels):
        """Run Algorithm 1 on a batch; return the loss."""
        self.centralize(lambda value: value)
        for value in self.values.values():
            value.grad = None
        loss = torch.nn.functional.cross_entropy(self.output(data), torch.tensor(labels))
        loss.backward()
        self.centralize(lambda value: value.grad)
        return loss.item()


def optimizer(values, kind, learning_rate, weight_decay, variant="paper", epsilon=1e-8):
    """Return PyTorch's SGD or Adam with our settings; SGD's dampening is Algorithm 2's 1 − ψ."""
    groups = [
        {"params": [v for v in values if v.ndim > 1], "weight_decay": weight_decay},
        {"params": [v for v in values if v.ndim == 1], "weight_decay": 0.0},
    ]
    if kind == "adam":
        return torch.optim.Adam(groups, lr=learning_rate, eps=epsilon)
    sgd = torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, dampening=0.9 if variant == "paper" else 0.0)
    for value in values:  # PyTorch would begin with M = ΔW, Algorithm 2 begins with M = 0
        sgd.state[value]["momentum_buffer"] = torch.zeros_like(value)
    return sgd


def relative(a, b):
    """Return ‖a − b‖/‖b‖."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
