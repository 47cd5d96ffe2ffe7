"""The command that compares methods: runs differ only in the method, run once, and are compared over their seeds."""

import csv
import io
import math
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from minidl.__main__ import main as minidl
from minidl.commands.compare import parser
from minidl.experiment import plots
from minidl.experiment.cli.command import Command
from minidl.experiment.saving.records import read_log, read_settings
from minidl.experiment.sweeps import compare_results, process_run
from minidl.experiment.sweeps.compare_display import Display
from minidl.experiment.sweeps.compare_results import MORE_SEEDS, ONE_SEED, table
from minidl.experiment.sweeps.comparison import FREE
from minidl.experiment.sweeps.method_run import MethodRun, run_of
from minidl.experiment.sweeps.process_run import as_words
from minidl.experiment.sweeps.seeds import difference
from minidl.experiment.trainer import Epoch, Trainer

METHODS = "Baseline; GC"


@pytest.fixture
def compare(folder, tmp_path, monkeypatch, small, in_this_process):
    """Return a function that compares methods on a small set, in this process, and returns the exit status."""
    small("a", filters=(4, 4, 4), hidden=16)
    monkeypatch.setattr(process_run, "LOOK", 0.01)
    monkeypatch.setattr(compare_results, "report", lambda *_: "the report")
    monkeypatch.setattr("minidl.commands.compare.TRACE_EVERY", None)  # without traces, which take longer
    for name in ("curves", "comparison"):
        monkeypatch.setattr(plots, name, lambda *_: b"a picture")

    def call(*arguments, methods=METHODS):
        small = ["--model", "a", "--batch-size", "16", "--epochs", "1", "--loops", "numpy", "--device", "cpu"]
        place = ["--data", str(folder), "--out", str(tmp_path / "out"), "--jobs", "1"]
        return minidl(["compare", "--methods", methods, *small, *place, *map(str, arguments)])

    return call


def folders(tmp_path):
    return sorted(path.parent for path in (tmp_path / "out").glob("*/result.json"))


def test_a_folder_of_a_run_is_not_taken_for_several(compare, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}")
    assert compare() == 2
    holds = f"{tmp_path / 'out'} holds a run, and several runs need a folder of their own; give another --out\n"
    assert capsys.readouterr().err == f"minidl compare: {holds}"
    assert minidl(["reproduce", "--table", "2", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"minidl reproduce: {holds}"


def test_methods_are_trained_equally_once_and_set_side_by_side(compare, tmp_path, capsys):
    assert compare("--seeds", 2) == 0
    shown = capsys.readouterr().out
    assert "2 methods × 2 seeds = 4 runs of 1 epoch, 4 epochs in all, of 16 images" in shown
    assert "| Baseline | " in shown
    assert MORE_SEEDS in shown
    names = ["baseline-seed0", "baseline-seed1", "gc-seed0", "gc-seed1"]
    assert [folder.name for folder in folders(tmp_path)] == names
    with open(tmp_path / "out" / "compare.csv") as file:
        assert sorted(row["run"] for row in csv.DictReader(file)) == names
    assert (tmp_path / "out" / "compare.png").read_bytes() == b"a picture"

    times = [(folder / "log.csv").stat().st_mtime_ns for folder in folders(tmp_path)]
    assert compare("--seeds", 2, "--quiet") == 0
    again = capsys.readouterr().out
    assert [(folder / "log.csv").stat().st_mtime_ns for folder in folders(tmp_path)] == times
    assert shown.endswith(again)
    assert compare("--seeds", 2, methods=f"{METHODS}; WC") == 0
    assert [folder.name for folder in folders(tmp_path)] == [*names, "wc-seed0", "wc-seed1"]
    assert [(folder / "log.csv").stat().st_mtime_ns for folder in folders(tmp_path)[:4]] == times


def test_the_examples_of_the_help_do_not_refuse_each_other():
    """Examples with the same folder have the same settings."""
    command, settings = Command("minidl compare", "minidl compare"), {}
    lines = [line for line in parser(command).epilog.splitlines() if line.startswith("  minidl compare")]
    assert len(lines) > 4
    for line in lines:
        options = vars(parser(command).parse_args(shlex.split(re.split(r"   ", line.strip())[0])[2:]))
        out = options.pop("out") or (options["model"], options["data"])
        said = {name: value for name, value in options.items() if name not in (*FREE, "methods", "seeds", "jobs")}
        assert settings.setdefault(out, said) == said


def test_they_begin_with_equal_weights_on_equal_batches(compare, tmp_path):
    """The loss of a single step, before its update, is the loss of the initial weights."""
    assert compare("--seeds", 2, methods="Baseline; GC; EL") == 0
    losses = {folder.name: read_log(folder)[0].train_loss for folder in folders(tmp_path)}
    assert len(losses) == 6
    for seed in (0, 1):
        assert len({losses[f"{method}-seed{seed}"] for method in ("baseline", "gc", "el")}) == 1
    assert losses["gc-seed0"] != losses["gc-seed1"]
    settings = [read_settings(folder) for folder in folders(tmp_path)]
    assert {name for name in settings[0] if len({str(one[name]) for one in settings}) > 1} == {"method", "seed", "out"}
    assert {"method", "seed", "out"} < set(FREE)


@pytest.mark.parametrize(
    "methods, message",
    [
        ("WC", "--methods names 1 method, and a comparison takes two or more"),
        (" ; ", "--methods names no method"),
        ("WC, GC; EL; GC, weight tensor", "'WC, GC' and 'GC, weight tensor', which are the same; leave one"),
        ("WC; wc", "--methods names 'WC' twice; leave one"),
        ("WC; WZ", "the method 'WZ' has the unknown word 'WZ'"),
        ("WC; WC, BN, LN", "normalizes the data twice"),
    ],
)
def test_methods_that_cannot_be_compared(compare, tmp_path, capsys, methods, message):
    assert compare(methods=methods) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_method_that_does_not_fit_the_net_is_refused_before_training(compare, tmp_path, capsys):
    assert compare("--batch-size", 1, methods="Baseline; EB, fully") == 2
    assert "cannot have EB: the area 'channel' leaves one element per group" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [("--method", "WC"), ("--seed", "3"), ("--resume", "runs/NAME")])
def test_options_that_a_comparison_sets_itself_are_refused(compare, capsys, option):
    with pytest.raises(SystemExit):
        compare(*option)
    assert f"argument {option[0]}: a comparison sets it itself; " in capsys.readouterr().err


def test_runs_with_other_settings_are_not_mixed(compare, tmp_path, capsys):
    assert compare() == 0
    for option, value, earlier in (("epochs", "2", "1"), ("optimizer", "'sgd'", "'adam'"), ("batch-size", "4", "16")):
        assert compare(f"--{option}", value.strip("'"), methods="WC; EL") == 2
        error = capsys.readouterr().err
        assert f"the run in {tmp_path / 'out' / 'baseline-seed0'} has {option} {earlier} and not {value}, so" in error
        assert "give the same settings, or another folder with --out" in error
    assert compare("--epochs", 2, "--batch-size", 4, methods="WC; EL") == 2
    error = capsys.readouterr().err
    assert "epochs 1 and not 2" in error
    assert "batch-size 16 and not 4" in error
    assert len(folders(tmp_path)) == 2
    assert compare("--threads", 1, "--data-root", tmp_path) == 0


def repainted(folder):
    """Replace the images of a folder by others with the same names."""
    for path in folder.glob("*/*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)


@pytest.mark.parametrize("methods", [METHODS, f"{METHODS}; WC"])
def test_runs_on_other_data_are_not_mixed(compare, folder, tmp_path, capsys, methods):
    assert compare() == 0
    earlier = capsys.readouterr().out
    repainted(folder)
    assert compare(methods=methods) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    first = tmp_path / "out" / "baseline-seed0"
    assert f"the data {str(folder)!r} are not those that the run in {first} was trained on: the training" in shown.err
    assert shown.err.endswith("put them back as they were, or give another folder with --out\n")
    repainted(folder)
    assert compare() == 0
    assert earlier.endswith(capsys.readouterr().out[-200:])
    assert len(folders(tmp_path)) == 2


def test_a_run_that_does_not_say_its_data_is_not_mixed(compare, tmp_path, capsys):
    assert compare() == 0
    (tmp_path / "out" / "gc-seed0" / "checkpoint.safetensors").unlink()
    assert compare(methods=f"{METHODS}; WC") == 2
    error = capsys.readouterr().err
    assert f"were when the run in {tmp_path / 'out' / 'gc-seed0'} was trained, as checkpoint" in error


@pytest.mark.parametrize("kind", ["run", "file"])
def test_runs_that_began_with_other_weights_are_not_mixed(compare, tmp_path, capsys, kind):
    out, aside, starts = tmp_path / "out", tmp_path / "aside", [tmp_path / "one", tmp_path / "two"]
    assert compare("--seeds", 2) == 0
    for start, seed in zip(starts, (0, 1), strict=True):
        (out / f"baseline-seed{seed}").rename(start)
    out.rename(aside)
    init = starts[0] / "checkpoint.safetensors" if kind == "file" else starts[0]
    assert compare("--init", init) == 0
    assert compare("--init", init, methods="Baseline; WC") == 0
    assert len(folders(tmp_path)) == 3
    shutil.copy(starts[1] / "checkpoint.safetensors", starts[0])
    capsys.readouterr()
    assert compare("--init", init, methods="Baseline; EL") == 2
    shown = capsys.readouterr()
    assert re.search(rf"{init} is not what the runs in {out} began with \(its SHA-256 was .{{12}}… and is", shown.err)
    assert shown.out == ""
    (out / "init.json").unlink()
    assert compare("--init", init, methods="Baseline; EL") == 2
    assert f"it is not known what was in {init} when the runs in {out} began with it" in capsys.readouterr().err
    (out / "init.json").write_text("{")
    assert compare("--init", init, methods="Baseline; EL") == 2
    assert f"{out / 'init.json'} cannot be read" in capsys.readouterr().err
    assert len(folders(tmp_path)) == 3


@pytest.mark.parametrize("what", ["data", "init"])
def test_a_change_between_two_runs_is_reported_instead_of_a_table(compare, folder, tmp_path, monkeypatch, capsys, what):
    assert compare() == 0
    start = tmp_path / "start"
    (tmp_path / "out").rename(start)
    real = process_run.finished

    def run(command):
        done = real(command)
        if what == "data":
            repainted(folder)
        else:
            shutil.copy(start / "gc-seed0" / "checkpoint.safetensors", start / "baseline-seed0")
        return done

    monkeypatch.setattr(process_run, "finished", run)
    capsys.readouterr()
    assert compare("--init", start / "baseline-seed0") == 2
    shown = capsys.readouterr()
    assert "| GC |" not in shown.out
    said = {"data": "are not those that the run in", "init": "is not what the runs in"}[what]
    assert said in shown.err
    assert not (tmp_path / "out" / "compare.csv").exists()


def test_a_comparison_continues_where_it_stopped(compare, tmp_path, monkeypatch, capsys):
    real, steps = Trainer.next_step, []

    def broken(trainer, size):
        steps.append(size)
        if len(steps) == 2:  # the second run's only step
            raise KeyboardInterrupt
        real(trainer, size)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "next_step", broken)
        assert compare() == 1
        assert compare() == 0
    shown = capsys.readouterr().out
    assert "| GC | - | - | - | - |" in shown
    assert "(1 have finished already)" in shown
    assert len(steps) == 3
    assert len(folders(tmp_path)) == 2


OWN = """import minidl


@minidl.normalization("my norm", at="weights")
def my_norm(x):
    return x / 2
"""


@pytest.fixture
def own(names, tmp_path):
    """Return a file that names a normalization."""
    path = tmp_path / "my_norm.py"
    path.write_text(OWN)
    return path


def imported(tmp_path):
    return {folder.name: len(read_settings(folder)["import"]) for folder in folders(tmp_path)}


def test_a_user_defined_method_joins_an_earlier_comparison(compare, own, tmp_path, capsys):
    assert compare() == 0
    time = (tmp_path / "out" / "baseline-seed0" / "log.csv").stat().st_mtime_ns
    assert compare("--import", own, methods="Baseline; my norm") == 0
    assert "(1 have finished already)" in capsys.readouterr().out
    assert (tmp_path / "out" / "baseline-seed0" / "log.csv").stat().st_mtime_ns == time
    assert imported(tmp_path) == {"baseline-seed0": 0, "gc-seed0": 0, "my-norm-seed0": 1}
    own.write_text(f"{OWN}# changed\n")
    assert compare("--import", own, methods="Baseline; GC") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"minidl compare: {own} is not what the run in {tmp_path / 'out' / 'my-norm-seed0'} was")
    assert error.count("\n") == 1
    assert compare(methods="GC; Baseline") == 0


def test_a_run_is_resumed_with_the_files_that_it_began_with(compare, own, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "next_step", interrupted)
        assert compare() == 1
        assert compare("--import", own, methods="EL; my norm") == 1
    assert not folders(tmp_path)
    capsys.readouterr()
    assert compare(methods="Baseline; EL") == 2
    said = f"the run in {tmp_path / 'out' / 'el-seed0'} was begun with --import {own}; minidl imports only files"
    assert said in capsys.readouterr().err
    assert not folders(tmp_path)
    assert compare("--import", own, methods="Baseline; EL") == 0
    assert imported(tmp_path) == {"baseline-seed0": 0, "el-seed0": 1}


def test_an_interrupt_is_one_sentence(compare, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(process_run, "finished", interrupted)
    assert compare() == 130
    assert "interrupted; call it again to continue where it stopped" in capsys.readouterr().err


def test_a_run_that_fails_is_reported_and_the_others_continue(compare, tmp_path, monkeypatch, capsys):
    real = process_run.finished

    def run(command, **_):
        return SimpleNamespace(returncode=2, stderr="first\nlast") if "GC" in command else real(command)

    monkeypatch.setattr(process_run, "finished", run)
    assert compare() == 1
    assert "minidl compare: GC, seed 0: last\n" in capsys.readouterr().err
    assert [folder.name for folder in folders(tmp_path)] == ["baseline-seed0"]


def test_the_runs_share_the_cores(monkeypatch, tmp_path):
    given = []

    def run(command, **_):
        given.append(command)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(process_run, "finished", run)
    runs = [run_of(tmp_path, method, 1, {"epochs": 3, "quiet": False}) for method in ("WC", "GC", "EL")]
    ended = []
    process_run.carry_out(runs, 2, {"threads": 6, "data_root": None}, lambda run: ended.append(run.method))
    assert sorted(ended) == ["EL", "GC", "WC"]
    for words in given:
        assert words[words.index("--threads") + 1] == "3"
        assert words[words.index("--epochs") + 1] == "3"
        assert words.count("--quiet") == 1


def test_runs_are_traced_unless_told_otherwise():
    command = Command("minidl compare", "minidl compare")
    given = [vars(parser(command).parse_args(["--methods", METHODS, *more])) for more in ([], ["--trace", "7"])]
    words = [as_words(run_of(Path("out"), "WC", 0, options).options) for options in given]
    assert [some[some.index("--trace") + 1] for some in words] == ["50", "7"]
    options = vars(parser(command).parse_args(["--methods", METHODS, "--no-trace"]))
    assert "--trace" not in as_words(run_of(Path("out"), "WC", 0, options).options)


def test_options_become_words():
    options = {
        "batch_size": 5,
        "crop": None,
        "quiet": True,
        "trace": False,
        "seed": 0,
        "decay": 0.0,
        "file": ["a", "b"],
    }
    expected = "--batch-size 5 --quiet --seed 0 --decay 0.0 --file a --file b"
    assert " ".join(as_words(options)) == expected


def test_the_picture_has_a_colour_for_each_method():
    def epochs(loss, tested=True):
        return [Epoch(e, 0.1, loss, 0.5, math.nan, 0.1 * e if tested or e == 2 else math.nan, 1.0) for e in (1, 2)]

    def colours(runs):
        picture = Image.open(io.BytesIO(plots.comparison(runs, "a $ title"))).convert("RGB")
        return {colour for _, colour in picture.getcolors(1 << 20)}

    first, second = (0, 107, 164), (255, 128, 14)  # from the palette for all kinds of colour vision
    runs = {"WC, GC": [epochs(1.0), epochs(1.1)]}
    assert {first, second} & colours(runs) == {first}
    assert {first, second} < colours(runs | {"EB": [epochs(math.nan, tested=False)]})


def test_no_two_of_thirty_methods_look_the_same(monkeypatch):
    looks = []
    monkeypatch.setattr(plots, "png", lambda figure, **_: looks.extend(figure.axes[0].get_lines()) or b"")
    plots.comparison({str(i): [[Epoch(1, 0.1, 1.0, 0.5, 1.0, 0.5, 1.0)]] for i in range(30)}, "many")
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in looks}) == 30


def test_the_report_is_written_where_its_packages_are(tmp_path, monkeypatch, capsys):
    command, folders = Command("minidl compare", "minidl compare"), [tmp_path / "a run", tmp_path / "b"]
    monkeypatch.setitem(sys.modules, "minidl.study.report.write", None)
    said = compare_results.report(tmp_path, folders, None, command)
    assert said == f"to have all on one page: minidl report '{tmp_path}/a run' {tmp_path}/b"
    assert capsys.readouterr().err.startswith("minidl compare: report.html could not be drawn (")
    monkeypatch.setitem(sys.modules, "minidl.study.report.write", SimpleNamespace(report=lambda *given: given))
    said = compare_results.report(tmp_path, folders, "root", command)
    assert said == f"all on one page: {(folders, tmp_path / 'report.html', 'root', None, ())}"


def results(*accuracies, loss=0.5):
    return {s: {"test_accuracy": a, "train_loss": loss, "seconds": 2.0} for s, a in enumerate(accuracies)}


def test_the_table_of_one_seed_says_that_it_is_one():
    text = table({"Baseline": results(0.5), "WC": results(0.615)})
    assert "| Baseline | 50.00 |  | 0.5000 | 2 |" in text
    assert "| WC | 61.50 | +11.50 | 0.5000 | 2 |" in text
    assert text.endswith(ONE_SEED)


def test_the_table_of_more_seeds_pairs_them():
    """Differences 1, 2, 3: mean 2, deviation 1, error 1/√3, t = 3.46 with 2 degrees of freedom, p = 0.074."""
    text = table({"A": results(0.50, 0.60, 0.40), "B": results(0.51, 0.62, 0.43), "C": results(0.51, math.nan)})
    assert "| A | 50.00 ± 10.00 |  |  | 0.5000 | 2 |" in text
    assert "| B | 52.00 ± 9.54 | +2.00 ± 0.58 | 0.074 | 0.5000 | 2 |" in text
    assert "| C | nan | - | - | 0.5000 | 2 |" in text
    assert text.endswith(MORE_SEEDS)


def test_a_difference_that_is_zero_up_to_rounding_has_no_minus():
    text = table({"A": results(0.7, 0.2), "B": results(0.6, 0.3 - 1e-12)})
    assert "| B | 45.00 ± 21.21 | +0.00 ± 10.00 |" in text


def test_a_run_that_turned_nan_says_where_and_one_that_is_missing_is_a_dash():
    lost = results(0.1, loss=None)
    lost[0]["diverged"] = "at step 2 of epoch 1, in the output of fc2"
    text = table({"A": results(0.5), "WS": lost, "EB": {}})
    assert "| WS | nan | - | nan | 2 |" in text
    assert "WS, seed 0: the loss is not a number any more, first at step 2 of epoch 1, in the output of fc2" in text
    assert "| EB | - | - | - | - |" in text


@pytest.mark.parametrize(
    "pairs, t, p",
    [
        (2, 12.706205, 0.05),
        (3, 4.302653, 0.05),
        (3, 9.924843, 0.01),
        (4, 3.182446, 0.05),
        (5, 2.776445, 0.05),
        (6, 4.032143, 0.01),
        (11, 2.228139, 0.05),
        (12, 1.795885, 0.1),
    ],
)
def test_p_values_agree_with_the_tables_of_students_distribution(random, pairs, t, p):
    noise = random.standard_normal(pairs)
    noise = (noise - noise.mean()) / (
        noise.std(ddof=1) / math.sqrt(pairs)
    )  # of mean 0, which has a standard error of 1
    other = random.standard_normal(pairs)
    ours = difference(dict(enumerate(other + noise + t)), dict(enumerate([*other, 5.0])))
    assert ours.pairs == pairs
    assert (ours.mean, ours.error) == pytest.approx((t, 1))
    assert ours.p == pytest.approx(p, rel=1e-5)


def test_p_at_the_edges():
    assert math.isnan(difference({0: 1.0}, {0: 2.0}).p)
    assert math.isnan(difference({}, {}).mean)
    assert difference({0: 1.0, 1: 3.0}, {0: 0.0, 1: 2.0}).p == pytest.approx(0)  # always 1, without chance
    for pairs in range(15, 23):  # where some sums exceed 1 by rounding
        for size in range(10, 200):
            values = {seed: size + seed % 2 for seed in range(pairs)}
            assert difference(values, dict.fromkeys(values, 0.0)).p >= 0


def test_bars_show_the_epochs_of_each_method(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def run(method, seed, epochs):
        folder = tmp_path / f"{method}-{seed}"
        folder.mkdir()
        line = "0.1,0.5,0.3,,,1\n"
        head = "epoch,learning_rate,train_loss,train_accuracy,test_loss,test_accuracy,seconds\n"
        (folder / "log.csv").write_text(head + "".join(f"{epoch},{line}" for epoch in range(1, epochs + 1)))
        if epochs == 4:
            (folder / "result.json").write_text('{"epochs": 4, "train_loss": 1, "test_accuracy": 1, "seconds": 1}')
        return MethodRun("", folder, {}, method, seed)

    runs = [run("A", 0, 4), run("A", 1, 1), run("B", 0, 0), run("B", 1, 0)]
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Display(runs, 4, quiet=False):
        pass
    shown = terminal.getvalue()
    assert "| 5/8 epochs, loss 0.5000" in shown
    assert "| 0/8 epochs" in shown


@pytest.mark.slow
def test_the_runs_are_processes(folder, tmp_path):
    words = ["--model", "a", "--batch-size", "8", "--epochs", "1", "--loops", "numpy", "--jobs", "2"]
    command = [sys.executable, "-m", "minidl", "compare", "--methods", METHODS, *words, "--data", str(folder)]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "records in runs/compare-a-set\n" in done.stdout
    assert "\n| GC | " in done.stdout
    out = tmp_path / "runs" / "compare-a-set"
    names = {"baseline-seed0", "gc-seed0", "compare.csv", "compare.png"}
    names |= {"report.html"} if find_spec("altair") and find_spec("vl_convert") else set()
    assert {path.name for path in out.iterdir()} == names
    assert (out / "gc-seed0" / "trace.csv").exists()
