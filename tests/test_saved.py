"""Saved nets of any origin: the whole description in a file is checked, and any mistake is an error of one sentence."""

import json
import os
import shutil
import struct
import time
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from minidl import checkpoint, models
from minidl.experiment.saving import saved
from minidl.experiment.use.export import export
from minidl.kernels.errors import MinidlError
from minidl.models.registry import MODELS
from minidl.optimizers import SGD, Adam
from minidl.parameter import Parameter
from minidl.preprocessing import Preprocessing

HUGE = [1_200_000, 1 << 62, 1 << 70, -1, 0, 1.5, True, "ten", None, [], {}, [[[]]], "x" * 20_000]
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make net (a) small; return the checkpoint of such a net with BN and reparametrization after a step of Adam."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "a", replace(MODELS["a"], layers=partial(MODELS["a"].layers, filters=(2, 2, 2))))
        yield write(tmp_path_factory.mktemp("made") / checkpoint.NAME)


@pytest.fixture
def run(made, tmp_path):
    """Return a copy of it, which a test may change."""
    return shutil.copy(made, tmp_path / checkpoint.NAME)


def write(path):
    """Write the checkpoint."""
    net = models.build(
        "a", method="WC, GC, BN, fully", mode="reparametrization", classes=3, shape=(8, 8, 3), device="cpu"
    )
    optimizer = Adam(net.parameters, net.kernels, 1e-3)
    net.backpropagate(np.ones_like(net.forward(np.random.default_rng(0).standard_normal((4, 8, 8, 3)))))
    optimizer.step()
    net.preprocessing = Preprocessing((1.0, 2.0, 3.0), 256.0, (8, 8), ("a", "b", "c"))
    part = {"images": 4, "fingerprint": "0f"}
    data = {"classes": ["a", "b", "c"], "train": part, "test": part}
    checkpoint.save(path, net, optimizer, 1, data)
    return path


def content(path):
    """Return the description in a file, and its arrays."""
    with safe_open(path, framework="np") as file:
        return json.loads(file.metadata()["minidl"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def rewritten(path, about=None, arrays=None):
    """Write a file again with other texts or arrays."""
    text, before = content(path)
    said = about if isinstance(about, str) else json.dumps(text if about is None else about)
    save_file(before if arrays is None else arrays, path, {"minidl": said})


def resumed(path):
    """Load what the fixture has saved, in both possible ways."""
    checkpoint.load(path, "cpu")
    net = models.build(
        "a", method="WC, GC, BN, fully", mode="reparametrization", classes=3, shape=(8, 8, 3), device="cpu"
    )
    optimizer = Adam(net.parameters, net.kernels, 1e-3)
    assert checkpoint.resume(path, net, optimizer) == 1
    return net, optimizer


def fields(value, place=()):
    """Yield the place of each value in a description."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in items:
        yield from fields(part, (*place, name))


def changed(value, place, into):
    """Return a copy of a description with another value at a place, or without it."""
    if not place:
        return into
    copy = value.copy()
    if into is Ellipsis and len(place) == 1:
        del copy[place[0]]
    else:
        copy[place[0]] = changed(value[place[0]], place[1:], into)
    return copy


def attempt(path):
    """Load a file, which succeeds or raises an error of one sentence."""
    try:
        checkpoint.load(path, "cpu")
        said = ""
    except MinidlError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1000


def test_mutated_files_load_or_are_an_error_of_one_sentence(run, random):
    """Each field of the description is changed in turn, and random bytes of the header and of the arrays."""
    about, _ = content(run)
    whole = run.read_bytes()
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    places = [place for place in fields(about) if place]
    started, tried = time.process_time(), 0
    for place in places:
        for into in random.choice(np.array([*HUGE, Ellipsis], dtype=object), 4, replace=False):
            rewritten_bytes(run, whole, header, json.dumps(changed(about, place, into)))
            attempt(run)
            tried += 1
    for limit in (header, len(whole)):
        for _ in range(100):
            damaged = bytearray(whole)
            for at in random.integers(0, limit, random.integers(1, 4)):
                damaged[at] = random.integers(0, 256)
            run.write_bytes(damaged)
            attempt(run)
            tried += 1
    assert tried > 300
    assert time.process_time() - started < 20  # seconds; it takes longer if something is read in quadratic time


def rewritten_bytes(path, whole, header, said):
    """Write a file with another description, without reading its arrays."""
    fields_of_header = json.loads(whole[8:header])
    fields_of_header["__metadata__"]["minidl"] = said
    text = json.dumps(fields_of_header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + whole[header:])


@pytest.mark.parametrize(
    "place, into, message",
    [
        (("classes",), 1_200_000, "it has 1200000 classes, and names for 3"),
        (("classes",), "three", "classes must be a whole number of at least 1, not three"),
        (("shape",), [8, 8], r"its net is for \[8, 8\], and its images are \[8, 8\]"),
        (("shape",), [1 << 20, 1 << 20, 3], "shape must be a shape, not"),
        (("mode",), "sideways", "mode must be one of 'projection', 'reparametrization', not sideways"),
        (("epoch",), -1, "epoch must be a whole number"),
        (("time",), ..., "it does not say its time"),
        (("data_norm",), "XN", "data_norm must be one of '', 'BN', 'LN', 'IN', 'GN', not XN"),
        (("preprocessing", "mean"), [1, 2], "preprocessing.mean must be three numbers"),
        (("preprocessing", "divisor"), 0, "preprocessing.divisor must be a number above 0"),
        (
            ("preprocessing", "fit"),
            "bend",
            "preprocessing.fit must be one of 'stretch', 'crop', 'pad', 'keep', not bend",
        ),
        (("preprocessing", "classes", 1), 7, "preprocessing.classes must be a list of a text"),
        (("data", "train"), {}, "it does not say its data.train.images"),
        (("model",), "e", "of the model 'e', which is unknown"),
    ],
)
def test_a_description_is_checked_field_by_field(run, place, into, message):
    about, _ = content(run)
    rewritten(run, changed(about, place, into))
    with pytest.raises(MinidlError, match=message):
        checkpoint.load(run, "cpu")


@pytest.mark.parametrize(
    "said, message",
    [
        (DEEP, "what it says of itself cannot be read"),
        ("{", "what it says of itself cannot be read"),
        ('{"classes": NaN}', "NaN is no number"),
        ('{"classes": %s}' % ("9" * 100_000), "a number of 100000 digits"),
        ("[]", "what it says of itself are no fields"),
    ],
)
def test_a_description_that_is_not_one(run, said, message):
    rewritten(run, said)
    with pytest.raises(MinidlError, match=message):
        checkpoint.load(run, "cpu")


def test_without_names_of_classes_a_wrong_number_takes_no_memory(run):
    about, _ = content(run)
    rewritten(run, about | {"classes": 1_200_000, "preprocessing": None})
    tracemalloc.start()
    with pytest.raises(MinidlError, match=r"the saved fc2.weights has shape \(3, 256\) where .* \(1200000, 256\)"):
        checkpoint.load(run, "cpu")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "name, array, message",
    [
        ("optimizer/conv1.weights.moment1", np.zeros(1, np.float32), "has not the shape of net/conv1.weights"),
        ("raw/conv1.biases", np.zeros(1, np.float32), "has not the shape of net/conv1.biases"),
        ("optimizer/conv1.weights", np.zeros(1, np.float32), "is no array that it should have"),
        ("elsewhere", np.zeros(1, np.float32), "elsewhere is no array that it should have"),
        ("net/conv1.biases", np.zeros(2, np.int32), "has elements of type I32, which minidl does not save"),
        ("net/bn1.updates", np.zeros(1, np.float32), "has elements of type F32"),
        ("net/bn1.variance", np.full(2, -1, np.float32), "net/bn1.variance has a negative element"),
        ("net/bn9.gamma", np.zeros(2, np.float32), "the saved net has bn9.gamma, which this net lacks"),
    ],
)
def test_arrays_are_checked_against_each_other(run, name, array, message):
    _, arrays = content(run)
    rewritten(run, arrays=arrays | {name: array})
    with pytest.raises(MinidlError, match=message):
        checkpoint.load(run, "cpu")


@pytest.mark.parametrize("kind, width", [("BF16", 2), ("F8_E4M3", 1)])
def test_types_that_numpy_lacks_are_refused(run, kind, width):
    header = {"net/a": {"dtype": kind, "shape": [2], "data_offsets": [0, 2 * width]}}
    about, _ = content(run)
    text = json.dumps(header | {"__metadata__": {"minidl": json.dumps(about)}}).encode()
    run.write_bytes(struct.pack("<Q", len(text)) + text + bytes(2 * width))
    with pytest.raises(MinidlError, match=f"net/a has elements of type {kind}"):
        checkpoint.load(run, "cpu")


def fifo(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def sparse(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


def long_header(path):
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")


def empty(path):
    path.touch()


def folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    "make, message",
    [
        (fifo, "not a file, but a folder, a pipe or a device"),
        (device, "not a file, but a folder, a pipe or a device"),
        (sparse, "1,099,511,627,776 bytes, more than"),
        (long_header, "but a safetensors file that is cut off or damaged"),
        (empty, "is not a checkpoint of minidl"),
        (folder, "not a file, but a folder"),
    ],
)
def test_files_of_other_formats_are_not_read(tmp_path, make, message):
    (tmp_path / "run").mkdir()
    make(tmp_path / "run" / checkpoint.NAME)
    with pytest.raises(MinidlError, match=message):
        checkpoint.load(tmp_path / "run", "cpu")


def test_a_saved_net_comes_back_unchanged(run):
    net, optimizer = resumed(run)
    _, arrays = content(run)
    for p in net.parameters:
        np.testing.assert_array_equal(p.value, arrays.get(f"raw/{p.name}", arrays[f"net/{p.name}"]))
    for name, moment in optimizer.moments().items():
        np.testing.assert_array_equal(moment, arrays[f"optimizer/{name}"])


def test_a_file_says_the_precision_whatever_its_arrays_are(tmp_path):
    """A user-defined layer may have a parameter in another one."""
    net = models.build("a", method="WC, GC", classes=3, shape=(8, 8, 3), device="cpu", dtype="float64")
    layer = net.layers[0]
    values, grads = np.zeros((2, 32), np.float32)
    vars(layer)["biases"] = Parameter(layer.biases.name, values, grads, decay=False)
    optimizer = SGD(net.parameters, net.kernels, learning_rate=0.1)
    checkpoint.save(tmp_path / checkpoint.NAME, net, optimizer, 1)
    assert checkpoint.resume(tmp_path / checkpoint.NAME, net, optimizer) == 1


def test_a_net_in_float64_comes_back_in_float64(tmp_path, random):
    """From any file; a net that is given keeps its own precision, and training can only continue in the same one."""

    def net_of(dtype):
        net = models.build("a", method="WC, GC, BN", classes=3, shape=(8, 8, 3), device="cpu", dtype=dtype)
        return net, Adam(net.parameters, net.kernels, 1e-3)

    net, optimizer = net_of("float64")
    data = random.standard_normal((4, 8, 8, 3))
    net.backpropagate(np.ones_like(net.forward(data)))
    optimizer.step()
    path = tmp_path / "run" / checkpoint.NAME
    path.parent.mkdir()
    checkpoint.save(path, net, optimizer, 1)
    expected = net.predict(data)
    for file in (path, *(export(path, kind, None)[0] for kind in ("safetensors", "pytorch"))):
        loaded = checkpoint.load(file, "cpu")
        assert loaded.dtype == np.float64
        np.testing.assert_allclose(loaded.predict(data), expected, rtol=1e-12, atol=1e-13)
    assert checkpoint.load(path, net=net_of("float32")[0]).dtype == np.float32
    with pytest.raises(
        MinidlError, match=r'was saved in float64, and this net computes in float32, .*dtype="float64"$'
    ):
        checkpoint.resume(path, *net_of("float32"))
    again, its_optimizer = net_of("float64")
    assert checkpoint.resume(path, again, its_optimizer) == 1
    for one, other in zip(net.parameters, again.parameters, strict=True):
        np.testing.assert_array_equal(one.value, other.value)


def test_a_net_that_has_diverged_still_loads(run):
    about, arrays = content(run)
    arrays["net/conv1.weights"][...] = np.inf
    arrays["net/bn1.variance"][0] = np.nan
    rewritten(run, about, arrays)
    assert not np.isfinite(checkpoint.load(run, "cpu").layers[0].weights.value).all()


@pytest.mark.parametrize(
    "change",
    [
        {"order": [0, 1, 2, 2]},
        {"order": [0, 1, 2]},
        {"view": [1, 1, 1, 1]},
        {"shape": [4, 4]},
        {"name": 3},
        {"view": "all"},
    ],
)
def test_axes_of_pytorch_are_checked(run, change):
    path, _ = export(run, "pytorch", run.with_name("net.safetensors"))
    about, _ = content(path)
    about["axes"]["conv1.weight"] |= change
    rewritten(path, about)
    with pytest.raises(MinidlError, match="is not a checkpoint of minidl"):
        checkpoint.load(path, "cpu")


def test_weights_alone_cannot_be_resumed(run):
    path, _ = export(run, "safetensors", run.with_name("net.safetensors"))
    net = models.build("a", method="BN", classes=3, shape=(8, 8, 3), device="cpu")
    with pytest.raises(MinidlError, match="has the weights of a net alone; begin with them by --init"):
        checkpoint.resume(path, net, Adam(net.parameters, net.kernels, 1e-3))


def test_the_schema_knows_all_that_is_saved(run):
    about, _ = content(run)
    known = {"format"} | saved.NET.keys() | saved.RESUMED.keys()
    assert about.keys() <= known
    assert about["preprocessing"].keys() == saved.PREPROCESSING.keys()
    assert about["data"].keys() == saved.DATA.keys()


def test_a_net_is_not_saved_in_place_of_a_pipe_or_under_an_impossible_name(tmp_path):
    """A new file replaces the one at its path, and would replace a device such as /dev/null as well."""
    path, link = tmp_path / "pipe", tmp_path / "link to the pipe"
    os.mkfifo(path)
    link.symlink_to(path)
    net = models.build("a", classes=2, shape=(8, 8, 3), device="cpu")
    optimizer = SGD(net.parameters, net.kernels, 0.1)
    for place in (path, link):
        with pytest.raises(MinidlError, match="pipe is not a file, but a pipe or a device, which a file would replace"):
            checkpoint.save(place, net, optimizer, 1)
        assert place.is_fifo()
    for name in ("a\0b", "x" * 300):
        with pytest.raises(MinidlError, match="cannot be written"):
            checkpoint.save(tmp_path / name, net, optimizer, 1)
    assert {*tmp_path.iterdir()} == {path, link}
