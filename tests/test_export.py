"""Exports, read by the programs that they are for: onnx, onnxruntime, PyTorch, safetensors, and minidl itself.

The widths of the nets are small; the whole nets are compared by: pytest tests/test_export.py -m slow -s
"""

import importlib.util
import json

import numpy as np
import pytest
from parity import HEAD, Parity, as_theirs, by_onnx, by_torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from minidl import checkpoint, models
from minidl.__main__ import main
from minidl.data.batches import DIVISOR, MEAN
from minidl.experiment.use.export import export
from minidl.kernels import load
from minidl.kernels.errors import MinidlError
from minidl.layer import Layer
from minidl.layers import AveragePool, BatchNorm, Convolution, Flatten, FullyConnected, ReLU, Residual, Sequential
from minidl.models.registry import MODELS, model
from minidl.net import Net
from minidl.optimizers import SGD
from minidl.preprocessing import KEEP, Preprocessing
from minidl.pytorch import axes_of


def has(*packages):
    """Return whether packages are installed; in continuous integration all of them are."""
    return all(map(importlib.util.find_spec, packages))


needs_onnx = pytest.mark.skipif(not has("onnx", "onnxruntime"), reason="needs the extra export")
needs_torch = pytest.mark.skipif(not has("torch"), reason="needs the extra bench")
PLAIN = ("WC, GC, fully", "projection")
CASES = [
    ("a", "Baseline", "projection"),
    ("a", *PLAIN),
    ("a", "WC, GC, BN, fully", "reparametrization"),
    ("a", "GC, IN", "projection"),
    ("b", "WC, GC, BN", "projection"),
    ("b", "WC, BN", "reparametrization"),
    ("b-cifar", "WC, GC, BN", "projection"),
    ("c", *PLAIN),
    ("c", "WN, GC, fully", "reparametrization"),
    ("c", "WC, GN", "projection"),
    ("c", "LN", "projection"),
    ("d", "WC, GC, BN", "projection"),
    ("d", "WC, GC", "reparametrization"),
]
cases = pytest.mark.parametrize("name, method, mode", CASES)


@pytest.fixture
def narrow(small, monkeypatch):
    """Make all nets small."""
    small("a", filters=(4, 6, 8))
    small("c", filters=(4, 6, 8))
    small("b", filters=(4, 6, 8, 10), blocks=(1, 2, 1, 1))
    monkeypatch.setitem(MODELS, "b-cifar", MODELS["b"])
    small("b-cifar", stem="cifar", filters=(4, 6, 8, 10), blocks=(1, 1, 1, 1))
    small("d", filters=(4, 6, 8, 10), count=0)


def trained(path, name, method, mode="projection", shape=(32, 32, 3), classes=5, samples=3, rate=0.05, dtype="float32"):
    """Train a net for some steps on random numbers, save it as a run, and return what ``load`` makes of it."""
    random = np.random.default_rng(5)
    options = {
        "classes": classes,
        "method": method,
        "mode": mode,
        "place": "optimizer",
        "device": "cpu",
        "dtype": dtype,
    }
    net = models.build(name, shape=shape, **options)
    optimizer = SGD(net.parameters, net.kernels, learning_rate=rate)
    for _ in range(2):
        output = net.forward(random.normal(0, 0.3, (samples, *shape)))
        net.backpropagate(random.standard_normal(output.shape) / output.size)
        optimizer.step()
    for p in net.parameters:  # so that the biases are not zero
        p.value += random.normal(0, 0.01, p.value.shape) * (p.value.ndim == 1)
    fit = KEEP if models.per_pixel(name) else "crop"
    names = tuple(f"class {i}" for i in range(classes))
    net.preprocessing = Preprocessing(tuple(MEAN), DIVISOR, shape[:2], names, fit)
    path.mkdir()
    checkpoint.save(path / checkpoint.NAME, net, optimizer, 1)
    return checkpoint.load(path, "cpu")


def images(net, samples=3):
    """Return data for a net, and the same data in the layout of other programs."""
    data = np.random.default_rng(6).normal(0, 0.3, (samples, *net.shape)).astype(np.float32)
    return data, as_theirs(data)


def described(path):
    """Return the description of the net in an export."""
    with safe_open(path, framework="np") as file:
        return json.loads(file.metadata()["minidl"])


# -- the same logits --------------------------------------------------------------------------------------------------


@cases
def test_all_clients_have_the_same_logits(narrow, tmp_path, name, method, mode):
    net = trained(tmp_path / "run", name, method, mode)
    data, theirs = images(net)
    right = net.predict(data)
    path, whole = export(tmp_path / "run", "pytorch", None)
    assert path == tmp_path / "run" / "run-pytorch.safetensors"
    if has("torch"):
        np.testing.assert_allclose(by_torch(whole, path, theirs), right, rtol=0, atol=1e-5)
    if has("onnx", "onnxruntime"):
        path, _ = export(tmp_path / "run", "onnx", None)
        assert path == tmp_path / "run" / "model.onnx"
        for samples in (3, 1):  # the axis of the samples is free
            np.testing.assert_allclose(by_onnx(path, theirs[:samples]), right[:samples], rtol=0, atol=1e-5)


@needs_onnx
@pytest.mark.parametrize("method", ["WC, GC, fully", "WC, GN", "BN"])
def test_a_net_in_float64_is_a_model_in_float32(narrow, tmp_path, method):
    net = trained(tmp_path / "run", "a", method, dtype="float64")
    assert net.dtype == np.float64
    data, theirs = images(net)
    path, _ = export(tmp_path / "run", "onnx", None)
    np.testing.assert_allclose(by_onnx(path, theirs), net.predict(data), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["safetensors", "pytorch"])
@pytest.mark.parametrize("name, method, mode", [CASES[2], CASES[4]])
def test_exports_can_be_read_back(narrow, tmp_path, name, method, mode, kind):
    net = trained(tmp_path / "run", name, method, mode)
    path, _ = export(tmp_path / "run", kind, tmp_path / "net.safetensors")
    again = checkpoint.load(path, "cpu")
    data, _ = images(net)
    np.testing.assert_array_equal(again.predict(data), net.predict(data))
    assert again.preprocessing == net.preprocessing
    twice, _ = export(path, kind, tmp_path / "twice.safetensors")
    assert twice.read_bytes() == path.read_bytes()


@needs_onnx
def test_an_image_of_another_size_than_the_nets_own(narrow, tmp_path):
    """Net (d) pads the image, and cuts the padding off its output."""
    net = trained(tmp_path / "run", "d", "BN", shape=(70, 75, 3))
    path, _ = export(tmp_path / "run", "onnx", None)
    data, theirs = images(net)
    np.testing.assert_allclose(by_onnx(path, theirs), net.predict(data), rtol=0, atol=1e-5)


WHOLE = [("a", 32, 10), ("b", 32, 10), ("b-cifar", 32, 10), ("c", 32, 10), ("d", 227, 21)]


@needs_onnx
@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("name, size, classes", WHOLE)
@pytest.mark.parametrize("mode", ["projection", "reparametrization"])
def test_whole_nets(tmp_path, name, size, classes, mode):
    method = models.best_method(name)
    samples = 3 if name == "d" else 16
    net = trained(tmp_path / "run", name, method, mode, (size, size, 3), classes, samples, rate=1e-3)
    data, _ = images(net)
    parity = Parity(tmp_path / "run", data, tmp_path)
    print(HEAD, parity.row(f"({name})", method, mode), sep="\n")
    assert max(parity.differences) < 1e-4 * max(1, parity.largest)


# -- the content of the files -----------------------------------------------------------------------------------------


@needs_onnx
def test_the_model_is_one_of_the_last_two_years_and_says_how_images_are_prepared(narrow, tmp_path):
    import onnx

    net = trained(tmp_path / "run", "b", "WC, GC, BN")
    path, _ = export(tmp_path / "run", "onnx", None)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 23)]
    assert not {"BatchNormalization", "InstanceNormalization"} & {node.op_type for node in model.graph.node}
    about = json.loads({entry.key: entry.value for entry in model.metadata_props}["minidl"])
    assert Preprocessing.from_json(about["preprocessing"]) == net.preprocessing
    assert (about["model"], about["method"], model.producer_name) == ("b", "WC, GC, BN", "minidl")


def test_names_and_axes(narrow, tmp_path):
    net = trained(tmp_path / "run", "a", "WC, BN")
    ours_, _ = export(tmp_path / "run", "safetensors", tmp_path / "ours.safetensors")
    theirs_, whole = export(tmp_path / "run", "pytorch", tmp_path / "theirs.safetensors")
    arrays, state = load_file(ours_), load_file(theirs_)
    for name, array in (whole.effective_weights() | whole.running()).items():
        np.testing.assert_array_equal(arrays[name], array)
    np.testing.assert_array_equal(state["conv2.weight"], arrays["conv2.weights"].transpose(0, 3, 1, 2))
    flat = arrays["fc1.weights"].reshape(256, 4, 4, 8).transpose(0, 3, 1, 2).reshape(256, -1)
    np.testing.assert_array_equal(state["fc1.weight"], flat)
    for theirs, name in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "mean"), ("running_var", "variance")):
        np.testing.assert_array_equal(state[f"bn1.{theirs}"], arrays[f"bn1.{name}"])
    assert state["bn1.num_batches_tracked"].shape == ()
    assert described(theirs_)["layout"] == "pytorch"
    assert described(ours_)["preprocessing"]["classes"] == list(net.classes)


# -- impossible exports -----------------------------------------------------------------------------------------------


class Half(Layer):
    """A user-defined layer: out = data/2."""

    kind = "half"

    def infer_shape(self, shape):
        return shape

    def compute_output(self, data):
        return data / 2

    def compute_error(self, error):
        return error / 2


class TellingHalf(Half):
    """A layer that describes itself for other programs."""

    def to_onnx(self, graph, data):
        return graph.add("Mul", data, graph.constant(np.float32(0.5)))

    def to_pytorch(self):
        return {}


@pytest.fixture
def own(names, tmp_path):
    """Return a function that saves a run of a net with a user-defined layer."""

    def make(kind):
        @model("own", method="WC")
        def own(classes, method):
            return Sequential(Convolution(3, 3), kind(), Flatten(), FullyConnected(classes))

        return trained(tmp_path / "run", "own", "WC", shape=(6, 5, 3))

    return make


@needs_onnx
@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"to_onnx": lambda self: ""}, "half1 (half): to_onnx failed with TypeError: "),
        (
            {"to_onnx": lambda self, graph, data: None},
            "half1 (half): to_onnx returned NoneType; let it return the name",
        ),
        ({"to_onnx": lambda self, graph, data: "nowhere"}, "the model that half1 (half) makes is not valid in ONNX: "),
        ({"to_pytorch": lambda self, x: {}}, "half1 (half): to_pytorch failed with TypeError: "),
        ({"to_pytorch": lambda self: None}, "half1 (half): to_pytorch failed with AttributeError: "),
        ({"to_pytorch": lambda self: {"a": 1}}, "half1 (half): to_pytorch failed with TypeError: "),
    ],
)
def test_a_user_defined_layer_that_describes_itself_wrongly(own, tmp_path, wrong, message, capsys):
    own(type("Half", (TellingHalf,), wrong))
    kind = next(iter(wrong)).removeprefix("to_")
    assert main(["export", str(tmp_path / "run"), "--format", kind]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"minidl export: {message}")
    assert shown.count("\n") == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == [checkpoint.NAME]


@needs_onnx
@pytest.mark.parametrize("kind", ["onnx", "pytorch"])
def test_a_user_defined_layer_is_refused_by_name(own, tmp_path, kind, capsys):
    own(Half)
    assert main(["export", str(tmp_path / "run"), "--format", kind]) == 2
    shown = capsys.readouterr().err
    assert "half1 (half) is a layer of your own" in shown
    assert shown.count("\n") == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == [checkpoint.NAME]
    assert main(["export", str(tmp_path / "run")]) == 0


@needs_onnx
def test_a_user_defined_layer_may_describe_itself_for_other_programs(own, tmp_path):
    net = own(TellingHalf)
    data, theirs = images(net)
    path, _ = export(tmp_path / "run", "onnx", None)
    np.testing.assert_allclose(by_onnx(path, theirs), net.predict(data), rtol=0, atol=1e-6)
    path, _ = export(tmp_path / "run", "pytorch", None)
    np.testing.assert_array_equal(checkpoint.load(path, "cpu").predict(data), net.predict(data))


def test_a_norm_behind_a_flatten_has_no_order_in_pytorch():
    net = Net(Sequential(Flatten(), BatchNorm(), FullyConnected(2)), (4, 4, 3), load("cpu"))
    with pytest.raises(MinidlError, match=r"bn1 .* normalizes images that were flattened"):
        axes_of(net)


@needs_onnx
def test_vectors_and_sums_of_other_extents(tmp_path):
    """Layers in other places than in the nets of the paper."""
    from minidl.onnx_model import onnx_model

    root = Sequential(
        Residual(Convolution(2, 3, stride=2), AveragePool(2, 2)), Flatten(), FullyConnected(6), BatchNorm(), ReLU()
    )
    net = Net(root, (9, 8, 3), load("cpu"))
    net.forward(np.random.default_rng(0).standard_normal((5, 9, 8, 3)))
    net.eval()
    (tmp_path / "model.onnx").write_bytes(onnx_model(net, {}, "0"))
    data, theirs = images(net)
    np.testing.assert_allclose(by_onnx(tmp_path / "model.onnx", theirs), net.predict(data), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--format", "torch"], "the format 'torch' is unknown (did you mean pytorch?); use safetensors"),
        (["--to", "nowhere/net.safetensors"], "net.safetensors cannot be written"),
        (["--to", "."], " is a folder; name a file in it"),
        (["--to", "checkpoint.safetensors"], "has the name of a checkpoint"),
        (["--to", "net.onnx"], "net.onnx has another ending than the format safetensors"),
        (["--to", "cat.jpg"], "cat.jpg does not end in .safetensors, as such a file must; choose another name"),
        (["--to", "run/config.json"], "run/config.json does not end in .safetensors, as such a file must"),
        (["--format", "onnx", "--to", "net"], "net does not end in .onnx, as such a file must; choose another name"),
        (["--format", "onnx", "--to", "net.safetensors"], "has another ending than the format onnx"),
    ],
)
def test_an_impossible_export_is_an_error_of_one_sentence(narrow, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "run", "a", "WC")
    assert main(["export", "run", *words]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_without_onnx_the_error_says_what_to_install(narrow, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    trained(tmp_path / "run", "a", "WC")
    assert main(["export", str(tmp_path / "run"), "--format", "onnx"]) == 2
    assert "pip install -e '.[export]'" in capsys.readouterr().err
    assert not (tmp_path / "run" / "model.onnx").exists()


def test_the_command_says_where_the_file_is(narrow, tmp_path, capsys):
    trained(tmp_path / "run", "a", "WC")
    assert main(["export", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'run' / 'run.safetensors'}: ")


def test_foreign_weights_need_a_net(narrow, tmp_path):
    """The state of a PyTorch module, as another program has saved it."""
    save_file({"conv1.weight": np.zeros((4, 3, 5, 5), np.float32)}, tmp_path / "state.safetensors")
    with pytest.raises(MinidlError, match="it does not say which net it holds"):
        checkpoint.load(tmp_path / "state.safetensors")
