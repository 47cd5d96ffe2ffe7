"""Runs in an environment that lacks something: no output or drawing ends a run, and no traceback is shown."""

import csv
import errno
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from datetime import datetime
from pathlib import Path

import pytest
from run_logs import log
from safetensors import SafetensorError

import reproduce
import train
from minidl import __version__, data
from minidl.__main__ import main as minidl
from minidl.experiment.cli.command import Command
from minidl.experiment.cli.console import decoration, lenient
from minidl.experiment.saving import checkpoint, files, records, run_folder
from minidl.experiment.sweeps.budget import budget
from minidl.experiment.sweeps.results import COLUMNS, read_results, write
from minidl.experiment.sweeps.row_run import run_of
from minidl.experiment.sweeps.rows import choose, read_rows
from minidl.kernels.cpu import loops
from minidl.kernels.errors import MinidlError

HERE = Path(__file__).resolve().parent.parent
SMALL = ("--model", "a", "--method", "Baseline", "--epochs", 1)


def fails(error):
    """Return a function that raises an error."""

    def function(*_, **__):
        raise error

    return function


# -- printing ---------------------------------------------------------------------------------------------------------


def test_characters_that_the_output_lacks_are_replaced(run, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    assert run(*SMALL) == 0
    sys.stdout.flush()
    assert b"conv1     conv 5?5, 32" in raw.getvalue()
    assert b"test accuracy" in raw.getvalue()


def test_an_output_that_is_full_does_not_end_a_run(run, tmp_path, monkeypatch, capsys):
    full = io.StringIO()
    full.write = fails(OSError(28, "No space left on device"))
    monkeypatch.setattr(sys, "stdout", full)
    assert run(*SMALL) == 0
    told = "train.py: nothing more can be printed (No space left on device); the work continues\n"
    assert capsys.readouterr().err == told
    assert (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_missing_output_does_not_end_a_run(run, tmp_path, monkeypatch, name):
    monkeypatch.setattr(sys, name, None)
    assert run(*SMALL) == 0
    assert (tmp_path / "run" / "result.json").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_python_prints_nothing_about_a_lost_output():
    command = [sys.executable, str(HERE / "train.py"), "--version"]
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=buffered, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
@pytest.mark.parametrize("words", [("walk", "--device", "cpu"), ("gradcheck", "--layer", "relu")], ids=" ".join)
def test_a_result_that_could_not_be_printed_is_one_sentence(words):
    command = [sys.executable, "-m", "minidl", *words]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    sentence = "the result could not be printed (No space left on device); print it to where there is room"
    assert (done.returncode, done.stderr) == (2, f"minidl {words[0]}: {sentence}\n")


def test_output_is_passed_on_unchanged(capsys):
    streams = sys.stdout, sys.stderr
    with lenient("program"):
        print("5×5 ± Ω")
        print("error", file=sys.stderr)
        assert sys.stdout.isatty() is streams[0].isatty()
    assert (sys.stdout, sys.stderr) == streams
    assert tuple(capsys.readouterr()) == ("5×5 ± Ω\n", "error\n")


@pytest.mark.parametrize("main, name", [(train.main, "train.py"), (reproduce.main, "reproduce.py")])
def test_the_version_is_printed(main, name, capsys):
    with pytest.raises(SystemExit) as status:
        main(["--version"])
    assert status.value.code == 0
    assert capsys.readouterr().out == f"minidl {__version__}\n"


# -- drawing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["co$t_{x $", os.fsdecode(b"f\xffo"), "図形"])
def test_a_folder_may_have_any_name(pictures, run, folder, tmp_path, capsys, name):
    try:
        folder.rename(tmp_path / name)
    except OSError:
        pytest.skip("the file system does not take the name")
    assert run(*SMALL, "--quiet", "--data", tmp_path / name, out=f"{name}-run") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("test accuracy")
    run_folder = tmp_path / f"{name}-run"
    assert (run_folder / "curves.png").exists()
    assert json.loads((run_folder / "result.json").read_text())["data"] == name.replace("\udcff", "?")


def test_curves_that_cannot_be_drawn_do_not_end_a_run(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minidl.experiment.plots.curves", fails(RuntimeError("no\nfonts")))
    assert run(*SMALL, "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.err == "train.py: curves.png could not be drawn (no fonts); all else is done\n"
    assert captured.out.startswith("test accuracy")
    assert (tmp_path / "run" / "result.json").exists()


def test_a_table_that_cannot_be_drawn_is_written_all_the_same(tmp_path, monkeypatch, capsys):
    run = run_of(tmp_path, choose(read_rows(2), "Baseline")[0], 0, {})
    run.folder.mkdir()
    records.write_result(run.folder, {"train_loss": 1.0, "test_accuracy": 0.5, "epochs": 1, "seconds": 2.0})
    monkeypatch.setattr("minidl.experiment.plots.table", fails(RuntimeError("no fonts")))
    assert "| Baseline | 84.14 | 50.00 |" in write(tmp_path, [run], Command("minidl reproduce", "minidl reproduce"))
    assert capsys.readouterr().err == "minidl reproduce: table2.png could not be drawn (no fonts); all else is done\n"
    assert {path.name for path in tmp_path.iterdir()} == {run.folder.name, "results.csv", "table2.md"}


def test_a_warning_of_the_drawing_library_does_not_end_a_run(capsys, recwarn):
    with decoration("program", "it"):
        warnings.warn("a glyph is missing", stacklevel=1)
        logging.getLogger("matplotlib.font_manager").warning("a font is missing")
    with decoration("program", "it"):
        raise MemoryError
    assert capsys.readouterr().err == "program: it could not be drawn (MemoryError); all else is done\n"
    assert not recwarn.list


# -- files that cannot be written or found ----------------------------------------------------------------------------


def test_a_log_that_cannot_be_written(run, tmp_path, monkeypatch, capsys):
    real = Path.write_bytes

    def write(path, content):
        real(path, content[:10])
        if path.name.startswith(".log.csv") and b"\n1," in content:
            raise OSError(28, "No space left on device")
        return real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write)
        assert run(*SMALL, "--quiet") == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"train.py: {tmp_path / 'run' / 'log.csv'} cannot be written (No space left on device); ")
    assert shown.count("\n") == 1
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", "log.csv", checkpoint.NAME}
    assert run("--resume", tmp_path / "run") == 0


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(run, tmp_path, monkeypatch, capsys):
    assert run(*SMALL, "--quiet") == 0
    before = (tmp_path / "run" / checkpoint.NAME).read_bytes()

    def save(arrays, path, about):
        path.write_bytes(b"half")
        raise SafetensorError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", save)
        assert run("--resume", tmp_path / "run", "--epochs", 2) == 2
    shown = capsys.readouterr().err
    assert "cannot be written (No space left on device)" in shown
    assert shown.count("\n") == 1
    assert (tmp_path / "run" / checkpoint.NAME).read_bytes() == before
    assert not list((tmp_path / "run").glob(".*"))


def test_a_user_without_a_home(run, monkeypatch, capsys):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", fails(RuntimeError("Could not determine home directory.")))
    assert train.main(["--data", "cifar10"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("train.py: it is not known where ~/.cache is")
    assert shown.count("\n") == 1


@pytest.fixture
def function(tmp_path, monkeypatch):
    """Return a function that compiles x + 1 again, with Numba's cache in a separate folder; it returns the hits."""
    numba = pytest.importorskip("numba")
    from minidl.kernels.cpu.loops import numba_compiler

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def plus_one(x):
        return x + 1

    def call():
        compiled = numba_compiler.parallel(plus_one).compiled
        assert compiled(1) == 2
        return sum(compiled.stats.cache_hits.values()), compiled.stats.cache_path

    return call


def test_code_that_numba_has_compiled_is_kept(function):
    assert function()[0] == 0
    assert function()[0] == 1


def test_code_that_numba_compiled_from_other_sources_is_compiled_again(function, monkeypatch, tmp_path):
    """A compiled loop contains the functions that it calls, which may be in another file."""
    from minidl.kernels.cpu.loops import numba_compiler

    function()
    source = tmp_path / "numba_windows.py"
    source.write_text("LINE = 64")
    before = numba_compiler.of_sources(tmp_path)
    source.write_text("LINE = 32")
    assert numba_compiler.of_sources(tmp_path) != before
    monkeypatch.setattr(numba_compiler, "_sources", numba_compiler.of_sources(tmp_path))
    assert function()[0] == 0
    assert function()[0] == 1


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-20], lambda content: bytes(99)])
def test_a_damaged_file_of_numba_is_replaced(function, tmp_path, kind, damage):
    function()
    (file,) = tmp_path.glob(f"*/*.{kind}")
    file.write_bytes(damage(file.read_bytes()))
    assert function()[0] == 0
    assert function()[0] == 1


def test_numba_without_a_folder_to_keep_anything_in(function, monkeypatch):
    from numba.core.caching import CacheImpl

    from minidl.kernels.cpu.loops import numba_loops

    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert function() == (0, None)
    monkeypatch.setattr(numba_loops, "_relu_adjoint", numba_loops.parallel(lambda x: x))
    assert "compiles them before the first step of every run" in numba_loops.warning()


def test_a_file_of_numba_that_cannot_be_written(function, monkeypatch):
    from numba.core.caching import IndexDataCacheFile

    monkeypatch.setattr(IndexDataCacheFile, "save", fails(OSError(28, "No space left on device")))
    assert function()[0] == 0


def test_numba_that_cannot_be_imported(monkeypatch):
    def broken(name):
        if "numba" in name:
            raise ImportError("Numba needs NumPy 2.3 or less")
        return real(name)

    real = loops.import_module
    with monkeypatch.context() as patch:
        patch.setattr(loops, "import_module", broken)
        patch.setattr(loops, "find_spec", lambda name: name)
        with pytest.raises(MinidlError, match="numba cannot be used"):
            loops.use("numba")
        loops.use_best()
        assert loops.name() == "numpy"
        assert "Numba needs NumPy 2.3 or less" in loops.warning()
    loops.use_best()
    assert "NumPy 2.3" not in loops.warning()


@pytest.mark.parametrize(
    "setting, said",
    [
        ("NUMBA_DISABLE_JIT=1", "NumPy computes, which is slower: numba cannot be used (NUMBA_DISABLE_JIT is set"),
        ("NUMBA_NUM_THREADS=0", "NumPy computes, which is slower: numba cannot be used (Number of threads"),
        ("NUMBA_THREADING_LAYER=none", "Numba cannot start its threads (The threading layer requested 'none'"),
    ],
)
def test_settings_with_which_numba_does_not_work(tmp_path, setting, said):
    pytest.importorskip("numba")
    name, value = setting.split("=")
    sizes = ("--train-size", 10, "--test-size", 5)
    command = [sys.executable, HERE / "train.py", *SMALL, *sizes, "--out", tmp_path / "run"]
    environment = os.environ | {name: value}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if "computes" in said else 2)
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


# -- the folder of a run ----------------------------------------------------------------------------------------------


def test_runs_of_the_same_second_have_different_folders(tmp_path, monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 5, 6, 7, 8, 9)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_folder, "datetime", Clock)
    settings = {"model": "c", "data": "/sets/photos", "out": None}
    names = [str(run_folder.make(settings, lambda new: (new / "config.json").touch())) for _ in range(3)]
    assert names == [f"runs/20240506-070809-c-photos{end}" for end in ("", "-2", "-3")]


@pytest.mark.parametrize("name", ["log.csv", "checkpoint.safetensors", "result.json", "trace.csv", "curves.png"])
def test_a_folder_with_a_file_that_a_run_would_write_over(folder, tmp_path, capsys, name):
    """The file may belong to a run whose configuration was lost, and would be taken for a file of the new run."""
    place = tmp_path / "run"
    place.mkdir()
    (place / name).write_text("precious")
    (place / "notes.txt").write_text("mine")
    options = [*map(str, ["--data", folder, "--out", place, "--device", "cpu", "--batch-size", 5, *SMALL])]
    assert train.main(options) == 2
    said = capsys.readouterr().err
    assert f"{place} holds {name} and no config.json, and a new run would write over it; give another --out" in said
    assert {path.name: path.read_text() for path in place.iterdir()} == {name: "precious", "notes.txt": "mine"}
    (place / name).unlink()
    assert train.main(options) == 0
    assert (place / "notes.txt").read_text() == "mine"
    assert (place / "config.json").exists()


def test_a_run_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    def fill(new):
        for name in ("checkpoint.safetensors", "config.json", "log.csv"):
            (new / name).write_text("new")

    def replace(source, target, move=os.replace):
        if Path(target).name == "config.json":
            raise OSError(errno.EIO, "Input/output error")
        move(source, target)

    monkeypatch.setattr(run_folder.os, "replace", replace)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MinidlError, match="cannot be written"):
        run_folder.make({"model": "c", "data": "set", "out": str(tmp_path)}, fill)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("in_the_way", ["file", "link"])
def test_a_place_for_runs_that_is_no_folder(run, tmp_path, monkeypatch, in_the_way):
    monkeypatch.chdir(tmp_path)
    Path("runs").write_text("") if in_the_way == "file" else Path("runs").symlink_to("nowhere/at/all")
    with pytest.raises(MinidlError, match="cannot be written"):
        run_folder.make({"model": "c", "data": "set", "out": None}, lambda new: None)


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "--methods", "WC; GC", "--epochs", 1],
        ["reproduce", "--table", 2],
        ["predict", "run", "pictures"],
    ],
)
def test_a_folder_that_cannot_be_written_ends_a_command_before_it_works(
    run, folder, tmp_path, monkeypatch, capsys, words
):
    assert run(*SMALL, "--quiet") == 0
    monkeypatch.chdir(tmp_path)
    Path("pictures").symlink_to(folder)
    (tmp_path / "taken").write_text("a file")
    capsys.readouterr()
    assert minidl([*map(str, words), "--out", "taken/out"]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"minidl {words[0]}: the folder taken/out cannot be written (Not a directory); give an")
    assert told.err.count("\n") == 1
    assert not told.out


@pytest.mark.parametrize("out", [None, "other"])
def test_an_interrupt_before_a_run_has_begun(folder, tmp_path, monkeypatch, capsys, out):
    monkeypatch.chdir(tmp_path)
    if out:  # contains another run
        Path(out).mkdir()
        (Path(out) / "config.json").write_text("{}")
    monkeypatch.setattr(data, "load", fails(KeyboardInterrupt()))
    assert train.main(["--data", str(folder), *(["--out", out] if out else [])]) == 130
    assert capsys.readouterr().err == "\ninterrupted; the run had not begun\n"
    assert not Path("runs").exists()


def test_the_default_batch_is_cut_to_a_small_set(folder, tmp_path, capsys):
    arguments = ["--data", folder, "--device", "cpu", *SMALL]
    assert train.main([*map(str, [*arguments, "--out", tmp_path / "run"])]) == 0
    assert "The batch of 50 is cut to the 16 images" in capsys.readouterr().out
    settings = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert settings["batch_size"] == 16
    assert train.main(["--resume", str(tmp_path / "run"), "--epochs", "2"]) == 0
    assert "is cut" not in capsys.readouterr().out
    assert len(log(tmp_path / "run")) == 2
    assert train.main([*map(str, [*arguments, "--out", tmp_path / "asked", "--batch-size", 50])]) == 2
    assert "a batch of 50 is larger than the 16 images" in capsys.readouterr().err


def test_a_batch_of_a_budget_is_cut_to_fewer_images(monkeypatch):
    options = reproduce.parser().parse_args(["--table", "5", "--budget", "small", "--train-size", "3"])
    assert budget(options, read_rows(5)[0])["batch_size"] == 3


# -- JSON and tables --------------------------------------------------------------------------------------------------


def test_a_result_is_json_whatever_its_numbers(run, tmp_path):
    assert run(*SMALL, "--optimizer", "sgd", "--learning-rate", "1e30") == 0
    text = (tmp_path / "run" / "result.json").read_text()
    assert json.loads(text, parse_constant=fails(ValueError))["train_loss"] is None


def test_numbers_that_json_lacks():
    value = {"a": float("nan"), "b": [float("inf"), 1.5, {"c": (float("-inf"), "nan", None, True)}]}
    assert json.loads(records.as_json(value), parse_constant=fails(ValueError)) == {
        "a": None,
        "b": [None, 1.5, {"c": [None, "nan", None, True]}],
    }


def test_results_that_a_spreadsheet_has_saved(tmp_path):
    key = ("2", "c", "WC, GC", "0", "run")
    row = (*key, "cifar10", "15", "84.91", "64.20", "9.5", "epochs 15", "abc", "CPU")
    for separator, mark in ((",", ""), (";", "\ufeff")):
        with open(tmp_path / "results.csv", "w", newline="", encoding="utf-8") as file:
            file.write(mark)
            csv.writer(file, delimiter=separator).writerows([COLUMNS, row])
        assert read_results(tmp_path / "results.csv") == {key: dict(zip(COLUMNS, row, strict=True))}


def test_results_of_an_earlier_version_lack_columns(tmp_path):
    key = ("2", "c", "WC, GC", "0", "run")
    row = (*key, "cifar10", "15", "84.91", "64.20", "9.5")
    (tmp_path / "results.csv").write_text(files.as_csv([COLUMNS[: len(row)], row]))
    assert read_results(tmp_path / "results.csv") == {key: dict(zip(COLUMNS, (*row, "", "", ""), strict=True))}
    (tmp_path / "results.csv").write_text(files.as_csv([COLUMNS[1 : len(row)], row[1:]]))
    with pytest.raises(MinidlError, match=r"where .* are expected"):
        read_results(tmp_path / "results.csv")


def test_a_damaged_result_is_one_sentence(tmp_path, capsys):
    arguments = ["--table", "2", "--rows", "Baseline", "--budget", "small", "--out", str(tmp_path)]
    row = choose(read_rows(2), "Baseline")[0]
    folder = run_of(tmp_path, row, 0, budget(reproduce.parser().parse_args(arguments), row)).folder
    folder.mkdir()
    (folder / "result.json").write_text('{"train_loss": 1')
    assert reproduce.main(arguments) == 2
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown.startswith("reproduce.py: ")
    assert "result.json cannot be read" in shown
