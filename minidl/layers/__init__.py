"""The layers, one a file."""

from minidl.layers.any_size import AnySize
from minidl.layers.average_pool import AveragePool, GlobalAveragePool
from minidl.layers.batch_norm import BatchNorm
from minidl.layers.concat import Concat
from minidl.layers.container import Container
from minidl.layers.convolution import Convolution
from minidl.layers.data_norm import DataNorm, GroupNorm, InstanceNorm, LayerNorm
from minidl.layers.flatten import Flatten
from minidl.layers.fully_connected import FullyConnected
from minidl.layers.max_pool import MaxPool
from minidl.layers.relu import ReLU
from minidl.layers.residual import Residual
from minidl.layers.resize import Resize
from minidl.layers.sequential import Sequential
from minidl.layers.transposed_convolution import TransposedConvolution

__all__ = [
    "AnySize",
    "AveragePool",
    "BatchNorm",
    "Concat",
    "Container",
    "Convolution",
    "DataNorm",
    "Flatten",
    "FullyConnected",
    "GlobalAveragePool",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "MaxPool",
    "ReLU",
    "Residual",
    "Resize",
    "Sequential",
    "TransposedConvolution",
]
