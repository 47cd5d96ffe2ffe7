"""The layers, one a file."""

from minidl.layers.convolution import Convolution
from minidl.layers.flatten import Flatten
from minidl.layers.fully_connected import FullyConnected
from minidl.layers.max_pool import MaxPool
from minidl.layers.relu import ReLU
from minidl.layers.sequential import Sequential

__all__ = ["Convolution", "Flatten", "FullyConnected", "MaxPool", "ReLU", "Sequential"]
