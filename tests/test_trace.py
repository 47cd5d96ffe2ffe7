"""The trace: it does not change a training, its columns are right, and its files are read back as they were written."""

import csv
import io
import math
import shutil
from dataclasses import astuple, fields
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import EMULATED, load
from image_folder import write_images
from run_logs import log
from safetensors.numpy import load_file
from test_gpu_nets import BATCH, NETS, images

import train
from minidl import MinidlError
from minidl.data.batches import Batches
from minidl.data.pixel_batches import PixelBatches
from minidl.experiment.options import read as read_options
from minidl.experiment.settings import complete
from minidl.experiment.trainer import Trainer
from minidl.fuse import unfuse
from minidl.losses import SoftmaxCrossEntropy
from minidl.method import PLACES, parse
from minidl.net import Net
from minidl.optimizers import OPTIMIZERS, SGD, Adam
from minidl.study import probes, trace, trace_files
from minidl.study.schedule import detailed, traced
from minidl.study.trace import Tracer
from minidl.study.trace_files import Carry, Filters, Row, Trace

NUMBERS = [field.name for field in fields(Row)][2:]


def small_net(method, place="hooks", mode="projection"):
    """Return a small net (c) in float64, on the reference device."""
    root, kernels = NETS["c"][0](parse(method)), load("reference")
    return Net(root, (8, 8, 3), kernels, method=method, mode=mode, place=place, dtype="float64")


def small_batch(random, samples=6):
    return random.standard_normal((samples, 8, 8, 3)), random.integers(0, 3, samples)


def tracer_of(net, optimizer, every):
    """Return a tracer that knows the weights before the first WC, like that of a run."""
    beginning = {p.name: p.value for p in small_net(str(net.method)).parameters}
    return Tracer(net, optimizer, every, {p.name: beginning[p.name] for p in net.parameters if p.wc})


def plain_step(net, optimizer, loss, data, labels):
    loss(net.forward(data), labels)
    net.backpropagate(loss.error)
    optimizer.step()


# -- the schedule -----------------------------------------------------------------------------------------------------


def test_the_schedule():
    assert [step for step in range(301) if traced(step, 100)] == [0, 1, 2, 5, 10, 20, 50, 100, 200, 300]
    assert [step for step in range(16) if traced(step, 4)] == [0, 1, 2, 4, 5, 8, 10, 12]
    assert [step for step in range(2001) if detailed(step, 10)] == [0, 10, 20, 50, 100, 200, 500, 1000, 2000]
    assert all(traced(step, 7) for step in range(2000) if detailed(step, 7))


@pytest.mark.parametrize("method", ["WC", "Baseline"])
def test_other_steps_are_left_to_the_trainer(random, monkeypatch, method):
    """They watch and compute nothing twice; the step before a traced one shows what the update's WC removes."""
    watched, stepped = [], []
    monkeypatch.setattr(trace, "watch", lambda net, watch=trace.watch: watched.append(0) or watch(net))
    net = small_net(method, "optimizer")
    optimizer = Adam(net.parameters, net.kernels, learning_rate=0.01)
    batches = Batches(images(8, 19), 1, net.kernels, np.float64)
    trainer = Trainer(net, optimizer, batches, batches, 1, 0, tracer_of(net, optimizer, 7))
    full_step = trainer.full_step
    trainer.full_step = lambda: stepped.append(optimizer.step_count) or full_step()
    trainer.run_epoch(1, test=False)
    assert len(watched) == len(trainer.tracer.trace.steps) == 7
    before = {4, 6, 9, 13} if method == "WC" else set()
    assert set(stepped) == set(range(19)) - {0, 1, 2, 5, 7, 10, 14} - before


@pytest.mark.parametrize("name, hint", [("g_removd", r" \(did you mean g_removed\?\)"), ("layer", ""), (3, "")])
def test_an_unknown_column_is_an_error_of_one_sentence(name, hint):
    with pytest.raises(
        MinidlError, match=f"a trace has no column of numbers {name!r}{hint}; use step, data_mean, .*, step_lost"
    ):
        Trace().column(name)


# -- the training is the same -----------------------------------------------------------------------------------------


def outcome(device, name, every, place, mode):
    """Return all results of an epoch: parameters, moments, running statistics, and the numbers for the log."""
    layers, size, optimizer, method = NETS[name]
    source = PixelBatches if name == "d" else Batches
    batches = source(images(size), BATCH, device, np.float32)
    net = Net(layers(parse(method)), batches.shape, device, method=method, mode=mode, place=place)
    update = OPTIMIZERS[optimizer](net.parameters, device, learning_rate=0.01, weight_decay=1e-3)
    tracer = Tracer(net, update, every, {}) if every else None
    trainer = Trainer(net, update, batches, batches, drop_every=1, seed=0, tracer=tracer)
    epoch = astuple(trainer.run_epoch(1))[:-1]  # without the seconds
    arrays = {p.name: p.value for p in net.parameters} | net.running() | update.moments()
    if tracer:
        assert tracer.trace.steps == [step for step in range(5) if traced(step, every)]
        looked_at = {row.step for row in tracer.trace.rows if detailed(row.step, every)}
        assert len(tracer.trace.carries) == (1 + len(probes.STRIDES)) * len(looked_at)
        assert all(math.isfinite(row.g_norm) and math.isfinite(row.out_std) for row in tracer.trace.rows)
    return {key: device.host(value).copy() for key, value in arrays.items()} | {"log": np.array(epoch)}


@pytest.mark.parametrize("name, place, mode", [
    pytest.param("a", "optimizer", "projection", marks=pytest.mark.slow),
    ("b", "optimizer", "projection"),
    ("b-cifar", "optimizer", "reparametrization"),
    ("c", "hooks", "projection"),
    pytest.param("d", "optimizer", "projection", marks=pytest.mark.slow),
])  # fmt: skip
def test_a_trace_changes_no_training(name, place, mode):
    same_to_the_last_bit(load("cpu"), name, place, mode)


def same_to_the_last_bit(device, *what):
    expected, found = (outcome(device, what[0], every, *what[1:]) for every in (None, 4))
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.thorough
def test_a_trace_changes_no_training_on_any_shelf(backend):
    """A GPU may choose other algorithms for layers that are not fused, and differ by rounding errors."""
    what = "c", "optimizer", "projection"
    if backend.device != "gpu":
        same_to_the_last_bit(backend, *what)
        return
    expected, found = (outcome(backend, what[0], every, *what[1:]) for every in (None, 4))
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5 if EMULATED else 1e-3, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("where", ["forward", "error", "grads", "true", "carry"])
def test_a_step_that_fails_leaves_the_net_as_it_was(random, monkeypatch, where):
    net = small_net("WC, GC, EB", "optimizer")
    optimizer = SGD(net.parameters, net.kernels, learning_rate=0.1)
    tracer, loss, (data, labels) = tracer_of(net, optimizer, 1), SoftmaxCrossEntropy(net.kernels), small_batch(random)
    plain_step(net, optimizer, loss, data, labels)
    hooks = {point: point.hook for point in net.hook_points}
    fused = [(part.writes_over, type(part.kernels.convolution)) for part in net.root.parts()]
    weights = {p.name: p.value.copy() for p in net.parameters}
    fc1 = next(layer for layer in net.layers if layer.name == "fc1")

    def fail(*arguments):
        raise RuntimeError("it broke")

    if where == "forward":
        data = "no data"
    elif where in ("error", "grads"):
        point = getattr(fc1, f"at_{where}")
        hooks[point] = point.hook = fail
    elif where == "true":
        fc1.compute_grads = fail
    else:
        monkeypatch.setattr(probes, "SoftmaxCrossEntropy", lambda kernels: SimpleNamespace(score_of=fail))
    with pytest.raises((RuntimeError, MinidlError), match=r"it broke|made of numbers"):
        tracer.step(1, loss, data, labels)
    assert not net.observed
    assert {point: point.hook for point in net.hook_points} == hooks
    assert [(part.writes_over, type(part.kernels.convolution)) for part in net.root.parts()] == fused
    for p in net.parameters:
        np.testing.assert_array_equal(p.value, weights[p.name], err_msg=p.name)


# -- the columns ------------------------------------------------------------------------------------------------------


def share_of_means(x, axes):
    return (np.broadcast_to(x.mean(axes, keepdims=True), x.shape) ** 2).sum() / (x**2).sum()


def degrees(x, y):
    cosine = (x * y).sum() / np.linalg.norm(x.ravel()) / np.linalg.norm(y.ravel())
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def mean_cosine(z):
    z = z.reshape(len(z), -1)
    cosines = [z[i] @ z[j] / np.linalg.norm(z[i]) / np.linalg.norm(z[j]) for i in range(len(z)) for j in range(i)]
    return np.mean(cosines)


class ByHand:
    """A forward pass and two backward passes of a sequential net: with its hooks, and without those that trace.py
    compares with. Nothing of minidl.study is used.
    """

    def __init__(self, net, data, labels):
        unfuse(net.root)
        self.weights, self.inputs, self.outputs = {}, {}, {}
        raw = {layer.name: layer.weights.value.copy() for layer in net.layers if layer.weights is not None}
        for layer in net.layers:
            self.inputs[layer.name] = data.copy()
            data = layer.forward(data)
            self.outputs[layer.name] = data.copy()
            if layer.weights is not None:
                self.weights[layer.name] = raw[layer.name], layer.weights.in_use.copy()
        loss = SoftmaxCrossEntropy(net.kernels)
        self.loss = loss.score_of(data, labels).loss
        self.used = self.back(net, loss.error.copy(), hooks=True)
        self.true = self.back(net, loss.error.copy(), hooks=False)

    def back(self, net, error, hooks):
        """Return the gradient before and after its hook, that of the biases, and the error before and after its."""
        seen = {}
        for layer in reversed(net.layers):
            layer.at_grads.hook, grads_hook = None, layer.at_grads.hook
            layer.at_error.hook, error_hook = None, layer.at_error.hook
            layer.comp_grads(error)
            raw_error = layer.backward(error).copy()
            error = error_hook(raw_error.copy()) if hooks and error_hook else raw_error
            if layer.weights is not None:
                raw = layer.weights.grads.copy()
                grads = grads_hook(raw.copy()) if hooks and grads_hook else raw
                seen[layer.name] = raw, grads, layer.biases.grads.copy(), raw_error, error.copy()
            layer.at_grads.hook, layer.at_error.hook = grads_hook, error_hook
        return seen


METHODS = ["Baseline", "WC, GC, fully", "WC, EB", "gradient global, EL", "WS, GC, EBN, LN", "weight channel, BN"]


@pytest.mark.parametrize("mode", ["projection", "reparametrization"])
@pytest.mark.parametrize("method", METHODS)
def test_the_columns_are_what_they_say(random, method, mode):
    net, other = (small_net(method, mode=mode) for _ in range(2))
    optimizer = Adam(net.parameters, net.kernels, learning_rate=0.01, weight_decay=0.1)
    tracer, (data, labels) = tracer_of(net, optimizer, 5), small_batch(random)
    hand = ByHand(other, data, labels)
    tracer.step(0, SoftmaxCrossEntropy(net.kernels), data, labels)
    names = [layer.name for layer in other.layers]
    found = {row.layer: row for row in tracer.trace.rows}
    assert list(found) == list(hand.weights)
    for name, row in found.items():
        layer = other.layers[names.index(name)]
        raw, used = hand.weights[name]
        grads, grads_used, bias, error, error_used = hand.used[name]
        following = names[names.index(name) + 1 :][:1]
        output = hand.outputs[following[0] if following and following[0][:2] in ("bn", "ln") else name]
        filter_axes, channel_axes = tuple(range(1, raw.ndim)), tuple(range(output.ndim - 1))
        start = raw if mode == "reparametrization" else used
        g = grads_used + 0.1 * start
        step = -0.01 * g / (np.abs(g) + 1e-8)  # the first step of Adam
        hook = layer.at_weights.hook
        lost = 0.0 if mode == "projection" else np.nan
        if hook is not None and mode == "projection":
            lost = np.linalg.norm(start + step - hook((start + step).copy()))
        first = names.index(name) == 0
        expected = {
            "data_mean": share_of_means(hand.inputs[name], tuple(range(hand.inputs[name].ndim - 1))),
            "alike": mean_cosine(output),
            "out_std": output.std(),
            "active": np.mean(output > 0),
            "dead": np.mean(output.max(channel_axes) <= 0),
            "w_norm": np.linalg.norm(used.ravel()),
            "w_mean": share_of_means(raw, filter_axes),
            "w_removed": np.linalg.norm(raw - used) / np.linalg.norm(raw),
            "e_norm": np.nan if first else np.linalg.norm(error_used),
            "e_removed": np.nan if first else np.linalg.norm(error - error_used) / np.linalg.norm(error),
            "g_norm": np.linalg.norm(grads_used),
            "g_mean": share_of_means(grads, filter_axes),
            "g_removed": np.linalg.norm(grads - grads_used) / np.linalg.norm(grads),
            "flips": np.mean((np.sign(grads) * np.sign(grads_used))[grads != 0] < 0),
            "angle": degrees(grads_used, hand.true[name][0]),
            "bias_angle": degrees(bias, hand.true[name][2]),
            "step_ratio": np.linalg.norm(step) / np.linalg.norm(start),
            "step_mean": share_of_means(step, filter_axes),
            "step_lost": lost / np.linalg.norm(step),
        }
        assert list(expected) == NUMBERS
        for column, value in expected.items():
            bound = {"angle": 1e-5, "bias_angle": 1e-5}.get(column, 1e-10)  # the rounding error of the arc cosine
            np.testing.assert_allclose(getattr(row, column), value, rtol=1e-6, atol=bound, err_msg=f"{name} {column}")


@pytest.mark.parametrize("method", ["WC, GC", "WC, EL"])
def test_filters_and_carry_are_what_they_say(random, method):
    net, other = (small_net(method, "optimizer") for _ in range(2))
    optimizer, double = (Adam(n.parameters, n.kernels, learning_rate=0.01) for n in (net, other))
    tracer, loss, (data, labels) = tracer_of(net, optimizer, 2), SoftmaxCrossEntropy(net.kernels), small_batch(random)
    before = loss.score_of(other.forward(data), labels).loss
    plain_step(other, double, loss, data, labels)
    after = loss.score_of(other.forward(data), labels).loss
    tracer.step(0, loss, data, labels)
    carried = {carry.s: carry.loss for carry in tracer.trace.carries}
    assert list(carried) == [0, 1, 2, 4, 8, 16]
    assert carried[0] == 0
    assert carried[1] == pytest.approx(after - before, rel=1e-9)
    assert len(set(carried.values())) == 6
    assert len(tracer.trace.filters) == len(tracer.trace.layers) * 4
    raw = small_net(method)
    wanted = {"before": raw.layers[0].weights.value.copy()}
    raw.forward(data)
    wanted["after"] = raw.layers[0].weights.in_use
    for when, weights in wanted.items():
        array = tracer.trace.filters[Filters(0, "conv1", "weights", when)]
        assert array.shape == (3, 6)
        assert array.dtype == np.float32
        flat = weights.reshape(3, -1)
        expected = [*(np.percentile(flat, share, axis=1) for share in (5, 25, 50, 75, 95)), flat.mean(1)]
        np.testing.assert_allclose(array, np.transpose(expected), atol=1e-7)


def test_a_carry_puts_everything_back(backend, random):
    layers, size, *_ = NETS["c"]
    net = Net(layers(parse("BN")), (size, size, 3), backend, method="WC, BN", place="optimizer")
    data, labels = (backend.xp.asarray(array) for array in small_batch(random))
    labels %= 3
    net.forward(data)
    arrays = [*(p.value for p in net.parameters), *net.running().values()]
    kept = [backend.host(array).copy() for array in arrays]
    losses = probes.carry(net, data, labels, {p.name: p.value + 1 for p in net.parameters})
    assert len(set(losses.values())) == 5
    for array, before in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(backend.host(array), before)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize(
    "method", ["WC, GC, fully", *(pytest.param(method, marks=pytest.mark.thorough) for method in ("WC, EL, BN", "GC"))]
)
def test_both_places_give_the_same_trace(random, kind, method):
    nets = [small_net(method, place) for place in PLACES]
    optimizers = [OPTIMIZERS[kind](net.parameters, net.kernels, learning_rate=0.01, weight_decay=0.01) for net in nets]
    tracers = [tracer_of(net, optimizer, 4) for net, optimizer in zip(nets, optimizers, strict=True)]
    loss = SoftmaxCrossEntropy(nets[0].kernels)
    for step in range(9):
        data, labels = small_batch(random)
        for net, optimizer, tracer in zip(nets, optimizers, tracers, strict=True):
            if tracer.due(step):
                tracer.step(step, loss, data, labels)
            else:
                plain_step(net, optimizer, loss, data, labels)
    first, second = (tracer.trace for tracer in tracers)
    assert first.steps == second.steps == [0, 1, 2, 4, 5, 8]
    for column in NUMBERS:
        np.testing.assert_allclose(second.column(column), first.column(column), rtol=1e-6, atol=1e-9, err_msg=column)
    assert first.filters.keys() == second.filters.keys()
    for name, array in first.filters.items():
        np.testing.assert_allclose(second.filters[name], array, rtol=1e-5, atol=1e-9, err_msg=str(name))
    for one, two in zip(first.carries, second.carries, strict=True):
        assert (one.step, one.s) == (two.step, two.s)
        assert two.loss == pytest.approx(one.loss, rel=1e-7, abs=1e-12)


def test_wc_removes_from_a_step_the_mean_of_its_filters(random):
    """The centered weights have no mean, so step_lost is the root of step_mean; with SGD and GC, a step has no mean."""
    for method in ("WC", "WC, GC"):
        net = small_net(method)
        optimizer = SGD(net.parameters, net.kernels, learning_rate=0.1)
        tracer = tracer_of(net, optimizer, 1)
        for step in range(3):
            tracer.step(step, SoftmaxCrossEntropy(net.kernels), *small_batch(random))
        mean, lost = (tracer.trace.column(name)[:, :-2] for name in ("step_mean", "step_lost"))
        np.testing.assert_allclose(lost, np.sqrt(mean), atol=1e-7)
        assert (lost < 1e-7).all() if method == "WC, GC" else (lost > 1e-2).all()


# -- a run ------------------------------------------------------------------------------------------------------------


def rows_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with the runs "whole", of two epochs, and "half", of one epoch, traced at every fourth step."""
    root, random = tmp_path_factory.mktemp("runs"), np.random.default_rng(7)
    write_images(root / "set", 10, random)
    for name, epochs in (("whole", 2), ("half", 1)):
        assert start("--data", root / "set", "--trace", 4, "--epochs", epochs, "--out", root / name) == 0
    return root


def start(*arguments):
    small = ["--model", "a", "--method", "WC, GC, BN", "--batch-size", 4, "--test-every", 2]
    fixed = [] if "--resume" in arguments else [*small, "--device", "cpu"]
    return train.main([*map(str, [*fixed, *arguments])])


def test_the_files_of_a_run(made, capsys):
    assert start("--trace", 4, "--epochs", 2, "--resume", made / "whole") == 2
    assert "has finished its 2 epochs" in capsys.readouterr().err
    folder = made / "whole"
    rows = rows_of(folder / "trace.csv")
    assert list(rows[0]) == ["step", "layer", *NUMBERS]
    assert list(dict.fromkeys(int(row["step"]) for row in rows)) == [0, 1, 2, 4, 5]
    assert "nan" not in (folder / "trace.csv").read_text()
    assert rows[0]["e_norm"] == ""
    back = trace_files.read(str(folder))
    assert back.steps == [0, 1, 2, 4, 5]
    assert len(back.carries) == 2 * 6
    assert math.isnan(back.rows[0].e_norm)
    assert back.column("w_norm").shape == (5, len(back.layers))
    assert {name.step for name in back.filters} == {0, 4}
    with np.load(folder / "filters.npz") as file:
        assert file["4/conv1/grads/before"].shape[1] == 6


def test_an_untraced_run_leaves_nothing_and_trains_the_same(made, tmp_path):
    assert start("--data", made / "set", "--epochs", 2, "--out", tmp_path / "plain") == 0
    assert not trace_files.is_traced(tmp_path / "plain")
    names = {path.name for path in (made / "whole").iterdir()} - {path.name for path in (tmp_path / "plain").iterdir()}
    assert names == {"trace.csv", "carry.csv", "filters.npz"}
    plain, whole = (load_file(path / "checkpoint.safetensors") for path in (tmp_path / "plain", made / "whole"))
    learned = [name for name in plain if not name.startswith("run/")]
    assert learned == [name for name in whole if not name.startswith("run/")]
    assert all((plain[name] == whole[name]).all() for name in learned)
    assert log(tmp_path / "plain") == log(made / "whole")
    with pytest.raises(MinidlError, match=r"there is no trace in .*plain \(trace.csv is missing\); train with --trace"):
        trace_files.read(tmp_path / "plain")


@pytest.mark.parametrize("ahead", [False, True])
def test_a_resumed_run_continues_its_trace(made, tmp_path, ahead, capsys):
    """To the last bit. ahead: whether the trace was written, but the checkpoint was not."""
    shutil.copytree(made / "half", tmp_path / "run")
    if ahead:
        for name in ("trace.csv", "carry.csv", "filters.npz"):
            shutil.copy(made / "whole" / name, tmp_path / "run")
    assert start("--resume", tmp_path / "run", "--epochs", 2) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"trace in {tmp_path / 'run' / 'trace.csv'}; look at it with: minidl report {tmp_path / 'run'}"
    for name in ("trace.csv", "carry.csv"):
        assert (tmp_path / "run" / name).read_text() == (made / "whole" / name).read_text()
    whole, again = (trace_files.read(folder).filters for folder in (made / "whole", tmp_path / "run"))
    assert whole.keys() == again.keys()
    for name, array in again.items():
        np.testing.assert_array_equal(array, whole[name])


@pytest.mark.parametrize("given, message", [
    (("--trace", 5), "has trace 4, which --resume cannot change to 5"),
    (("--trace",), "has trace 4, which --resume cannot change to 50"),
])  # fmt: skip
def test_a_resumed_run_keeps_its_schedule(made, given, message, capsys):
    assert start("--resume", made / "half", "--epochs", 2, *given) == 2
    assert message in capsys.readouterr().err


def test_a_resumed_run_whose_trace_is_lost(made, tmp_path, capsys):
    shutil.copytree(made / "half", tmp_path / "run")
    (tmp_path / "run" / "trace.csv").unlink()
    before = sorted((path.name, path.read_bytes()) for path in (tmp_path / "run").iterdir())
    assert start("--resume", tmp_path / "run", "--epochs", 2) == 2
    assert "is lost; put trace.csv back, or start again" in capsys.readouterr().err
    assert sorted((path.name, path.read_bytes()) for path in (tmp_path / "run").iterdir()) == before


def test_the_option():
    for given, expected in ((), None), (("--trace",), 50), (("--trace", "7"), 7):
        settings, _ = complete(*read_options(train.parser(), given))
        assert settings["trace"] == expected


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize("name, damage, message", [
    ("filters.npz", cut, "filters.npz cannot be read"),
    ("filters.npz", lambda path: path.write_bytes(b"step,s,loss\n"), "filters.npz cannot be read"),
    ("filters.npz", lambda path: np.savez(path, **{"0/conv1/weights/before": np.zeros((3, 5))}), "has the shape"),
    ("filters.npz", lambda path: path.unlink(), "filters.npz cannot be read"),
    ("carry.csv", lambda path: path.unlink(), "carry.csv cannot be read"),
    ("carry.csv", lambda path: path.write_text("step,s\n0,1\n"), "columns step, s where step, s, loss are expected"),
    ("carry.csv", lambda path: path.write_text("step,s,loss\n2,1,1\n1,1,1\n"), "holds step 1 where .* at least 2"),
    ("trace.csv", lambda path: path.write_text(path.read_text() + "7,conv1,x\n"), "has 'x' for data_mean"),
    ("trace.csv", lambda path: path.write_text(path.read_text() + "7,conv1\n"), "step 7 .* has the layers conv1 where"),
    ("trace.csv", lambda path: path.write_text(path.read_text() + ",conv1\n"), "has '' for step"),
    ("trace.csv", lambda path: path.write_text(path.read_text() + "7.5,conv1\n"), "holds step 7.5"),
])  # fmt: skip
def test_a_damaged_trace_is_reported_in_one_sentence(made, tmp_path, name, damage, message):
    folder = shutil.copytree(made / "half", tmp_path / "run")
    damage(folder / name)
    with pytest.raises(MinidlError, match=message):
        trace_files.read(folder)


@pytest.mark.parametrize("name", ["trace.csv", "carry.csv"])
def test_a_table_that_ends_in_the_middle_of_a_line_is_an_error(made, tmp_path, name):
    """Its last number may lack digits, and its last cells may be missing, as if they were not defined."""
    folder = shutil.copytree(made / "half", tmp_path / "run")
    whole = (folder / name).read_text()
    last = whole.rstrip("\n").rindex("\n") + 1
    for end in range(last + 1, len(whole)):
        (folder / name).write_text(whole[:end])
        with pytest.raises(MinidlError, match=rf"{name} ends in the middle of line {whole.count(chr(10))}, so that"):
            trace_files.read(folder)


def test_a_run_with_a_damaged_trace_is_not_resumed(made, tmp_path, capsys):
    folder = shutil.copytree(made / "half", tmp_path / "run")
    cut(folder / "filters.npz")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert start("--resume", folder, "--epochs", 2) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_undefined_values_are_blank(tmp_path):
    numbers = dict.fromkeys(NUMBERS, 0.125) | {"alike": math.nan, "out_std": math.inf, "dead": -0.5}
    written = Trace([Row(step=3, layer="conv1", **numbers)], [Carry(3, 0.5, math.inf)], {})
    trace_files.write(tmp_path, written)
    assert (tmp_path / "trace.csv").read_text().splitlines()[1].startswith("3,conv1,0.125,,,0.125,-0.5,")
    back = trace_files.read(tmp_path)
    assert astuple(back.rows[0])[:3] == (3, "conv1", 0.125)
    assert math.isnan(back.rows[0].alike)
    assert math.isnan(back.carries[0].loss)
