"""Training from the command line: records, repeatability, resuming, and errors for people."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from run_logs import log

import train
from minidl import checkpoint
from minidl.experiment.options import as_words, read
from minidl.experiment.settings import complete
from minidl.net import Net


def test_the_record_of_a_run(pictures, run, tmp_path, capsys):
    assert run("--method", "WC, GC, fully") == 0
    path = tmp_path / "run"
    assert sorted(p.name for p in path.iterdir()) == [
        "checkpoint.safetensors",
        "config.json",
        "curves.png",
        "log.csv",
        "result.json",
    ]
    config = json.loads((path / "config.json").read_text())
    assert config["settings"]["method"] == "WC, GC, fully"
    assert config["settings"]["batch_size"] == 5
    assert config["settings"]["learning_rate"] == 1e-3
    assert config["versions"]["numpy"] == np.__version__
    rows = log(path)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert list(rows[0]) == [
        "epoch",
        "learning_rate",
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
    ]
    result = json.loads((path / "result.json").read_text())
    assert result["model"] == "c"
    assert result["epochs"] == 2
    assert result["test_accuracy"] == float(rows[-1]["test_accuracy"])
    assert result["images_per_second"] > 0
    assert (result["device"], result["precision"]) == ("cpu", "fp32")
    with Image.open(path / "curves.png") as curves:
        assert curves.size[0] > 500
    shown = capsys.readouterr().out
    assert "conv1" in shown
    assert "CPU, 2 of" in shown
    assert "test accuracy" in shown


def test_testing_now_and_then_changes_nothing_else(run, tmp_path, capsys):
    assert run("--epochs", 3, out="always") == 0
    assert run("--epochs", 3, "--test-every", 2, out="rarely") == 0
    always, rarely = log(tmp_path / "always"), log(tmp_path / "rarely")
    assert [row["test_accuracy"] == "nan" for row in rarely] == [True, False, False]
    assert always[1:] == rarely[1:]
    assert always[0]["train_loss"] == rarely[0]["train_loss"]
    assert "nan" not in capsys.readouterr().out


def test_learning_happens(run, tmp_path):
    run("--epochs", 6, "--method", "Baseline", "--learning-rate", 0.01)
    rows = log(tmp_path / "run")
    assert float(rows[-1]["train_loss"]) < 0.5 * float(rows[0]["train_loss"])
    assert float(rows[-1]["test_accuracy"]) == 1.0


def test_the_same_seed_gives_the_same_log_and_another_does_not(run, tmp_path):
    for out, seed in (("one", 3), ("two", 3), ("other", 4)):
        assert run("--seed", seed, "--quiet", out=out) == 0
    assert log(tmp_path / "one") == log(tmp_path / "two")
    assert log(tmp_path / "one") != log(tmp_path / "other")


@pytest.mark.parametrize(
    "options",
    [
        ["--optimizer", "sgd", "--learning-rate", "0.1"],
        ["--optimizer", "adam", "--mode", "reparametrization", "--method", "WS, GC"],
    ],
)
def test_a_resumed_run_equals_one_that_did_not_stop(run, tmp_path, options):
    assert run("--epochs", 3, *options, out="whole") == 0
    assert run("--epochs", 1, *options, out="parts") == 0
    assert run("--resume", tmp_path / "parts", "--epochs", 3) == 0
    assert log(tmp_path / "whole") == log(tmp_path / "parts")
    whole, parts = (checkpoint.load(tmp_path / name, "cpu") for name in ("whole", "parts"))
    for a, b in zip(whole.parameters, parts.parameters, strict=True):
        np.testing.assert_array_equal(a.value, b.value)


@pytest.mark.parametrize("mode", ["projection", "reparametrization"])
def test_a_saved_net_is_a_plain_net_with_the_same_outputs(run, tmp_path, random, monkeypatch, mode):
    nets = []
    monkeypatch.setattr(Net, "eval", lambda net, plain=Net.eval: (nets.append(net), plain(net)))
    assert run("--method", "WC, GC, fully", "--mode", mode) == 0
    data = random.standard_normal((3, 32, 32, 3)).astype(np.float32)
    trained = nets[-1].forward(data).copy()
    saved = checkpoint.load(tmp_path / "run" / checkpoint.NAME, "cpu")
    np.testing.assert_allclose(saved.forward(data), trained, atol=1e-5)
    assert all(layer.at_weights.hook is None for layer in saved.layers)
    assert abs(saved.layers[2].weights.value.mean((1, 2, 3))).max() < 1e-6


def test_a_folder_of_runs_names_them(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert train.main(["--resume", str(tmp_path)]) == 2
    ending = f"give a run in that folder: {tmp_path / 'one'}, {tmp_path / 'two'}\n"
    assert capsys.readouterr().err.endswith(ending)


def test_the_sizes_of_the_parts(run, tmp_path, capsys):
    assert run("--train-size", 7, "--test-size", 3) == 0
    assert "7 images to train on, 3 to test on" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model", "z"], "the model 'z' is unknown; use a, b, b-cifar"),
        (["--method", "WX"], "unknown word 'WX'"),
        (["--mode", "both"], "the mode 'both' is unknown"),
        (["--optimizer", "lbfgs"], "the optimizer 'lbfgs' is unknown; use adam or sgd"),
        (["--variant", "dlib", "--optimizer", "adam"], "the variant 'dlib' of adam is unknown"),
        (["--batch-size", "17"], "a batch of 17 is larger than the 16 images"),
        (["--train-size", "99"], "--train-size asks for 99 images, and "),
        (["--test-size", "99"], "has 4 to test on; give at most that"),
        (["--data", "cifar10", "--crop", "10"], "the images of cifar10 are of one size already; --crop is for voc2012"),
        (["--data", "cifar100", "--shrink", "2"], "are of one size already; --shrink is for voc2012"),
        (["--precision", "fp16"], "the precision 'fp16' is unknown (did you mean bf16?); use fp32, tf32 or bf16"),
        (["--device", "tpu"], "the device 'tpu' is unknown"),
        (["--precision", "tf32"], "the CPU computes in fp32, not in tf32"),
        (["--data", "nowhere"], "'nowhere' is neither a data set nor a folder"),
        (["--resume", "nowhere"], "there is no run in nowhere"),
        (["--model", "cc"], "the model 'cc' is unknown (did you mean c?); use a, b"),
        (["--data", "voc2012"], "voc2012 has a label for each pixel and none for an image; use --model d"),
        (["--data", "cifar10", "--model", "d"], "cifar10 has no label for each pixel, which --model d needs"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(run, tmp_path, capsys, arguments, message):
    assert run(*arguments) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.startswith("train.py: ")
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--epochs", "0"], "must be a whole number of at least 1, not 0"),
        (["--batch-size", "-5"], "must be a whole number of at least 1, not -5"),
        (["--learning-rate", "-1"], "must be a number above 0, not -1"),
        (["--learning-rate", "nan"], "must be a number above 0, not nan"),
        (["--weight-decay", "-1"], "must be a number of at least 0, not -1"),
        (["--seed", "x"], "must be a whole number of at least 0, not x"),
        (["--seed", "-1"], "must be a whole number of at least 0, not -1"),
    ],
)
def test_bad_numbers_are_refused_by_the_parser(run, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_status:
        run(*arguments)
    assert exit_status.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_a_gpu(run, tmp_path, capsys, monkeypatch):
    for package, hint in ((None, "the package CuPy is missing"), (False, "CuPy finds no NVIDIA GPU")):
        cupy = package if package is None else SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        assert run("--device", "gpu") == 2
        shown = capsys.readouterr().err
        assert shown.startswith(f"train.py: no GPU can be used: {hint}")
        assert shown.count("\n") == 1
        assert run("--device", "auto", "--quiet", out=str(package)) == 0
        assert json.loads((tmp_path / str(package) / "result.json").read_text())["device"] == "cpu"


def test_the_reference_trains_and_says_that_it_is_slow(run, tmp_path, capsys):
    assert run("--device", "reference", "--epochs", 1) == 0
    assert "the reference: every operation as its equation says, in plain NumPy; slow" in capsys.readouterr().out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["device"], result["precision"]) == ("reference", "fp32")


def test_a_run_on_the_gpu_can_be_resumed_on_the_cpu(gpu, run, tmp_path, capsys):
    assert run("--device", "gpu", "--precision", "fp32", "--method", "WC, GC, BN", "--epochs", 1) == 0
    shown = capsys.readouterr().out
    assert gpu.describe().split(";")[0].split(",")[0] in shown
    assert "products by" in shown
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["device"], result["precision"]) == ("gpu", "fp32")
    assert run("--resume", tmp_path / "run", "--epochs", 2) == 0
    assert run("--method", "WC, GC, BN", out="cpu") == 0
    for mixed, pure in zip(log(tmp_path / "run"), log(tmp_path / "cpu"), strict=True):
        assert float(mixed["train_loss"]) == pytest.approx(float(pure["train_loss"]), rel=0.05, abs=0.01)


def test_too_little_memory_is_an_error_of_one_sentence(run, capsys, monkeypatch):
    def full(*_):
        raise MemoryError("out of memory allocating 4,096 bytes")

    monkeypatch.setattr("minidl.experiment.trainer.Trainer.next_step", full)
    assert run("--quiet") == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "a batch of 5 images needs more memory than is free" in shown
    assert "--batch-size 2" in shown


def test_a_folder_that_cannot_be_written(run, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert run(out="file") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_run_is_not_overwritten(run, tmp_path, capsys):
    assert run("--quiet") == 0
    before = (tmp_path / "run" / "log.csv").read_text()
    assert run("--quiet") == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (tmp_path / "run" / "log.csv").read_text() == before


def test_a_run_that_stopped_in_its_first_epoch_can_be_resumed(run, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("minidl.experiment.trainer.Trainer.next_step", interrupted)
        assert run("--quiet", "--method", "WC") == 130
    assert f"go on with: python train.py --resume {tmp_path / 'run'}" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", "log.csv", checkpoint.NAME}
    assert run("--resume", tmp_path / "run") == 0
    assert run("--quiet", "--method", "WC", out="whole") == 0
    assert log(tmp_path / "run") == log(tmp_path / "whole")


def test_runs_that_resume_refuses(run, tmp_path, capsys):
    path = tmp_path / "run"
    assert run("--quiet") == 0
    assert run("--resume", path) == 2
    assert "has finished its 2 epochs" in capsys.readouterr().err
    assert run("--resume", path, "--precision", "bf16", "--epochs", 3) == 2
    assert "the CPU computes in fp32, not in bf16" in capsys.readouterr().err
    assert run("--resume", path, "--method", "WS", "--epochs", 3) == 2
    assert "which --resume cannot change to 'WS'" in capsys.readouterr().err
    (path / "checkpoint.safetensors").write_bytes(b"garbage")
    assert run("--resume", path, "--epochs", 3) == 2
    assert "is not a checkpoint of minidl" in capsys.readouterr().err
    (path / "checkpoint.safetensors").unlink()
    assert run("--resume", path, "--epochs", 3) == 2
    assert "there is no checkpoint" in capsys.readouterr().err


def test_with_quiet_only_the_result_is_printed(run, capsys):
    assert run("--quiet") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("test accuracy")
    assert captured.out.count("\n") == 1
    assert captured.err == ""


@pytest.mark.parametrize(
    "data, expected",
    [
        ("cifar10", ("adam", 1e-3, 5e-5, 50, 300, 50)),
        ("cifar100", ("sgd", 1e-1, 5e-4, 50, 300, 50)),
        ("voc2012", ("sgd", 1e-1, 1e-4, 10, 800, 200)),
    ],
)
def test_the_recipes_are_those_of_section_5(data, expected):
    settings, _ = complete(*read(train.parser(), ["--data", data]))
    names = ("optimizer", "learning_rate", "weight_decay", "batch_size", "epochs", "drop_every")
    assert tuple(settings[name] for name in names) == expected


def test_words_that_begin_with_a_dash_are_read_again_as_they_were():
    """In the runs that other commands begin."""
    given = {"method": "-med, WC", "out": "-x/y", "resume": "--x", "init": "-", "import": ["-a.py", "b.py"], "seed": 3}
    found = vars(train.parser().parse_args(as_words(given)))
    assert {name: found[name] for name in given} == given
