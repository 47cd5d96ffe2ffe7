"""Files with user-defined parts (--import FILE): mistakes in a file, and what a run remembers about it."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from run_logs import log
from safetensors.numpy import load_file

import reproduce
import train
from minidl import models
from minidl.__main__ import main as minidl_main
from minidl.experiment.cli.own_code import import_files, records_of
from minidl.experiment.saving import checkpoint
from minidl.experiment.sweeps import process_run
from minidl.experiment.sweeps.budget import budget
from minidl.experiment.sweeps.row_run import run_of
from minidl.experiment.sweeps.rows import read_rows
from minidl.kernels.errors import MinidlError
from minidl.method import parse
from minidl.normalizations import NORMALIZATIONS
from minidl.study.card import card

pytestmark = pytest.mark.usefixtures("names")

CHECKOUT = Path(__file__).parents[1]
PLAIN = ("--quiet", "--model", "a", "--epochs", 1, "--batch-size", 4, "--train-size", 4, "--test-size", 2)
SMALL = ("--quiet", "--model", "three", "--batch-size", 5)
TINY = """import minidl


@minidl.normalization("median", at="weights")
def median(x):
    return x - x.mean()
"""
DECORATED = 4 if sys.version_info >= (3, 11) else 5  # the line that Python names when a decorator refuses


def medians(path):
    """Return the largest median of a filter in the first layer of a saved net."""
    weights = checkpoint.load(path, "cpu").layers[0].weights.value
    return abs(np.median(weights.reshape(len(weights), -1), axis=1)).max()


def test_a_run_with_the_page_loads_without_it(run, page, tmp_path):
    assert run("--import", page, *SMALL, "--epochs", 1) == 0
    assert run("--import", page, *PLAIN, "--method", "median, BN", out="plain") == 0
    assert medians(tmp_path / "run") < 1e-7
    load_it = (
        "import sys, numpy as np; from minidl import checkpoint; net = checkpoint.load(sys.argv[1], 'reference'); "
        "print(net.method, *(layer.kind for layer in net.layers[:2]), "
        "net.predict(np.zeros((2, 32, 32, 3), np.uint8)).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", load_it, tmp_path / "plain"], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert done.stdout == "Baseline, BN conv relu (2, 2)\n"
    about = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (about["model"], about["method"]) == ("three", "median, GC")


def test_a_run_is_resumed_with_the_same_file_at_any_path(run, page, tmp_path, sentence):
    assert run("--import", page, *SMALL, out="whole") == 0
    assert run("--import", page, *SMALL, "--epochs", 1) == 0
    go_on = ("--resume", tmp_path / "run", "--epochs", 2, "--quiet")
    assert run(*go_on) == 2
    assert f"was begun with --import {page}; minidl imports only files that you name, so add that option" in sentence()
    (tmp_path / "elsewhere").mkdir()
    moved = page.rename(tmp_path / "elsewhere" / "renamed.py")
    assert run(*go_on, "--import", moved, "--import", moved) == 2
    assert f"was begun with --import {page} alone; go on with it in the same way" in sentence()
    NORMALIZATIONS.pop("median")
    NORMALIZATIONS.pop("spectral")
    models.MODELS.pop("three")
    models.MODELS.pop("three-clipped")
    assert run(*go_on, "--import", moved) == 0
    assert log(tmp_path / "run") == log(tmp_path / "whole")
    kept = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["import"]
    assert [record["file"] for record in kept] == [str(moved)]


def test_a_run_with_the_optimizer_of_the_page_goes_on_with_its_moments(run, page, tmp_path, sentence):
    options = ("--import", page, *SMALL, "--optimizer", "sign")
    assert run(*options) == 2
    assert "sign does not do GC and WC in its update, as conv1.weights needs it; build the net with" in sentence()
    assert not (tmp_path / "run").exists()
    options += ("--place", "hooks")
    assert run(*options, out="whole") == 0
    assert run(*options, "--epochs", 1) == 0
    assert run("--import", page, "--resume", tmp_path / "run", "--epochs", 2, "--quiet") == 0
    assert log(tmp_path / "run") == log(tmp_path / "whole")
    moments = [
        load_file(tmp_path / name / checkpoint.NAME)["optimizer/conv1.weights.moment1"] for name in ("run", "whole")
    ]
    np.testing.assert_array_equal(*moments)


def test_a_file_that_has_changed_is_not_run(run, page, tmp_path, sentence):
    assert run("--import", page, *SMALL, "--epochs", 1) == 0
    page.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + page.read_text())
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    assert run("--resume", tmp_path / "run", "--epochs", 2, "--import", page) == 2
    said = sentence()
    assert f"{page} is not what the run in {tmp_path / 'run'} was begun with" in said
    assert "put it back as it was, or start a new run" in said
    assert not (tmp_path / "ran").exists()
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}


def test_nothing_is_imported_because_a_configuration_names_it(run, write, tmp_path, sentence):
    assert run(*PLAIN) == 0
    mark = tmp_path / "ran"
    path = write(f"open({str(mark)!r}, 'w')\n")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["settings"]["import"] = [{"file": path, "sha256": "0"}]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert run("--resume", tmp_path / "run", "--epochs", 2) == 2
    assert "minidl imports only files that you name" in sentence()
    checkpoint.load(tmp_path / "run", "cpu")
    assert not mark.exists()


@pytest.mark.parametrize("written", [5, "my_norm.py", ["my_norm.py"], [{"file": "my_norm.py"}], None])
def test_a_configuration_that_does_not_say_what_it_imports(written, tmp_path):
    with pytest.raises(MinidlError, match="does not say by file and sha256 what it imports; put it back"):
        records_of({"import": written}, tmp_path)


def test_a_run_without_import_is_resumed_without_it(run, page, tmp_path, sentence):
    assert run(*PLAIN) == 0
    assert run("--resume", tmp_path / "run", "--epochs", 2, "--import", page) == 2
    assert "was begun without --import; go on with it in the same way, or start a new run" in sentence()


def test_an_interrupted_run_says_what_to_import(run, page, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("minidl.experiment.trainer.Trainer.next_step", interrupted)
        assert run("--import", page, *SMALL) == 130
    assert f"--resume {tmp_path / 'run'} --import {page}\n" in capsys.readouterr().err


def test_a_table_passes_its_files_on(write, tmp_path, monkeypatch):
    called = []

    def start(command, **_):
        called.append(command)
        return SimpleNamespace(returncode=1, stderr="")

    path, row = write(TINY), read_rows(2)[0]
    monkeypatch.setattr(process_run, "finished", start)
    monkeypatch.setattr("minidl.experiment.sweeps.reproduction.data.load", lambda *_: ([], []))
    words = ["--table", "2", "--rows", "Baseline", "--out", str(tmp_path / "out"), "--import", path]
    options = reproduce.parser().parse_args(words)
    assert reproduce.main(words) == 1
    settings, files = budget(options, row), import_files([path])
    folder = run_of(tmp_path / "out", row, 0, settings, files).folder
    assert folder != run_of(tmp_path / "out", row, 0, settings).folder
    folder.mkdir()
    (folder / "config.json").touch()
    assert reproduce.main(words) == 1
    begun, resumed = (" ".join(command) for command in called)
    assert f"--out {folder}" in begun
    assert f"--resume {folder}" in resumed
    assert f"--import {path}" in begun
    assert f"--import {path}" in resumed


@pytest.mark.parametrize(
    "words, shown",
    [
        (["gradcheck", "--model", "three", "--method", "spectral", "--mode", "reparametrization"], "conv1"),
        (["gradcheck", "--layer", "relu"], "relu"),
        (["gradcheck", "--layer", "leaky"], "\nLeakyReLU 5×4×2  data "),
        (["walk", "--model", "three", "--batch-size", "5"], "net (three), median, GC"),
        (["compare", "--model", "three", "--methods", "median"], "--methods names 1 method"),
    ],
)
def test_every_command_takes_the_file(page, folder, words, shown, capsys):
    data = ["--data", str(folder)] if words[0] == "walk" else []
    status = minidl_main([*words, *data, "--import", str(page)])
    said = capsys.readouterr()
    assert shown in said.out + said.err
    assert status == (2 if words[0] == "compare" else 0)


def test_the_card_of_a_user_defined_normalization(page, backend):
    import_files([str(page)])
    for name in ("median", "spectral"):
        (normalization,) = parse(name).normalizations
        assert card(normalization.bind(backend), backend)


@pytest.mark.parametrize(
    "text, message",
    [
        ("x = 1\ny = (\n", "line 2: SyntaxError: '(' was never closed"),
        ("x = 1\n\nimport nowhere\n", "line 3: ModuleNotFoundError: No module named 'nowhere'"),
        ("def f():\n    return 1 / 0\n\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError: "),
        ("raise ValueError\n", "line 1: ValueError\n"),
        ("import sys\nsys.exit(0)\n", "line 2: it ends the program here; remove that, or put it under: if __name__"),
        ("import argparse as a\n\na.ArgumentParser().parse_args(['-h'])\n", "line 3: it ends the program here"),
        ("x = 'ü'\n".encode("latin-1"), "SyntaxError: "),
        (TINY.replace("median", "WC"), f"line {DECORATED}: the name 'WC' is taken by WC; use another"),
        (TINY.replace("weights", "weight"), f"line {DECORATED}: the hook point 'weight' is unknown (did you mean w"),
    ],
)
def test_a_mistake_in_a_file_is_one_sentence_with_its_line(run, tmp_path, sentence, text, message):
    path = tmp_path / "my_norm.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert run("--import", path) == 2
    said = sentence()
    assert said.startswith(f"train.py: {path}, line ")
    assert message in said
    assert "my_norm" not in sys.modules
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name, message",
    [
        ("nowhere.py", "nowhere.py cannot be imported (No such file or directory); --import takes a file in Python"),
        ("my-norm.py", "the file my-norm.py cannot be a module; give it a name such as my_norm.py"),
        ("my_norm.txt", "the file my_norm.txt cannot be a module"),
        ("numpy.py", "numpy.py has the name of another module; rename it, such as my_numpy.py"),
        ("antigravity.py", "antigravity.py has the name of another module"),
    ],
)
def test_a_file_that_cannot_be_a_module(run, write, tmp_path, sentence, name, message):
    path = str(tmp_path / name) if name == "nowhere.py" else write(TINY, name)
    assert run("--import", path) == 2
    assert message in sentence()
    assert sys.modules["numpy"] is np
    assert "antigravity" not in sys.modules


def test_files_are_modules_of_their_names_and_may_be_several(run, write, tmp_path):
    first = write("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: 'int'\n" + TINY, "one.py")
    second = write(
        "import one\nassert one.A(3).x == 3\n" + TINY.replace("median", "other").replace("weights", "grads"), "two.py"
    )
    assert run("--import", first, "--import", second, "--method", "median, other", *PLAIN) == 0
    assert str(parse("median, other")) == "median, other"
    assert import_files([first])[0].record["file"] == first  # the same file again


def test_a_file_runs_once_as_it_is_and_again_where_it_has_changed(write, tmp_path):
    """The file names a transform of the library; if another file gave the same name, it would look the same."""
    named = "import minidl.normalizations as n\nn.register('channel WS', 'weights', 'channel', 'standardize')\n"
    path = write(named)
    import_files([path])
    import_files([path])
    mark = tmp_path / "ran"
    write(f"open({str(mark)!r}, 'w').close()\n")
    import_files([path])
    assert mark.exists()


def test_a_word_that_no_file_has_named_says_where_it_may_come_from(run, sentence):
    assert run("--method", "median") == 2
    assert "or --import the file that defines your own" in sentence()
    assert run("--model", "three") == 2
    assert "use a, b, b-cifar, c or d, or --import the file that names it" in sentence()
    assert vars(train.parser().parse_args([]))["import"] is None


def test_a_function_that_ends_the_program_is_reported_with_its_line(run, write, sentence):
    path = write("import sys, minidl\n\n\n@minidl.model('quits')\ndef quits(classes, method):\n    sys.exit(0)\n")
    assert run("--import", path, "--model", "quits", "--method", "Baseline") == 2
    assert f"{path}, line 6: it ends the program here; remove that" in sentence()


NOTHING_TO_LEARN = """import minidl
from minidl.layer import Layer
from minidl.layers import Flatten, Sequential


@minidl.model("cut")
def cut(classes, method):
    return Sequential(Flatten(), Cut(classes))


class Cut(Layer):
    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def infer_shape(self, shape):
        return (self.outputs,)

    def compute_output(self, data):
        return data[:, : self.outputs].copy()
"""


@pytest.mark.parametrize("command", ["train", "walk", "init"])
def test_a_net_that_learns_nothing_is_not_trained(run, write, folder, tmp_path, sentence, capsys, command):
    options = ["--import", write(NOTHING_TO_LEARN), "--model", "cut", "--method", "Baseline", "--batch-size", "4"]
    if command == "init":
        assert run(*PLAIN, out="start") == 0
        options += ["--init", str(tmp_path / "start")]
    capsys.readouterr()
    status = minidl_main(["walk", "--data", str(folder), *options]) if command == "walk" else run(*options)
    assert status == 2
    assert "the model 'cut' has no parameters, so that there is nothing to train; give it a layer" in sentence()
    assert not (tmp_path / "run").exists()
