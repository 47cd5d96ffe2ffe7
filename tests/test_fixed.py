"""What is assigned where it would do nothing, or half of what it should, is refused at once, and nothing changes."""

from collections.abc import Callable
from copy import copy, deepcopy
from typing import Any

import numpy as np
import pytest

from minidl import MinidlError
from minidl.layer import Layer
from minidl.layers import (
    BatchNorm,
    Convolution,
    Flatten,
    FullyConnected,
    LayerNorm,
    MaxPool,
    ReLU,
    Residual,
    Sequential,
)
from minidl.losses import SoftmaxCrossEntropy
from minidl.net import Net
from minidl.optimizers import SGD, Adam
from minidl.parameter import Parameter

SHAPE = (4, 4, 3)
DATA = np.random.default_rng(0).standard_normal((2, *SHAPE))
ONES = np.ones(3, np.float32)


def make(**options: Any) -> Net:
    layers = Convolution(4, 3), BatchNorm(), ReLU(), Flatten(), FullyConnected(3)
    return Net(Sequential(*layers), SHAPE, "cpu", **options)


@pytest.mark.parametrize("name", ["hook", "hooks"])
@pytest.mark.parametrize("layer", [lambda: Convolution(2, 3), ReLU, lambda: Residual(ReLU())])
def test_a_layer_has_no_hook_but_at_its_points(layer: Callable[[], Layer], name: str) -> None:
    with pytest.raises(
        MinidlError, match=r"^(conv|relu|add) has its hooks at three points; .* layer\.at_grads\.hook = sign$"
    ):
        setattr(layer(), name, np.sign)
    with pytest.raises(MinidlError, match=r"^this Net has its hooks at its layers; .*at_grads\.hook = sign$"):
        setattr(make(), name, np.sign)
    assert not hasattr(layer(), name)


@pytest.mark.parametrize("name", ["weights", "biases", "gamma", "beta"])
def test_a_layer_keeps_its_parameters(name: str) -> None:
    """An optimizer would go on to learn the old one, which the net does not use any more."""
    net = make()
    layer = net.layers[name in ("gamma", "beta")]
    parameter = getattr(layer, name)
    other = Parameter(parameter.name, parameter.value.copy(), parameter.grads.copy(), decay=True)
    for wrong in (other, parameter.value, None):
        with pytest.raises(MinidlError, match=rf"^{name} of \w+ must be .*; copy into it by layer\.{name}\.value = "):
            setattr(layer, name, wrong)
    assert getattr(layer, name) is parameter
    with pytest.raises(MinidlError, match=rf"^{name} of \w+ must be a Parameter"):
        setattr(BatchNorm() if layer.kind == "bn" else Convolution(2, 3), name, ONES)


def test_a_container_keeps_its_layers() -> None:
    """Fused layers would compute for neighbours that they do not have any more."""
    net = make()
    with pytest.raises(MinidlError, match=r"^sequential keeps its layers; make another one, and a net of it$"):
        net.root.children = net.root.children[:2]
    assert len(net.root.children) == 5
    for part in (net.layers, net.parameters):
        assert isinstance(part, tuple)  # which nothing can be appended to


@pytest.mark.parametrize(
    "name", ["root", "shape", "kernels", "name", "method", "mode", "place", "dtype", "output_shape", "training"]
)
def test_a_net_stays_what_it_was_built_as(name: str) -> None:
    net = make(name="mine")
    before = getattr(net, name)
    fixed = rf"{name} of mine is fixed when it is built; .*\b{name}=…"
    with pytest.raises(MinidlError, match=rf"^({fixed}|mine is prepared for training by train\(\))"):
        setattr(net, name, "reparametrization")
    assert getattr(net, name) is before
    for twin in (deepcopy(net), deepcopy(make())):
        twin.eval()
        assert not twin.training


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_an_optimizer_keeps_its_other_settings(optimizer: type[SGD] | type[Adam]) -> None:
    one = optimizer(make().parameters, "cpu", 0.1)
    for name in ("variant", *(() if optimizer is SGD else ("betas", "epsilon"))):
        before = getattr(one, name)
        with pytest.raises(
            MinidlError, match=r"^this (SGD|Adam) changes nothing but its learning_rate, and as SGD its .*; make"
        ):
            setattr(one, name, 0.5)
        assert getattr(one, name) is before
    one.learning_rate = 0.01
    assert copy(one).learning_rate == 0.01


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (lambda: SGD(make().parameters, "cpu", 0.1), "lr"),
        (lambda: Adam(make().parameters, "cpu", 0.1), "weight_decay"),
        (lambda: make().parameters[0], "grad"),
        (lambda: SoftmaxCrossEntropy("cpu"), "ignore_index"),
        (lambda: Convolution(2, 3).at_grads, "hooks"),
    ],
)
def test_what_users_hold_has_no_other_names(thing: Callable[[], Any], name: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        setattr(thing(), name, 1)


READ_ONLY = ONES.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("value", "grads"),
    [
        ([1.0, 2.0], [0.0, 0.0]),
        (ONES, None),
        (ONES, np.zeros(4, np.float32)),
        (ONES, np.zeros(3)),
        (np.ones(3, int), np.zeros(3, int)),
        (np.ones(3, np.float16), np.zeros(3, np.float16)),
        (np.ones(3, ">f4"), np.zeros(3, ">f4")),
        (np.ones(6, np.float32)[::2], ONES),
        (np.asfortranarray(np.ones((3, 2))), np.zeros((3, 2))),
        (READ_ONLY, ONES),
        (ONES, ONES),
    ],
    ids=str,
)
def test_a_parameter_is_two_arrays_that_an_optimizer_can_go_through(value: Any, grads: Any) -> None:
    """Else the update would be written to a copy, or beyond the end, or fail in compiled code."""
    with pytest.raises(MinidlError, match=r"^mine and its gradients must be two arrays of one shape, .*; make them by"):
        Parameter("mine", value, grads, decay=True)


@pytest.mark.parametrize("layer", [Flatten, BatchNorm, lambda: Convolution(2, 3), lambda: Sequential(ReLU())])
def test_a_layer_in_no_net_says_so(layer: Callable[[], Layer]) -> None:
    one = layer()
    one.__class__ = type("Named", (type(one),), {"__str__": lambda self: f"of {self.output_shape}"})
    for use in (one.forward, one.backpropagate):
        with pytest.raises(MinidlError, match=r"is in no net yet and has no (kernels|output_shape); build a Net"):
            use(DATA)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("weigths", "weights"),
        ("weight", "weights"),
        ("bias", "biases"),
        ("at_grad", "at_grads"),
        ("trainig", "training"),
        ("traininf", "training"),
        ("weihts", "weights"),
    ],
)
def test_a_new_attribute_that_looks_like_a_misspelt_one_is_refused(wrong: str, right: str) -> None:
    layer = make().layers[0]
    with pytest.raises(MinidlError, match=rf"^conv1? has no {wrong}, .* \(did you mean {right}\?\)"):
        setattr(layer, wrong, ONES)
    assert not hasattr(layer, wrong)


def test_so_is_a_misspelt_attribute_of_a_net_but_no_other() -> None:
    net = make()
    for wrong, right in {"kernel": "kernels", "trainning": "training", "preprocesing": "preprocessing"}.items():
        with pytest.raises(MinidlError, match=rf"^this Net has no {wrong}, .* \(did you mean {right}\?\)"):
            setattr(net, wrong, 1)
    net._weigths = 2
    assert not hasattr(net, "kernel")


@pytest.mark.parametrize("part", [lambda net: net, *(lambda net, i=i: net.layers[i] for i in range(5))])
def test_other_attributes_are_free(part: Callable[[Net], Any]) -> None:
    net = make()
    free = "history colour input error grads kernel_sizes frozen_at place_name raw_weights output data2 layer parameter"
    for name in f"{free} point model modes loss1 loss2 names shapes trained freezer fused_by".split():
        setattr(part(net), name, 3)
        assert getattr(part(deepcopy(net)), name) == 3


def test_what_a_layer_sets_itself_is_not_made_up_by_the_user() -> None:
    """Or nothing would be compared with it."""
    layers = Convolution(4, 3), BatchNorm(), MaxPool(2, 2), LayerNorm(), Flatten(), FullyConnected(3)
    net = Net(Sequential(*layers), SHAPE, "cpu")
    net.backpropagate(net.forward(DATA))
    net.eval()
    net.predict(DATA)
    net.freeze()
    assert not [part for part in (net, net.root, *net.layers) if "_added" in vars(part)]
    with pytest.raises(MinidlError, match=r"has no ouput_shape, .* \(did you mean output_shape\?\)"):
        net.layers[0].ouput_shape = (3,)


def test_a_method_may_be_replaced_though_its_name_is_like_an_attribute() -> None:
    net = make()
    net.fuse = net.fuse  # as a spy does; beside net.fused
    assert "fuse" in vars(net)


def test_names_are_not_compared_with_private_ones() -> None:
    net = make()
    net._trainings = 3  # beside _training
    net._close_first_error = 3
    assert (net._trainings, net._close_first_error) == (3, 3)


def test_a_class_of_ones_own_may_have_attributes_of_any_name() -> None:
    class Mine(Convolution):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.weight = 1

        def compute_output(self, data: Any) -> Any:
            self.bias = self.weight
            return super().compute_output(data)

    net = Net(Sequential(Mine(), Flatten(), FullyConnected(3)), SHAPE, "cpu")
    net.forward(DATA)
    net.layers[0].filter = 3
    assert (net.layers[0].bias, net.layers[0].filter) == (1, 3)
