"""Faults while a run trains: it can be resumed afterwards, and ends with the same bits as an undisturbed run."""

import errno
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
from pathlib import Path

import numpy as np
import pytest
from image_folder import write_images
from kill import kill_runs
from PIL import Image
from run_logs import log
from safetensors.numpy import load_file

import minidl.experiment.run
import train
from minidl import checkpoint
from minidl.__main__ import main
from minidl.experiment.cli.stop import KINDS, Terminated, interrupts, put_off
from minidl.experiment.saving import files, records
from minidl.experiment.saving.contents import RESULT
from minidl.experiment.sweeps.results import COLUMNS, read_results
from minidl.experiment.trainer import Trainer
from minidl.kernels.errors import MinidlError
from minidl.study import trace_files
from minidl.study.trace import Tracer
from minidl.study.trace_files import Filters, Trace

STEPS = 3  # of an epoch of ``run``
# With weights that a hook normalizes in each forward pass, and running statistics; the last batch is larger.
HOOKS = ("--model", "a", "--method", "WC, GC, BN", "--place", "hooks", "--quiet")
TRACED = (*HOOKS, "--trace", 100)
RAW = ("--model", "a", "--method", "WS, GC", "--mode", "reparametrization", "--optimizer", "sgd", "--quiet")
PLAIN = ("--model", "a", "--quiet")


def before_step(monkeypatch, number, what):
    """Call a function before a step of the process, counted from 1; return the list of the steps that were done."""
    made = []

    def doing(method):
        def step(*arguments):
            made.append(method)
            if len(made) == number:
                what()
            return method(*arguments)

        return step

    for owner in (Trainer, Tracer):
        monkeypatch.setattr(owner, "step", doing(owner.step))
    return made


@pytest.fixture(autouse=True)
def narrow(small):
    """Make net (a) small."""
    small("a", filters=(4, 4, 4), hidden=16)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a set, and undisturbed runs on it, by their options."""
    root = tmp_path_factory.mktemp("made")
    write_images(root / "set", 10, np.random.default_rng(7))
    return root, {}


@pytest.fixture
def run(made, tmp_path):
    """Return a function that trains on the set with more arguments and returns the exit status."""

    def call(*arguments, out=tmp_path / "run"):
        begin = ("--data", made[0] / "set", "--out", out, "--epochs", 2, "--batch-size", 5, "--device", "cpu")
        return train.main([*map(str, [*(() if "--resume" in arguments else begin), *arguments])])

    return call


@pytest.fixture
def whole(made, run):
    """Return a function that returns the undisturbed run with these options."""
    root, runs = made

    def of(options):
        if options not in runs:
            runs[options] = root / f"whole{len(runs)}"
            assert run(*options, out=runs[options]) == 0
        return runs[options]

    return of


def send(number):
    return lambda: os.kill(os.getpid(), number)


def assert_same(one, other):
    """Assert that two runs ended with the same log, result, trace, weights and moments, to the last bit."""
    assert log(one) == log(other)
    for name in ("trace.csv", "carry.csv", "filters.npz"):
        assert (one / name).exists() == (other / name).exists()
        if name.endswith("csv") and (one / name).exists():
            assert (one / name).read_bytes() == (other / name).read_bytes()
    first, second = (load_file(path / checkpoint.NAME) for path in (one, other))
    assert first.keys() == second.keys()
    for name in first:
        if not name.startswith("run/"):
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    results = [json.loads((path / "result.json").read_text()) for path in (one, other)]
    for result in results:
        del result["seconds"], result["images_per_second"]
    assert results[0] == results[1]
    assert not [path for path in one.iterdir() if path.name.startswith(".")]


# -- interrupts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, stops, number, status",
    [
        (TRACED, (2, 3), signal.SIGINT, 130),
        (HOOKS, (STEPS,), signal.SIGTERM, 143),
        (RAW, (1, 4), signal.SIGTERM, 143),
        (PLAIN, (2,), signal.SIGHUP, 129),
    ],
)
def test_an_interrupt_finishes_the_step_and_saves(run, whole, tmp_path, capsys, options, stops, number, status):
    arguments = options
    for stop in stops:
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            made = before_step(patch, stop, send(number))
            assert run(*arguments) == status
            assert len(made) == stop
        assert capsys.readouterr().err == f"\ninterrupted; go on with: python train.py --resume {tmp_path / 'run'}\n"
        arguments = ("--resume", tmp_path / "run")
    assert run(*arguments) == 0
    assert_same(tmp_path / "run", whole(options))


def test_a_second_interrupt_ends_at_once(run, tmp_path, capsys, monkeypatch):
    def twice():
        send(signal.SIGINT)()
        send(signal.SIGTERM)()

    made = before_step(monkeypatch, 2, twice)
    assert run(*PLAIN) == 143
    assert len(made) == 2
    assert load_file(tmp_path / "run" / checkpoint.NAME)["run/batches"] == 0
    assert "go on with: python train.py --resume" in capsys.readouterr().err


@pytest.mark.parametrize("first, status", [(signal.SIGHUP, 129), (signal.SIGTERM, 143)])
def test_a_hang_up_is_no_second_interrupt(run, whole, tmp_path, monkeypatch, first, status):
    def twice():
        send(first)()
        send(signal.SIGHUP)()

    with monkeypatch.context() as patch:
        made = before_step(patch, 2, twice)
        assert run(*PLAIN) == status
    assert len(made) == load_file(tmp_path / "run" / checkpoint.NAME)["run/batches"] == 2
    assert run("--resume", tmp_path / "run") == 0
    assert_same(tmp_path / "run", whole(PLAIN))


def test_an_interrupt_before_a_run_has_begun_leaves_nothing(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minidl.experiment.sources.load", lambda *_: send(signal.SIGTERM)())
    assert run(*PLAIN) == 143
    assert capsys.readouterr().err == "\ninterrupted; the run had not begun\n"
    assert not list(tmp_path.glob("*run*"))


def test_an_interrupt_while_the_folder_is_made_waits_until_it_is_whole(run, whole, tmp_path, capsys, monkeypatch):
    real = records.write_config
    with monkeypatch.context() as patch:
        patch.setattr(records, "write_config", lambda *of: (send(signal.SIGTERM)(), real(*of)))
        assert run(*PLAIN) == 143
    assert capsys.readouterr().err == f"\ninterrupted; go on with: python train.py --resume {tmp_path / 'run'}\n"
    assert run("--resume", tmp_path / "run") == 0
    assert_same(tmp_path / "run", whole(PLAIN))


def test_an_interrupt_in_the_last_epoch_of_all_ends_the_run(run, tmp_path, monkeypatch):
    real = Trainer.test_score
    monkeypatch.setattr(Trainer, "test_score", lambda trainer: (send(signal.SIGTERM)(), real(trainer))[1])
    assert run(*PLAIN, "--epochs", 1) == 0
    assert (tmp_path / "run" / "result.json").exists()


def test_handlers_of_signals_are_put_back(run):
    before = [signal.getsignal(number) for number in KINDS]
    assert run(*PLAIN) == 0
    assert before == [signal.getsignal(number) for number in KINDS]


@pytest.mark.parametrize("number", KINDS)
def test_a_signal_that_is_ignored_stays_ignored(run, monkeypatch, number):
    before_step(monkeypatch, 2, send(number))
    earlier = signal.signal(number, signal.SIG_IGN)
    try:
        assert run(*PLAIN) == 0
    finally:
        signal.signal(number, earlier)


def test_an_interrupt_waits_until_a_library_has_started():
    """In the middle of the start of compiled code, it may end Python in a crash, as it did in matplotlib's."""
    done = []

    class Library(ExtensionFileLoader):
        def exec_module(self, module):
            send(signal.SIGINT)()
            done.append("started")

    def start():
        Library("library", "library.so").exec_module(None)
        time.sleep(5)
        done.append("not interrupted")

    with interrupts(), pytest.raises(KeyboardInterrupt):
        start()
    assert done == ["started"]
    with put_off() as stop:
        stop.asked = Terminated()  # so that the next one is the second
        with pytest.raises(KeyboardInterrupt):
            start()
    assert done == ["started"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_processes_of_a_comparison_save_when_it_is_terminated(folder, tmp_path, number, status):
    words = ["compare", "--methods", "Baseline; GC", "--data", folder, "--out", tmp_path / "out", "--epochs", 10**6]
    small = ["--model", "a", "--batch-size", 5, "--device", "cpu", "--loops", "numpy", "--jobs", 1, "--quiet"]
    command = [sys.executable, "-m", "minidl", *map(str, [*words, *small])]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list((tmp_path / "out").glob("[!.]*/log.csv")):
            time.sleep(0.05)
        process.send_signal(number)
        error = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert error.splitlines()[-1] == "interrupted; call it again to continue where it stopped"
    (run,) = (tmp_path / "out").glob("*-seed0")
    assert load_file(run / checkpoint.NAME)["run/batches"] + len(log(run)) > 0


# -- kills ------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Ends a run in this process like a kill: nothing that is done at the end of a run is done."""


def test_a_run_that_was_killed_continues_from_the_middle_of_an_epoch(run, whole, tmp_path, monkeypatch):
    def killed():
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        before_step(patch, 3, killed)
        with pytest.raises(Killed):
            run(*TRACED, "--save-every", 1e-9)
    assert load_file(tmp_path / "run" / checkpoint.NAME)["run/batches"] == 2
    (tmp_path / "run" / ".checkpoint.safetensors.12345678.part").write_text("what a kill leaves")
    made = before_step(monkeypatch, 0, killed)
    assert run("--resume", tmp_path / "run") == 0
    assert len(made) == 2 * STEPS - 2
    assert_same(tmp_path / "run", whole(TRACED))


@pytest.mark.parametrize("write", ["write_log", "draw", "write_result"])
def test_a_run_that_ended_before_its_result_is_concluded(run, whole, tmp_path, monkeypatch, write):
    """Before the checkpoint of the last epoch, which is written after its log, or while the result is written."""
    owner = minidl.experiment.run if write == "draw" else records
    real = getattr(owner, write)

    def killed(place, what, *rest):
        if write != "write_log" or len(what) == 2:
            raise Killed
        real(place, what, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(owner, write, killed)
        with pytest.raises(Killed):
            run(*HOOKS)
    assert not (tmp_path / "run" / "result.json").exists()
    assert run("--resume", tmp_path / "run") == 0
    assert_same(tmp_path / "run", whole(HOOKS))
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in whole(HOOKS).iterdir()}
    assert run("--resume", tmp_path / "run") == 2


@pytest.mark.slow
def test_runs_that_are_killed_at_random_moments(tmp_path):
    """MINIDL_KILLS says how many (default: 5)."""
    count = int(os.environ.get("MINIDL_KILLS", "5"))
    outcome = kill_runs(tmp_path, count)
    assert outcome.equal + outcome.not_begun == count, outcome


# -- files that cannot be written -------------------------------------------------------------------------------------


def fails_at(patch, number, code=errno.ENOSPC):
    """Let the writing call with this number fail, and all later ones; return the list of calls."""
    calls = []

    def failing(function):
        def call(*arguments, **options):
            calls.append(function)
            if number and len(calls) >= number:
                raise OSError(code, os.strerror(code))
            return function(*arguments, **options)

        return call

    patch.setattr(files.os, "replace", failing(os.replace))
    patch.setattr(files.os, "fsync", failing(os.fsync))
    patch.setattr(Path, "write_bytes", failing(Path.write_bytes))
    patch.setattr(checkpoint, "save_file", failing(checkpoint.save_file))
    return calls


def test_a_disk_that_is_full_at_any_write(run, whole, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        calls = fails_at(patch, 0)
        assert run(*HOOKS, "--save-every", 1e-9, out=tmp_path / "calls") == 0
    for number in range(1, len(calls) - 9, len(calls) // 3):
        path = tmp_path / f"full{number}"
        with monkeypatch.context() as patch:
            fails_at(patch, number)
            capsys.readouterr()
            assert run(*HOOKS, "--save-every", 1e-9, out=path) == 2
        shown = capsys.readouterr().err
        assert "No space left on device" in shown
        assert shown.count("\n") == 1
        assert run(*(("--resume", path) if path.exists() else (*HOOKS, "--save-every", 1e-9)), out=path) == 0
        assert_same(path, whole(HOOKS))


@contextmanager
def limit(kind, value):
    """Limit a resource of this process."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


@pytest.mark.parametrize("size", [300, 3000])
def test_files_that_may_not_be_so_long(run, tmp_path, capsys, size):
    with limit(resource.RLIMIT_FSIZE, size):
        assert run(*PLAIN) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"train.py: {tmp_path}")
    assert "cannot be written (" in shown
    assert "File too large" in shown
    assert shown.count("\n") == 1
    assert not list(tmp_path.glob("*run*"))


def test_links_in_a_run_folder_lead_nowhere(run, tmp_path):
    """A file that a run writes replaces a link, and is never written through it."""
    assert run(*TRACED, "--epochs", 1) == 0
    victim, folder = tmp_path / "victim", tmp_path / "run"
    victim.write_text("mine")
    names = [path.name for path in folder.iterdir()]
    kept = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        for link in (name, f"{name}.part", f".{name}.part", Path(name).with_suffix(".part").name, ".part"):
            (folder / link).unlink(missing_ok=True)
            (folder / link).symlink_to(victim)
        if name in (checkpoint.NAME, "config.json", "trace.csv", "carry.csv", "filters.npz"):  # links may be read
            (tmp_path / name).write_bytes(kept[name])
            (folder / name).unlink()
            (folder / name).symlink_to(tmp_path / name)
    assert run("--resume", folder, "--epochs", 2) == 0
    assert victim.read_text() == "mine"
    for name in names:
        assert not (folder / name).is_symlink()
        if (tmp_path / name).exists():
            assert (tmp_path / name).read_bytes() == kept[name]


def test_a_folder_that_is_there_keeps_what_is_in_it(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert run(*PLAIN) == 0
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert len(list((tmp_path / "run").iterdir())) == 6


def test_a_file_has_the_mode_that_others_have(run, tmp_path):
    assert run(*PLAIN, "--epochs", 1) == 0
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()}
    assert len(modes) == 1


# -- resources that are missing ---------------------------------------------------------------------------------------


def test_too_few_file_handles_are_an_error_of_one_sentence(run, whole, tmp_path, capsys):
    def none_left():
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with pytest.MonkeyPatch.context() as patch:
            before_step(patch, STEPS + 1, none_left)
            status = run(*HOOKS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if status == 2:
        shown = capsys.readouterr().err
        assert "Too many open files" in shown
        assert "ulimit -n" in shown
        assert shown.count("\n") == 1
        assert run("--resume", tmp_path / "run") == 0
    assert_same(tmp_path / "run", whole(HOOKS))


def test_a_lack_of_memory_while_a_run_trains(run, whole, tmp_path, capsys, monkeypatch):
    class OutOfMemoryError(MemoryError):
        """The name of the exception that CuPy raises."""

    def full():
        raise OutOfMemoryError("out of memory allocating 4,096 bytes")

    with monkeypatch.context() as patch:
        before_step(patch, STEPS + 2, full)
        assert run(*PLAIN) == 2
    shown = capsys.readouterr().err
    assert (
        "a batch of 5 images needs more memory than is free; close what else uses the device and go on with: " in shown
    )
    assert shown.endswith(f"--resume {tmp_path / 'run'}, or start again with a smaller one, such as --batch-size 2\n")
    assert shown.count("\n") == 1
    assert run("--resume", tmp_path / "run") == 0
    assert_same(tmp_path / "run", whole(PLAIN))


def test_a_clock_that_is_set_changes_no_duration(run, tmp_path, monkeypatch):
    """Durations are measured by a monotonic clock."""
    times = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr(time, "time", lambda: next(times))
    assert run(*PLAIN) == 0
    assert all(0 < epoch.seconds < 100 for epoch in records.read_log(tmp_path / "run"))


# -- nan --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, where",
    [
        (("--optimizer", "sgd", "--learning-rate", "1e30", "--quiet"), "at step 2 of epoch 1, in the output of conv2"),
        (("--optimizer", "sgd", "--learning-rate", "1e45"), "at step 1 of epoch 1, in the update of "),
    ],
)
def test_a_loss_of_nan_ends_a_run_and_says_where(run, tmp_path, capsys, options, where):
    assert run("--model", "a", "--method", "Baseline", *options) == 0
    ending = capsys.readouterr().out.splitlines()[-1]
    assert ending.startswith(f"the loss is not a number any more, first {where}")
    assert ending.endswith(f"and the run ended there: {tmp_path / 'run'}, whose checkpoint is from before")
    assert len(log(tmp_path / "run")) == 1
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["train_loss"], result["test_accuracy"]) == (None, None)
    assert result["diverged"].startswith(where)
    for name, array in load_file(tmp_path / "run" / checkpoint.NAME).items():
        assert np.isfinite(array).all(), name
    Image.new("RGB", (32, 32)).save(tmp_path / "black.png")
    for command in (["predict", str(tmp_path / "run"), str(tmp_path / "black.png")], ["export", str(tmp_path / "run")]):
        assert main(command) == 0
        note = f"the training of {tmp_path / 'run'} diverged, first {where}"
        assert capsys.readouterr().err.startswith(f"minidl {command[0]}: {note}")
    assert run("--model", "a", "--epochs", 1, "--init", tmp_path / "run", out=tmp_path / "next") == 0
    assert f"Begins with the weights of {tmp_path / 'run'}; {note}" in capsys.readouterr().out


NORM = """import minidl

calls = [0]


@minidl.normalization("late", at="grads")
def late(x):
    calls[0] += 1
    return x / 0 if calls[0] > {0} else x
"""


@pytest.mark.parametrize("seldom", [0, 1e9])
def test_the_first_layer_is_named_whatever_it_is(run, names, tmp_path, capsys, monkeypatch, seldom):
    """Even if the last checkpoint is several epochs old."""
    monkeypatch.setattr("minidl.experiment.run.SELDOM", seldom)
    (tmp_path / "my_late.py").write_text(NORM.format(20))
    options = ("--import", tmp_path / "my_late.py", "--method", "late", "--model", "a", "--quiet")
    with np.errstate(all="ignore"):
        assert run(*options, "--save-every", 1e9 if seldom else 1e-9, "--epochs", 8) == 0
    assert "first at step " in (shown := capsys.readouterr().out)
    assert "in the gradient of " in shown
    saved = load_file(tmp_path / "run" / checkpoint.NAME)
    assert all(np.isfinite(array).all() for name, array in saved.items())
    assert len(saved["run/log"]) == (1 if seldom else len(log(tmp_path / "run")) - 1)


# -- untrusted files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "result.json", "log.csv", "filters.npz"])
@pytest.mark.parametrize("kind", ["device", "pipe", "sparse", "folder"])
def test_files_of_a_run_that_are_not_regular_or_too_long_are_not_read(tmp_path, name, kind):
    path = tmp_path / "run" / name
    path.parent.mkdir()
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    read = {"config.json": records.read_settings, "result.json": records.read_result, "log.csv": records.read_log}
    with pytest.raises(MinidlError, match=f"{name} cannot be read"):
        read.get(name, read_trace)(path.parent)


def read_trace(folder):
    (folder.parent / "trace").mkdir()
    trace = Trace(filters={Filters(0, "conv1", "grads", "before"): np.zeros((2, 6), np.float32)})
    trace_files.write(folder.parent / "trace", trace)
    for name in ("trace.csv", "carry.csv"):
        shutil.copy(folder.parent / "trace" / name, folder)
    return trace_files.read(folder)


def test_a_trace_that_would_unpack_to_more_than_the_memory(tmp_path, monkeypatch):
    trace_files.write(tmp_path, Trace())
    with zipfile.ZipFile(tmp_path / "filters.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("0/conv1/grads/before.npy", bytes(1 << 20))
    monkeypatch.setattr(trace_files, "LONG", 100_000)
    with pytest.raises(MinidlError, match=r"filters.npz cannot be read \(it would take 1,048,576 bytes\)"):
        trace_files.read(tmp_path)


GOOD = {"epochs": 2, "train_loss": 1.5, "test_accuracy": 0.5, "seconds": 2.0}


@pytest.mark.parametrize("name", sorted(RESULT))
def test_a_result_of_another_type_is_an_error_of_one_sentence(tmp_path, name):
    assert (tmp_path / "result.json").write_text(json.dumps(GOOD))
    assert records.read_result(tmp_path) == GOOD
    for value in ([[]], -1, {}, True):
        (tmp_path / "result.json").write_text(json.dumps(GOOD | {name: value}))
        with pytest.raises(MinidlError, match=rf"result.json cannot be used: {name} must be"):
            records.read_result(tmp_path)


def test_an_incomplete_result_is_an_error_of_one_sentence(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(MinidlError, match="it does not say epochs"):
        records.read_result(tmp_path)


@pytest.mark.parametrize(
    "name, value",
    [("table", "x"), ("seed", "0.5"), ("epochs", "-1"), ("paper", "101"), ("test_accuracy", "inf"), ("seconds", "nan")],
)
def test_a_cell_of_the_results_with_an_impossible_number(tmp_path, name, value):
    good = ["2", "c", "WC", "0", "run", "cifar10", "15", "84.91", "nan", "9.5", "epochs 15", "", "CPU"]
    row = dict(zip(COLUMNS, good, strict=True))
    for cells, wrong in ((row, False), (row | {name: value}, True)):
        (tmp_path / "results.csv").write_text(files.as_csv([[*cells], [*cells.values()]]))
        if not wrong:
            assert len(read_results(tmp_path / "results.csv")) == 1
            continue
        with pytest.raises(MinidlError, match=rf"line 2 of .*results.csv .*{name}"):
            read_results(tmp_path / "results.csv")


def test_a_part_of_a_run_in_a_checkpoint_that_does_not_fit(run, tmp_path, capsys):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    assert run(*PLAIN, "--epochs", 1) == 0
    path = tmp_path / "run" / checkpoint.NAME
    with safe_open(path, framework="np") as file:
        about, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, array, message in (
        ("run/log", np.zeros((2, 7)), "float64 of shape (2, 7) for run/log"),
        ("run/log", np.full((1, 7), 3.0), "the log in {path} holds epoch 3 where epoch 1 is expected"),
        ("run/batches", np.array([99.0]), "it has trained 99 of the 3 batches of an epoch"),
        ("run/batches", np.array([-1.0]), "batches must be a whole number of at least 0, not -1.0"),
        ("run/totals", np.zeros(3), "float64 of shape (3,) for run/totals"),
        ("run/seconds", None, "it has no run/seconds"),
    ):
        changed = {key: value for key, value in (arrays | {name: array}).items() if value is not None}
        save_file(changed, path, about)
        capsys.readouterr()
        assert run("--resume", tmp_path / "run", "--epochs", 2) == 2
        assert message.format(path=path) in capsys.readouterr().err


def test_the_copy_of_a_run_is_resumed_independently(run, whole, tmp_path):
    assert run(*PLAIN, "--epochs", 1) == 0
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    assert run("--resume", tmp_path / "copy", "--epochs", 2) == 0
    assert_same(tmp_path / "copy", whole(PLAIN))
