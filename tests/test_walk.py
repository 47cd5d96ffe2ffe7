"""The walk: it changes no training, its numbers equal their definitions, and all of it is printed and drawn."""

import copy
import math
import re
import sys
from contextlib import nullcontext
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import minidl
from minidl import kernels
from minidl.__main__ import main
from minidl.experiment.trainer import Trainer
from minidl.kernels.cpu import loops
from minidl.kernels.errors import MinidlError
from minidl.layers import BatchNorm, Convolution, Flatten, FullyConnected, MaxPool, ReLU, Sequential
from minidl.net import Net
from minidl.optimizers import SGD
from minidl.study import page
from minidl.study.trace import Tracer
from minidl.study.transcript import WIDTH, grid, lessons, sections, transcript
from minidl.study.walk import Point, walk
from minidl.study.watch import Change, watch


@pytest.fixture(autouse=True)
def loops_as_before():
    """Restore the loops that later tests expect."""
    yield
    loops.use_best()


class Source:
    """Batches of random images."""

    classes, per_pixel, samples, batch_size, sizes = ("a", "b", "c"), False, 12, 5, [5, 5, 2]

    def shuffle(self, random):
        self.random = random
        return self.sizes

    def next(self, size):
        return self.random.standard_normal((size, 6, 5, 3)).astype(np.float32) + 1, self.random.integers(0, 3, size)


def trainer_of(method="WC, GC, fully", shelf=None, **options):
    layers = (Convolution(4, 3), ReLU(), Convolution(3, 1), ReLU(), MaxPool(2, 2), Flatten())
    root = Sequential(*layers, FullyConnected(6), ReLU(), FullyConnected(3))
    net = Net(root, (6, 5, 3), shelf or kernels.load("reference"), method=method, **options)
    return Trainer(net, SGD(net.parameters, net.kernels, 0.1), Source(), Source(), 1, 0)


def by_hand(trainer, steps):
    """Train; return the loss of each batch."""
    losses, epoch = [], 0
    while True:
        epoch += 1
        for size in trainer.begin(epoch):
            trainer.loss.reset()
            trainer.next_step(size)
            losses.append(trainer.loss.score().loss)
            if len(losses) == steps:
                return losses


@pytest.mark.parametrize("after", [0, 4])
def test_a_walk_is_a_step_of_the_training(after):
    ours, theirs = trainer_of("WC, GC, EB"), trainer_of("WC, GC, EB")
    seen = walk(ours, "noise", after)
    assert seen.loss[0] == by_hand(theirs, after + 1)[-1]
    expected = theirs.net.effective_weights()  # the last forward pass of the walk has normalized the weights
    for p in ours.net.parameters:
        assert (p.value == expected[p.name]).all()


def test_the_numbers_that_a_walk_gives_for_centering():
    layers = walk(trainer_of("WC, GC, fully"), "noise").layers
    assert [one.layer for one in layers] == ["conv1", "conv2", "fc1", "fc2"]
    for one in layers[:3]:
        for point, hook in ((one.weights, "WC"), (one.grads, "GC")):
            assert point.hook == hook
            assert point.mean[1] == pytest.approx(0, abs=1e-10)
            assert point.changed**2 == pytest.approx(point.mean[0], rel=1e-4, abs=1e-10)  # the mean ⟂ the rest
            assert (point.norm[1] / point.norm[0]) ** 2 == pytest.approx(1 - point.mean[0], rel=1e-4)
        assert one.angle == pytest.approx(math.degrees(math.asin(one.grads.changed)), abs=0.05)
    assert (layers[3].weights.hook, layers[3].weights.changed, layers[3].angle) == ("", 0, 0)
    assert layers[0].error is None


@pytest.mark.parametrize("hook", ["grads", "error"])
def test_the_norms_are_those_of_which_the_note_speaks(hook, names):
    """Of a gradient before its hook, and of an error after it."""
    minidl.normalization("HALF", at=hook)(lambda x: x / 2)
    seen = walk(trainer_of("HALF, fully"), "noise")
    backward = next(part for part in sections(seen) if part.heads[0][0] == "BACKWARD")
    assert "norm: of the gradient before its hook, of the error after it" in backward.note
    for one, row in zip(reversed(seen.layers), backward.table.rows, strict=True):
        assert row[1] == f"{one.grads.norm[0]:.3g}"
        if one.error is not None:
            assert row[6] == f"{one.error.norm[1]:.3g}"
    changed = [getattr(one, hook) for one in seen.layers if getattr(one, hook) is not None and getattr(one, hook).hook]
    assert changed
    assert all(point.norm[1] == pytest.approx(point.norm[0] / 2) for point in changed)


def test_the_angle_is_to_the_gradient_of_a_net_without_hooks():
    ours, bare = trainer_of("EB", dtype=np.float64), trainer_of("Baseline", dtype=np.float64)
    seen = walk(ours, "noise")
    by_hand(bare, 1)
    used = trainer_of("EB", dtype=np.float64)
    by_hand(used, 1)
    for one, p, q in zip(seen.layers, used.net.layers, bare.net.layers, strict=False):
        if p.weights is not None:
            a, b = p.weights.grads.ravel(), q.weights.grads.ravel()
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            assert math.cos(math.radians(one.angle)) == pytest.approx(cosine, abs=1e-9)
            break
    assert seen.layers[0].angle > 1
    assert seen.layers[2].angle == pytest.approx(0, abs=1e-5)  # no hook comes after it


def test_a_walk_on_a_gpu(gpu):
    ours, theirs = (walk(trainer_of("WC, GC, EB", shelf), "noise", 2) for shelf in (gpu, None))
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)
    for one, other in zip(ours.layers, theirs.layers, strict=True):
        assert one.grads.changed == pytest.approx(other.grads.changed, rel=1e-2)
        assert one.angle == pytest.approx(other.angle, abs=0.5)
        assert one.alike == pytest.approx(other.alike, abs=1e-2)
    assert isinstance(ours.filter.grads.after, np.ndarray)


def test_the_update():
    trainer = trainer_of("Baseline")
    before = {p.name: p.value.copy() for p in trainer.net.parameters}
    seen = walk(trainer, "noise")
    for one in seen.layers:
        old = before[f"{one.layer}.weights"]
        (now,) = (p.value for p in trainer.net.parameters if p.name == f"{one.layer}.weights")
        assert one.step_ratio == pytest.approx(np.linalg.norm(now - old) / np.linalg.norm(old), rel=1e-5)
        # The first step of SGD has the direction of the gradient.
        assert one.step_mean == pytest.approx(one.grads.mean[1], rel=1e-3)


@pytest.mark.parametrize("layer, shape", [("conv1", (3, 3)), ("conv2", (1, 4)), ("fc1", (3, 5))])
def test_one_filter_in_numbers(layer, shape):
    trainer = trainer_of("WC, GC, fully")
    (weights,) = (one.weights.value[-1].copy() for one in trainer.net.layers if one.name == layer)
    filters = {"conv1": 4, "conv2": 3, "fc1": 6}[layer]
    seen = walk(trainer, "noise", layer=layer, number=filters - 1)
    assert (seen.filter.weights.before == weights).all()
    one = sections(seen)[5]
    assert f"{layer}, filter {filters - 1} of {filters} (" in str(one)
    assert [shown.title.partition(",")[0] for shown in one.grids] == ["Weights", "Grad"]
    for shown, hook in zip(one.grids, ("WC", "GC"), strict=True):
        assert shown.before.shape == shown.after.shape == shape
        mean = float(re.fullmatch(r"− \((.*)\)  =", shown.between)[1])
        assert shown.before - mean == pytest.approx(shown.after, abs=6e-5)
        assert f"{hook}: the filter's mean {mean:+.4f} becomes +0.0000" in shown.title


def test_units_and_hooks_that_subtract_no_single_number():
    change = Change(np.array([2e-3, -4e-3, 6e-3]), np.array([1e-3, -2e-3, 3e-3]))
    assert str(grid("W", change, "halve")) == (
        "  W, of all 3 inputs, in units of 1e-03; halve: the filter's mean +1.3333 becomes +0.6667\n\n"
        "    +2.0000 -4.0000 +6.0000  → halve →  +1.0000 -2.0000 +3.0000"
    )
    assert str(grid("Grad", replace(change, after=change.before), "")) == (
        "  Grad, of all 3 inputs, in units of 1e-03; no hook: the filter's mean +1.3333 stays\n\n"
        "    +2.0000 -4.0000 +6.0000"
    )


def test_an_array_that_is_too_large_to_be_shown_is_cut():
    change = Change(*(np.arange(7.0 * 8 * 2).reshape(7, 8, 2),) * 2)
    shown = grid("W", change, "")
    assert shown.title.startswith("W, of input channel 0 of 2 (the first 5×5 of 7×8), in units of 1e+01; ")
    assert (shown.before == change.before[:5, :5, 0] / 10).all()
    many = grid("W", Change(*(np.ones(1000),) * 2), "")
    assert many.title.startswith("W, of the first 15 of its 1000 inputs; ")
    assert many.before.shape == (3, 5)
    assert many.share(0.5) == 0.5


def test_filters_that_are_no_images():
    """User-defined layers may have filters with any number of axes."""
    for shape in ((5, 4), (2, 3, 2, 2), (1, 7)):
        weights = np.arange(np.prod(shape), dtype=float).reshape(shape)
        shown = grid("W", Change(weights, weights), "")
        unit = 10.0 if weights.size > 10 else 1.0
        assert (shown.before.ravel() == weights.ravel()[: shown.before.size] / unit).all()
        assert shown.before.shape == (min(weights.size // 5, 3), 5)


def test_a_walk_says_what_a_trace_says():
    ours, theirs = trainer_of("WC, GC, EB"), trainer_of("WC, GC, EB")
    tracer = Tracer(theirs.net, theirs.optimizer, 1, {})
    (size, *_) = theirs.begin(1)
    tracer.step(0, theirs.loss, *theirs.train.next(size))
    for one, row in zip(walk(ours, "noise").layers, tracer.trace.rows, strict=True):
        assert {name: str(vars(one)[name]) for name in vars(row)} == {name: str(x) for name, x in vars(row).items()}
        points = (one.weights.mean[0], one.weights.changed, one.grads.mean[0], one.grads.changed)
        assert points == (row.w_mean, row.w_removed, row.g_mean, row.g_removed)


def test_a_missing_filter_is_an_error():
    trainer = trainer_of()
    with pytest.raises(
        MinidlError, match=r"no layer with filters is called 'conv7' .*; those .* conv1, conv2, fc1, fc2"
    ):
        walk(trainer, "noise", 3, "conv7")
    with pytest.raises(MinidlError, match=r"conv1 .* has 4 filters, from 0 to 3, and none of number 4"):
        walk(trainer, "noise", 3, None, 4)
    assert trainer.optimizer.step_count == 0


def test_reparametrization_shows_both_weights():
    one = walk(trainer_of("WS", mode="reparametrization"), "noise").layers[0]
    assert one.weights.mean[0] > 0
    assert one.weights.mean[1] == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("method", ["Baseline", "WN, EBN", "weight channel, gradient channel, error instance"])
def test_a_transcript_has_every_section_and_is_110_wide(method):
    text = transcript(walk(trainer_of(method), "noise"))
    titles = ["FORWARD", "LOSS", "BACKWARD", "COMPGRADS", "UPDATE", "AGAIN", "ONE FILTER", "SEEN"]
    assert re.findall(r"^[A-Z]{3}[A-Z ]*[A-Z](?= )", text, re.M) == titles
    assert max(map(len, text.splitlines())) <= WIDTH


@pytest.fixture(scope="module")
def seen():
    return walk(trainer_of("WC, GC, EB"), "noise")


def changed(seen, number, **values):
    layers = copy.copy(seen.layers)
    layers[number] = replace(layers[number], **values)
    return replace(seen, layers=layers)


def test_lessons(seen):
    plain = lessons(walk(trainer_of("Baseline"), "noise"))
    assert plain[0].startswith("There is no hook. Largest shares of filter means in the energy: ")
    point = Point("GC", (1, 0.1), (0.9, 0), 0.95)
    told = lessons(changed(seen, 1, grads=point))
    assert re.fullmatch(
        r"Largest changes by hooks, as shares of the norm: WC .* of the weights \(conv.\), GC 95.0 % of the gradient "
        r"\(conv2\), EB .* of the error \(conv2\)\.",
        told[0],
    )
    for values, sentence in (
        (
            {"angle": 108.2},
            "The hooks turned conv2's gradient most, by 108°; past 90°, a small step along it raises the loss.",
        ),
        ({"out_std": 1e6}, "The outputs grow from a standard deviation of "),
        ({"dead": 0.96}, "In conv2, 96 % of the channels are above 0 in no image, and learn nothing."),
        ({"alike": 0.99}, "conv2 hardly tells images apart: the mean cosine between the outputs of two is 0.99."),
    ):
        assert any(one.startswith(sentence) for one in lessons(changed(seen, 1, **values)))
        assert not any(one.startswith(sentence) for one in lessons(changed(seen, 1, angle=2.0)))


def test_a_loss_of_nan_is_said_first(seen):
    assert lessons(replace(seen, loss=(math.nan, math.nan), after=3))[0].startswith(
        "The loss is not a number, as the training before it has diverged: take fewer steps with --after"
    )
    first = lessons(replace(seen, loss=(math.nan, 1.0), after=0))[0]
    assert "before any step. Where the numbers grow too large on the way down the net, a method with" in first


def test_a_hook_whose_change_is_nan_is_not_reported_as_unchanged(seen):
    nan = math.nan
    lost = replace(seen.layers[0].weights, hook="N", norm=(1.0, nan), mean=(nan, nan), changed=nan)
    layers = [replace(one, weights=lost, grads=replace(one.grads, hook=""), error=None) for one in seen.layers]
    told = lessons(replace(seen, layers=layers))
    assert told[:2] == [
        "No change by a hook can be computed (nan).",
        "N left nan or inf in the weights of conv1.",
    ]
    before = [replace(one, weights=replace(lost, norm=(nan, nan))) for one in layers]  # the hook is not at fault
    assert not any("left nan" in sentence for sentence in lessons(replace(seen, layers=before)))
    dead = [replace(one, out_std=nan, dead=1.0) for one in layers]
    assert not any("learn nothing" in sentence for sentence in lessons(replace(seen, layers=dead)))


def test_a_net_with_weights_of_nan():
    trainer = trainer_of("WS")
    trainer.net.parameters[0].value[...] = np.nan
    text = transcript(walk(trainer, "noise"))
    assert "nan" in text
    assert max(map(len, text.splitlines())) <= WIDTH


class Page(HTMLParser):
    """Checks that every element ends, and keeps the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.links, self.tags = [], "", [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "!doctype"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += " "

    def handle_data(self, text):
        self.text += text


def test_a_page_says_what_the_transcript_says_and_escapes(seen, tmp_path):
    path = tmp_path / "walk.html"
    page.write(path, replace(seen, data="<script>alert(1)</script>"))
    found = Page(path.read_text("utf-8"))
    assert not {"script", "link", "img"} & set(found.tags)
    assert not found.links
    assert "5 images of <script>alert(1)</script>, after 0 steps" in found.text
    words = set(found.text.split())
    assert {word for word in transcript(seen).split() if word not in words} == {"noise,"}


def test_a_page_that_cannot_be_written(tmp_path):
    for path in (tmp_path, tmp_path / "missing" / "walk.html"):
        with pytest.raises(MinidlError, match="a page cannot be written to "):
            page.check(path)


@pytest.fixture
def arguments(folder):
    return ["--data", str(folder), "--batch-size", "5", "--device", "cpu", "--loops", "numpy"]


def test_the_command(arguments, tmp_path, capsys):
    path = tmp_path / "walk.html"
    assert main(["walk", "--model", "a", "--method", "GC", "--after", "3", "--html", str(path), *arguments]) == 0
    out = capsys.readouterr().out
    assert out.startswith("One batch through Algorithm 1: net (a), GC; 5 images of ")
    assert ", after 3 steps\n" in out
    assert out.endswith(f"The page: {path}\n")
    assert "</html>" in path.read_text("utf-8")


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ["--layer", "conv99"],
            "no layer with filters is called 'conv99' (did you mean conv3?); those of this net are conv1, ",
        ),
        (["--filter", "1000"], "conv1 (conv "),
        (["--method", "XY"], "the method 'XY' has the unknown word 'XY'"),
        (["--html", "cat.jpg"], "cat.jpg does not end in .html or .htm, as such a file must; choose another name"),
        (["--html", "/missing/walk.html"], "a page cannot be written to /missing/walk.html; "),
    ],
)
def test_errors_are_one_sentence(words, message, arguments, capsys):
    assert main(["walk", "--model", "a", "--after", "1000000", *words, *arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"minidl walk: {message}")
    assert not out


def test_without_jinja2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["walk", "--html", str(tmp_path / "walk.html"), *arguments]) == 2
    assert capsys.readouterr().err.startswith("minidl walk: a page needs Jinja2, which the extra study has: pip ")
    assert main(["walk", "--model", "a", "--method", "Baseline", *arguments]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("model", ["a", "b", "b-cifar", "c"])
@pytest.mark.parametrize("method", ["Baseline", "WS, GC, EL, BN", "weight channel, gradient channel, error sample"])
def test_every_net_for_images(model, method, capsys):
    size = ["--train-size", "20", "--batch-size", "4"]
    assert main(["walk", "--model", model, "--method", method, *size, "--device", "cpu"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= WIDTH


def test_a_net_without_filters():
    net = Net(Sequential(BatchNorm(), Flatten()), (6, 5, 3), kernels.load("reference"))
    with pytest.raises(
        MinidlError, match=r"no layer of this net has filters, .* walk through a net that has a layer such"
    ):
        walk(Trainer(net, SGD(net.parameters, net.kernels, 0.1), Source(), Source(), 1, 0), "set")


@pytest.mark.parametrize("place", ["hooks", "optimizer"])
@pytest.mark.parametrize(
    "step, message",
    [
        (lambda net, data: None, "conv1 .* has seen no forward pass in training"),
        (lambda net, data: net.predict(data), "conv1 .* has seen no forward pass in training"),
        (
            lambda net, data: (net.eval(), net.forward(data)),
            r"inside the with, call net.train\(\), where it was not in",
        ),
        (lambda net, data: net.forward(data), r"has seen no backpropagation, .*, call net.backpropagate\(error\)"),
        (lambda net, data: net.backpropagate(net.forward(data).copy()), ""),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_a_watch_needs_a_training_step(place, step, message, before):
    """Even if there was one before."""
    net = trainer_of(place=place).net
    data = np.ones((2, 6, 5, 3), np.float32)
    if before:
        net.backpropagate(net.forward(data).copy())
    with pytest.raises(MinidlError, match=message) if message else nullcontext(), watch(net):
        step(net, data)
    assert not net.observed
