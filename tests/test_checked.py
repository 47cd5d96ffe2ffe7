"""Operations called by hand: arrays that do not keep to the contract are an error of one sentence, and do not change.

The calls are made from the contract itself: every operation, every array, on the reference, the CPU and the GPU.
"""

import inspect
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_type_hints

import numpy as np
import pytest
from conftest import load

from minidl.kernels.augment import Crops
from minidl.kernels.checked import CheckedOperations, Contract
from minidl.kernels.contract import Operations, declarations
from minidl.kernels.errors import MinidlError
from minidl.kernels.parameter_state import ParameterState
from minidl.kernels.running import Running
from minidl.layer import Layer
from minidl.layers import ReLU, Sequential
from minidl.net import Net
from minidl.optimizers import SGD, Adam, Optimizer

Array = Any
OPERATIONS = {protocol.__name__: name for name, protocol in get_type_hints(Operations).items()} | {
    "Plan": "convolution"
}
CALLS = [(protocol, name) for protocol, group in declarations.items() for name in group]
SIZES = "samples 2 y 5 x 4 channels 3 Y 7 X 6 in 3 out 4 height 3 width 2 outer 1 rows 6 inner 3 lanes 1 one 2 other 3"
WORDS = f"{SIZES} classes 4 images 4 epoch 400 size 2 stride 1".split()
EXTENTS: dict[str, Any] = dict(zip(WORDS[::2], map(int, WORDS[1::2]), strict=True))
EXTENTS |= {"*axes": (3, 5), "*rows": (3,), "*extents": (3, 4), "*others": (4, 2), "*one": (3, 4), "*other": (5, 2)}
SETTINGS = {"size": 2, "stride": 1, "epsilon": 1e-5, "divisor": 256.0, "betas": (0.9, 0.999)}
SETTINGS |= {"output": None, "scale": None}
TYPES = {"real": "float32", "integer": "int64", "host": "float64"}
REMEDIES = (
    r"(make it by kernels\.xp\.empty|convert it by (kernels\.array|numpy\.array\(kernels\.host\(mean\)\))"
    r"|give one of this shape, with at least .*)"
)
RECORDS: dict[str, Any] = {"crops": Crops, "running": lambda **arrays: Running(**arrays, window=100)}


class Call:
    """A call of an operation that keeps to its contract; ``arrays``: its arrays, of small numbers, by their labels."""

    def __init__(self, device: str, protocol: str, name: str) -> None:
        self.kernels, self.random = load(device), np.random.default_rng(0)
        own = getattr(self.kernels, OPERATIONS[protocol])
        if protocol == "Plan":
            own = self.plan = own.plan(own.Geometry((5, 4, 3), 4, (3, 2)))
        self.operation, extents = getattr(own, name), EXTENTS.copy()
        self.contract: Contract = self.operation.contract
        extents |= {"Y": 3, "X": 3} if protocol == "Plan" else {}
        extents |= {word: derive(extents) for word, derive in self.contract.where.items()}
        self.arrays: dict[str, Array] = {}
        for label, _, _, kind, axes in self.contract.places:
            shape = np.hstack([int(word) if word.isdigit() else extents[word] for word in axes]).astype(int)
            array = self.random.integers(0, 2, shape).astype(TYPES.get(kind, kind))
            self.arrays[label] = array if kind == "host" else self.kernels.xp.asarray(array)
        self.settings = SETTINGS | {word: choices[-1] for word, choices in self.contract.choices.items()}
        self.settings |= {"buffer": lambda _, shape, dtype: self.kernels.xp.empty(shape, dtype)}
        if protocol == "Augment":
            images = self.random.integers(0, 255, (4, 5, 4, 3)).astype(np.uint8)
            masks = images[..., 0].copy()
            self.settings |= (
                {"images": images} if name == "store" else {"images": own.store(images), "masks": own.store(masks)}
            )
        if protocol in ("Adam", "SGD"):
            zeros = [self.kernels.xp.zeros((3, 4), np.float32) for _ in range(4)]
            self.settings["parameters"] = [ParameterState(*zeros[:2], tuple(zeros[2 : 2 + own.MOMENTS]))]
        for taken in self.contract.takes:
            maker = next(one for one, its in declarations[protocol].items() if its["returns"] == taken)
            self.settings[taken] = Call(device, protocol, maker)()

    def __call__(self, **changed: Any) -> Any:
        """Call the operation, with other values for some of its arrays and settings."""
        given = self.settings | self.arrays | changed
        for record, make in RECORDS.items():
            inside = {label.partition(".")[2]: given[label] for label in self.arrays if label.startswith(f"{record}.")}
            given |= {record: make(**inside)} if inside else {}
        return self.operation(**{name: given[name] for name in self.contract.names if name in given})

    def content(self) -> list[bytes]:
        return [
            np.asarray(array if isinstance(array, np.ndarray) else array.get()).tobytes()
            for array in self.arrays.values()
        ]


def misfits(call: Call, fixed: bool) -> Iterator[tuple[str, Array]]:
    """Yield the label of each array, and something that the operation cannot take in its place.

    fixed: whether all extents but the number of samples are fixed, as in a plan.
    """
    axes_of_all = [word for place in call.contract.places for word in place.axes]
    free = {word for word in axes_of_all if axes_of_all.count(word) == 1 and not word.isdigit() and not fixed}
    if call.contract.where:
        free = {word for word in free if word[0] == "*"}
    for label, _, _, kind, axes in call.contract.places:
        array, xp = call.arrays[label], np if kind == "host" else call.kernels.xp
        yield label, None
        yield label, array.tolist()
        yield label, array[None]
        words = [word for word in axes for _ in range(len(EXTENTS[word]) if word[0] == "*" and word in EXTENTS else 1)]
        for axis, word in enumerate(words if len(words) == array.ndim else ["?"] * array.ndim):
            if word not in free:
                for extent in (0, array.shape[axis] + 1):
                    shape = (*array.shape[:axis], extent, *array.shape[axis + 1 :])
                    yield label, xp.zeros(shape, array.dtype)
        if kind != "host":
            yield label, xp.zeros(array.shape, np.complex64)
            yield label, xp.zeros(array.shape, np.float16)
            if sum(place.kind == kind for place in call.contract.places) > 1:
                yield label, xp.zeros(array.shape, np.float64 if array.dtype == np.float32 else np.float32)
        if array.size > 1:
            yield label, xp.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)[..., ::2]
        if isinstance(array, np.ndarray):
            yield label, np.ma.masked_array(array, np.ones(array.shape))
            unaligned = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
            if array.itemsize > 1:
                yield label, unaligned
            if label in call.contract.writes:
                read_only = array.copy()
                read_only.flags.writeable = False
                yield label, read_only


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize(("protocol", "name"), CALLS)
def test_an_array_that_does_not_fit_is_an_error_and_nothing_is_written(device: str, protocol: str, name: str) -> None:
    call = Call(device, protocol, name)
    call()
    before, tried = call.content(), 0
    for label, array in misfits(call, protocol == "Plan"):
        with pytest.raises(MinidlError, match=rf"^{call.operation.name}: \S+ must be an array of .*; {REMEDIES}$"):
            call(**{label: array})
        tried += 1
    assert call.content() == before
    assert tried >= 5 * len(call.arrays)


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize(("protocol", "name"), CALLS)
def test_written_memory_is_shared_with_no_other_array(device: str, protocol: str, name: str) -> None:
    call = Call(device, protocol, name)
    labels = [place.label for place in call.contract.places if place.kind != "host"]
    for written in labels:
        if written not in call.contract.writes:
            continue
        for other in labels:
            one, two = call.arrays[written], call.arrays[other]
            if other == written or one.dtype != two.dtype:
                continue
            start = -(-one.size // 16) * 16  # cuDNN needs addresses that are multiples of 16
            both = call.kernels.xp.zeros(start + two.size, one.dtype)
            apart = both[: one.size].reshape(one.shape), both[start:].reshape(two.shape)
            call(**dict(zip((written, other), apart, strict=True)))
            for shift in (0, 4 if call.contract.vectors else 1):  # 4: see test_a_gpu_refuses_what_cudnn_cannot_read
                if shift == 0 and other in call.contract.over and one.shape == two.shape:
                    call(**{written: apart[0], other: apart[0]})
                    continue
                if one.size > shift:
                    overlapping = both[: one.size].reshape(one.shape), both[shift : shift + two.size].reshape(two.shape)
                    with pytest.raises(MinidlError, match=f"^{call.operation.name}: .* shares memory with "):
                        call(**dict(zip((written, other), overlapping, strict=True)))


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize(
    ("protocol", "name"), [(protocol, name) for protocol, name in CALLS if declarations[protocol][name]["takes"]]
)
def test_a_result_that_an_adjoint_takes_is_one_for_the_same_arrays(device: str, protocol: str, name: str) -> None:
    call = Call(device, protocol, name)
    for taken in call.contract.takes:
        right = call.settings[taken]
        smaller = type(right)(*(part[..., :-1] for part in right)) if isinstance(right, tuple) else right[..., 1:]
        for wrong in (None, 3, smaller):
            with pytest.raises(
                MinidlError, match=f"^{call.operation.name}: {taken} must be what the operation before it"
            ):
                call(**{taken: wrong})


def test_operations_say_what_they_are() -> None:
    cpu = load("cpu")
    assert repr(cpu.relu) == "<checked operations of minidl.kernels.cpu.relu: forward, backward>"
    assert repr(cpu.relu.forward) == "<relu.forward(data, out), checked>"
    plan = Call("cpu", "Plan", "forward").plan
    assert repr(plan) == "<checked operations of ByBatch: forward, backward, comp_grads>"


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize("wrong", ["a list", "Fortran's order", "another type", "another shape", "no samples"])
def test_what_an_error_says_to_do_helps(device: str, wrong: str) -> None:
    call = Call(device, "FullyConnected", "forward")
    right = call.arrays["data"]
    data = {
        "a list": right.tolist(),
        "Fortran's order": right.T.copy().T,
        "another type": right.astype(int),
        "another shape": right[:, :-1].copy(),
        "no samples": right[:0],
    }[wrong]
    with pytest.raises(MinidlError) as error:
        call(data=data)
    if str(error.value).endswith("convert it by kernels.array"):
        assert wrong not in ("another shape", "no samples")
        call(data=call.kernels.array(data, np.float32))
    else:
        assert str(error.value).endswith("; give one of this shape, with at least 1 along each axis")


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize("wrong", ["a list", "one of the device", "every other number", "unaligned"])
@pytest.mark.parametrize("name", ["crop", "crop_with_masks"])
def test_what_an_error_says_about_an_array_of_the_host_helps(device: str, wrong: str, name: str) -> None:
    """On a GPU, kernels.array would bring it to the device, where it is not wanted."""
    call = Call(device, "Augment", name)
    right = call.arrays["mean"]
    mean = {
        "a list": right.tolist(),
        "one of the device": call.kernels.xp.asarray(right),
        "every other number": np.repeat(right, 2)[::2],
        "unaligned": np.frombuffer(b" " + right.tobytes(), np.uint8)[1:].view(right.dtype),
    }[wrong]
    if wrong == "one of the device" and device != "gpu":
        call(mean=mean)
        return
    with pytest.raises(MinidlError, match=r"; convert it by numpy\.array\(kernels\.host\(mean\)\)$"):
        call(mean=mean)
    call(mean=np.array(call.kernels.host(mean)))


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
def test_what_is_no_array_has_no_address(device: str) -> None:
    """A scalar of NumPy's and a Series of pandas' have flags as well."""
    series = SimpleNamespace(flags=SimpleNamespace(), dtype=np.dtype("f4"), shape=(2, 3), nbytes=24)
    for wrong in (np.float32(1), np.ones(6, np.float32)[1], series):
        with pytest.raises(MinidlError, match=r"data must be an array of .*, not") as error:
            Call(device, "FullyConnected", "forward")(data=wrong)
        assert "address" not in str(error.value)


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
def test_a_size_of_windows_is_a_whole_number(device: str) -> None:
    call = Call(device, "MaxPool", "inference")
    for wrong in (0, -1, 1.5, None, [2]):
        with pytest.raises(MinidlError, match=r"size of max_pool\.inference must be a whole number of at least 1"):
            call(size=wrong)


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize(("protocol", "name"), CALLS)
def test_a_record_is_left_out_only_where_it_may_be(device: str, protocol: str, name: str) -> None:
    call = Call(device, protocol, name)
    given = call.settings | call.arrays
    arguments = {name: given[name] for name in call.contract.names if name in given}
    for record in RECORDS.keys() & {*call.contract.names}:
        if record in call.contract.optional:
            call.operation(**arguments | {record: None})
        else:
            with pytest.raises(MinidlError, match=rf"^{call.operation.name}: {record}\.\S+ must be .*, not None;"):
                call.operation(**arguments | {record: None})


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize("protocol", ["Adam", "SGD"])
def test_parameters_are_a_list_of_them(device: str, protocol: str) -> None:
    """A generator would be at its end when they are updated."""
    call = Call(device, protocol, "step")
    right = call.settings["parameters"]
    for wrong in (iter(right), None, 3, [3], right[0]):
        with pytest.raises(MinidlError, match=r"step: parameters must be a list of ParameterState, not .*; make one"):
            call(parameters=wrong)
    call(parameters=tuple(right))


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize("name", ["crop", "crop_with_masks"])
def test_an_epoch_has_numbers_of_stored_images_only(device: str, name: str) -> None:
    """A kernel would read beyond the images, or beyond the end of the epoch."""
    call = Call(device, "Augment", name)
    xp, before = call.kernels.xp, call.content()
    for label, wrong, bound in (
        ("crops.order", -1, 4),
        ("crops.order", 4, 4),
        ("crops.position", -1, 399),
        ("crops.position", 399, 399),
    ):
        with pytest.raises(
            MinidlError, match=rf"augment.{name}: the numbers in {label} must be .* below {bound}, not .*{wrong};"
        ):
            call(**{label: xp.full(call.arrays[label].shape, wrong, np.int64)})
    for stored in call.contract.stored:
        for images in (None, 3, [], np.array(3), list, call.settings[stored]):
            fewer = {"classes": xp.zeros(3, np.int64)} if images is call.settings[stored] else {stored: images}
            if name == "crop" or stored in fewer:
                with pytest.raises(MinidlError, match=rf"augment.{name}: (classes|{stored}) must be "):
                    call(**fewer)
    assert call.content() == before
    call(**{"crops.order": xp.full(400, 3, np.int64), "crops.position": xp.full(1, 398, np.int64)})


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
def test_only_images_and_masks_of_bytes_are_stored(device: str) -> None:
    augment, one = load(device).augment, np.zeros((4, 3, 3), np.uint8)
    mixed = np.empty(2, object)
    mixed[:] = [one, one + 0.5]
    for wrong in (
        *(None, 3, [], one[:0], [one, one[..., 0]], [one[0, 0]], one[None] + 0.5, [one, one.tolist()], [[one]]),
        *(mixed, np.array(3), one[0, 0], np.zeros((2, 0, 3, 3), np.uint8)),
    ):
        with pytest.raises(
            MinidlError, match=r"augment\.store: images must be a NumPy array or a list of them, of uint8"
        ):
            augment.store(wrong)
    assert len(augment.store([one, one[:2]])) == 2
    assert len(augment.store(one)) == 4  # masks


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
def test_crops_take_what_store_returns(device: str) -> None:
    """A GPU would read beyond a picture: of a mask as an image, or of an image as a mask of other extents."""
    call = Call(device, "Augment", "crop_with_masks")
    augment, before, masks = call.kernels.augment, call.content(), np.zeros((4, 5, 4), np.uint8)
    images = masks[..., None].repeat(3, axis=-1)
    for name, wrong, message in (
        ("images", augment.store(masks), r"images must be what store returns for images \(y, x, 3\)"),
        ("masks", augment.store(images), r"masks must be what store returns for masks \(y, x\)"),
        ("masks", augment.store(masks[:3]), "masks must have the extents of the images"),
        ("masks", augment.store([*masks[:3], masks[3, :4]]), "masks must have the extents of the images"),
    ):
        with pytest.raises(MinidlError, match=message):
            call(**{name: wrong})
    if device == "gpu":
        for raw in (images, list(images), call.kernels.xp.asarray(images)):
            with pytest.raises(MinidlError, match="images must be what store returns"):
                call(images=raw)
    assert call.content() == before


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize(("protocol", "name"), CALLS)
def test_a_word_is_one_of_those_that_the_contract_lists(device: str, protocol: str, name: str) -> None:
    """Compared with one word alone, any other would be taken for its opposite."""
    call = Call(device, protocol, name)
    signature = inspect.signature(call.operation.function).parameters.values()
    assert {word.name for word in signature if word.annotation is str} == {*call.contract.choices}
    for word, choices in call.contract.choices.items():
        before = call.content()
        for wrong in ("papr", "", choices[0].upper(), 3, None, [choices[0]]):
            with pytest.raises(MinidlError, match=rf"^the {word} .* of {call.operation.name} is unknown.*; use "):
                call(**{word: wrong})
        assert call.content() == before
        for right in choices:
            call(**{word: right})


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_an_optimizer_knows_the_variants_of_its_operation(optimizer: type[Optimizer]) -> None:
    assert optimizer.variants == declarations[optimizer.__name__]["step"]["choices"]["variant"]


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
def test_an_algorithm_is_one_that_the_device_has(device: str) -> None:
    convolution = load(device).convolution
    for wrong in ("im2cl", 3, ["im2col"]):
        with pytest.raises(MinidlError, match=r"^the algorithm .* of a convolution is unknown.*; use "):
            convolution.plan(convolution.Geometry((5, 4, 3), 4, (3, 2)), wrong)


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
def test_a_copied_plan_is_checked_and_has_its_own_state(device: str) -> None:
    call = Call(device, "Plan", "forward")
    twin = deepcopy(call.plan)
    assert twin.unchecked is not call.plan.unchecked
    assert twin.forward.function.__self__ is twin.backward.function.__self__ is twin.unchecked
    twin.forward(*call.arrays.values())
    with pytest.raises(MinidlError, match=r"convolution\.forward: out must be"):
        twin.forward(*list(call.arrays.values())[:3], None)


class Pool(Layer):
    """A layer of one's own that keeps the operations with which it computes."""

    def infer_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        self.operations, self.pool = self.kernels.max_pool, self.kernels.max_pool.forward
        return shape[0] - 1, shape[1] - 1, shape[2]

    def compute_output(self, data: Array) -> Array:
        out = self.new_output(len(data))
        self.argmax = self.pool(data, 2, 1, out, self.buffer)
        return out

    def compute_error(self, error: Array) -> Array:
        out = self.new_error((len(error), *self.input_shape))
        self.operations.backward(error, 2, 1, self.argmax, out)
        self.kernels.max_pool.backward(error, 2, 1, self.argmax, out)
        return out


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
def test_a_copied_layer_of_ones_own_may_have_kept_its_operations(device: str) -> None:
    net = Net(Sequential(Pool()), (6, 7, 11), load(device))  # a shape that no other test has
    twin = deepcopy(net)
    data = twin.kernels.array(np.random.default_rng(0).standard_normal((5, 6, 7, 11)), np.float32)
    error = twin.root.backpropagate(twin.forward(data))
    net.forward(data)
    np.testing.assert_array_equal(
        load(device).host(error), load(device).host(net.root.backpropagate(net.forward(data)))
    )


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize("protocol", ["SGD", "Adam"])
def test_the_arrays_of_a_parameter_are_alike(device: str, protocol: str) -> None:
    call = Call(device, protocol, "step")
    xp, (right,) = call.kernels.xp, call.settings["parameters"]
    for shape, dtype in (((3, 5), "f4"), ((3, 4), "f8"), ((4, 3), "f4"), ((3, 8), "f4")):
        wrong = xp.zeros(shape, dtype) if shape != (3, 8) else xp.zeros(shape, dtype)[:, ::2]
        for changed in ({"weights": wrong}, {"grads": wrong}, {"moments": (*right.moments[:-1], wrong)}, {"grads": 3}):
            with pytest.raises(
                MinidlError, match="gradients and moments of a parameter must be arrays of one shape and"
            ):
                call(parameters=[right, replace(right, **changed)])
    assert not any(array.any() for array in (right.weights, right.grads, *right.moments))
    call()
    right.weights = xp.zeros((2, 4), "f4")
    with pytest.raises(MinidlError, match=r"not \w+ of float32 and shape \(3, 4\) beside weights of shape \(2, 4\)"):
        call()


@pytest.mark.parametrize("protocol", ["Plan", "FullyConnected"])
@pytest.mark.parametrize("name", ["forward", "backward", "comp_grads"])
def test_a_gpu_refuses_what_cudnn_cannot_read_and_takes_all_else(protocol: str, name: str) -> None:
    """A part of an array may begin anywhere; cuDNN reads vectors of 16 bytes."""
    call = Call("gpu", protocol, name)
    for label, array in call.arrays.items():
        memory = call.kernels.xp.zeros(array.size + 1, array.dtype)
        odd = memory[1:].reshape(array.shape)
        with pytest.raises(MinidlError, match=rf"{label} must be .*, at an address that is no multiple of 16; \w+ it"):
            call(**{label: odd})
        call(**{label: call.kernels.array(odd, odd.dtype)})
    part = call.kernels.xp.ones(9, np.float32)[1:]
    call.kernels.relu.forward(part, part)


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
@pytest.mark.parametrize("protocol", ["SGD", "Adam"])
def test_a_parameter_has_all_its_moments_in_memory_of_their_own(device: str, protocol: str) -> None:
    call = Call(device, protocol, "step")
    xp, (right,) = call.kernels.xp, call.settings["parameters"]
    for moments in ((), (*right.moments, xp.zeros((3, 4), np.float32))):
        with pytest.raises(MinidlError, match=rf"says, {len(right.moments)}, and not {len(moments)}; make them by"):
            call(parameters=[replace(right, moments=moments)])
    for changed, wrong in (
        ({"grads": right.weights}, "weights shares memory with gradients"),
        ({"moments": (*right.moments[:-1], right.grads)}, "moment . shares memory with gradients"),
        ({"moments": (*right.moments[:-1], right.weights)}, "weights shares memory with moment"),
    ):
        with pytest.raises(MinidlError, match=f"step: {wrong}"):
            call(parameters=[replace(right, **changed)])


def test_a_gpu_updates_parameters_of_one_number_type() -> None:
    gpu = load("gpu")
    states = [ParameterState(*(gpu.xp.zeros(3, dtype) for _ in range(2)), (gpu.xp.zeros(3, dtype),)) for dtype in "fd"]
    with pytest.raises(MinidlError, match="of one number type, not of float32 and float64; make an optimizer for each"):
        gpu.sgd.step(states, gpu.xp.zeros(1), gpu.xp.zeros(1, np.int64), gpu.xp.zeros(1), "paper")


class Halves(Layer):
    """A layer of one's own that gives an operation the wrong half of its memory."""

    def infer_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def compute_output(self, data: Array) -> Array:
        out = self.kernels.xp.zeros(data.shape, data.dtype)
        self.kernels.relu.forward(data, out[: len(data) // 2])
        return out


@pytest.mark.parametrize("device", ["reference", "cpu", "gpu"])
def test_a_layer_of_ones_own_is_checked_and_those_of_minidl_take_no_time_for_it(device: str) -> None:
    own, relu = Halves(), ReLU()
    net = Net(Sequential(relu, own), (3,), load(device))
    assert isinstance(own.kernels.relu, CheckedOperations)
    assert not isinstance(relu.kernels.relu, CheckedOperations)
    with pytest.raises(MinidlError, match=r"relu\.forward: out must be an array of float32, of shape \(4, 3\)"):
        net.forward(np.ones((4, 3), np.float32))
