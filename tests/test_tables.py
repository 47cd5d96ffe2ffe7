"""The paper's tables, ranks and rank correlation, and the command that reproduces rows."""

import csv
import io
import json
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import reproduce
import train
from minidl import MinidlError
from minidl.experiment import plots
from minidl.experiment.saving.commit import CHECKOUT, commit
from minidl.experiment.saving.result import line
from minidl.experiment.sweeps import budget as budgets
from minidl.experiment.sweeps import process_run
from minidl.experiment.sweeps.budget import budget
from minidl.experiment.sweeps.row_run import run_of
from minidl.experiment.sweeps.rows import PAPER, Row, choose, read_rows
from minidl.experiment.sweeps.spearman import ranks, spearman
from minidl.experiment.sweeps.tables import Line, markdown
from minidl.experiment.trainer import Trainer
from minidl.method import parse


def test_the_papers_tables_are_whole():
    counts = {table: len(read_rows(table)) for table in (2, 3, 4, 5)}
    assert counts == {2: 13, 3: 39, 4: 27, 5: 6}
    nans = [row for table in counts for row in read_rows(table) if math.isnan(row.paper)]
    assert [str(row) for row in nans] == ["b: WS"]


def test_the_papers_tables_are_those_of_the_results():
    assert PAPER.read_bytes() == (Path(__file__).parents[1] / "results" / "paper.csv").read_bytes()


def test_ranks():
    assert ranks([10, 30, 20, 30, math.nan]) == [4, 1.5, 3, 1.5, 5]


def test_spearman_against_its_textbook_form():
    """Without ties it is 1 − 6 Σd²/(n(n² − 1))."""
    one, other = [1, 2, 3, 4, 5], [2, 1, 4, 3, 5]
    assert spearman(one, other) == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert spearman(one, one) == pytest.approx(1)
    assert spearman(one, one[::-1]) == pytest.approx(-1)
    assert math.isnan(spearman([1], [2]))


def test_rows_are_chosen_by_model_method_or_both():
    rows = read_rows(3)
    assert len(choose(rows, "c")) == 10
    assert {row.model for row in choose(rows, "wc, gc")} == {"a", "b", "c"}
    assert [str(row) for row in choose(rows, "c: Baseline; c: WC, GC;")] == ["c: Baseline", "c: WC, GC"]
    assert [row.method for row in choose(read_rows(2), "WC; c: EB")] == [
        "weight tensor (WC)",
        "error channel (EB)",
    ]
    with pytest.raises(MinidlError, match=r"no row of table 3 is called 'c: BN'.*; its rows are: a: Baseline;"):
        choose(rows, "c: BN")
    with pytest.raises(MinidlError, match=r"is called 'WCC' \(did you mean WC\?\); its rows are: a: Baseline;"):
        choose(rows, "WCC")
    with pytest.raises(MinidlError, match="no row of table 3 is called ''"):
        choose(rows, " ; ")


def test_the_table_says_mean_deviation_difference_and_ranks():
    rows = [Row(3, "cifar10", "c", "Baseline", 84.14), Row(3, "cifar10", "c", "WC", 85.95)]
    text = markdown([Line(rows[0], (60.0, 62.0), "epochs 2"), Line(rows[1], (70.0, math.nan), "epochs 2")], rows)
    assert "Net (c) on cifar10; epochs 2:" in text
    assert "| Baseline | 84.14 | 61.00 ± 1.41 | 2 | -23.14 | 2 | 1 |" in text
    assert "| WC | 85.95 | nan | 2 | nan | 1 | 2 |" in text
    assert "between the two columns: none (it takes three rows, which are not all equal)" in text
    third = Line(Row(3, "cifar10", "c", "GC", 84.0), (50.0,), "epochs 2")
    three = markdown([Line(rows[0], (60.0,), "epochs 2"), Line(rows[1], (70.0,), "epochs 2"), third], rows)
    assert "correlation between the two columns: 1.00" in three
    alone = markdown([Line(rows[0], (60.0,), "epochs 2")], rows)
    assert "Net (c) on cifar10, 1 of 2 rows; epochs 2:" in alone
    assert "between the two columns: none (it takes three rows, which are not all equal)" in alone


def test_the_picture_of_a_table():
    rows = [Row(3, "cifar10", "c", method, paper) for method, paper in (("Baseline", 84.14), ("WC", 85.95))]
    lines = [Line(rows[0], (60.0, 62.0), ""), Line(rows[1], (70.0, math.nan), "")]
    with Image.open(io.BytesIO(plots.table(lines))) as picture:
        assert picture.size[0] > 500


def test_names_of_one_training_are_one_run(tmp_path):
    pairs = [("gc, weight tensor", "WC, GC"), ("EL, WC, gc", "WC, GC, EL")]
    pairs += [("weight tensor (WC)", "WC"), ("gradient tensor (GC)", "GC"), ("error sample (EL)", "EL")]
    for written, name in pairs:
        assert str(parse(written).canonical()) == name
    one = run_of(tmp_path, Row(2, "cifar10", "c", "weight tensor (WC)", 0), 0, {}).folder
    assert one == run_of(tmp_path, Row(3, "cifar10", "c", "WC", 0), 0, {}).folder
    assert one != run_of(tmp_path, Row(3, "cifar10", "c", "WC", 0), 0, {"epochs": 2}).folder


@pytest.mark.parametrize(
    "table, arguments, epochs, drops",
    [
        (2, ["--budget", "small"], 15, 10),
        (3, ["--budget", "small", "--epochs", "30"], 30, 20),
        (4, ["--epochs", "3"], 3, 1),
        (4, ["--budget", "small", "--epochs", "3"], 3, 2),
        (4, ["--epochs", "30", "--train-size", "500"], 30, 5),
        (5, ["--budget", "small"], 25, 20),
        (5, ["--epochs", "400"], 400, 100),
    ],
)
def test_a_budget_is_what_train_reads_and_keeps_the_shares_of_its_schedule(table, arguments, epochs, drops):
    row = read_rows(table)[0]
    settings = budget(reproduce.parser().parse_args(["--table", str(table), *arguments]), row)
    assert (settings["epochs"], settings["drop_every"]) == (epochs, drops)
    assert budget(reproduce.parser().parse_args(["--table", str(table)]), row) == {}
    words = [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    read = vars(train.parser().parse_args(words))
    assert {name: read[name] for name in settings} == settings


@pytest.mark.parametrize("table", [3, 4])
def test_the_budget_of_the_deep_net_is_smaller_and_all_its_rows_have_it(table):
    """Its steps take seven times as long. Its fewer epochs have the same share at each learning rate."""
    options = reproduce.parser().parse_args(["--table", str(table), "--budget", "small"])
    budgets = [budget(options, row) for row in read_rows(table) if row.model == "b"]
    assert all(one["epochs"] == 6 and one["drop_every"] == 4 and one["train_size"] == 10_000 for one in budgets)
    scaled = reproduce.parser().parse_args(["--table", str(table), "--budget", "small", "--epochs", "6"])
    assert {tuple(budget(scaled, row).items()) for row in read_rows(table)} == {tuple(budgets[0].items())}


@pytest.fixture
def tiny(tmp_path, random, monkeypatch, no_pictures, narrow):
    """Return the arguments that run rows of Table 2 on a few random images in CIFAR-10's layout."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        records = random.integers(0, 256, (4, 3073), dtype="u1")
        records[:, 0] %= 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij"))
    monkeypatch.setattr("minidl.experiment.plots.table", lambda lines: b"a picture")
    small = {"train_size": 20, "epochs": 2, "drop_every": 1, "batch_size": 4}
    monkeypatch.setattr(budgets, "SMALL", {"cifar10": small})
    return ["--table", "2", "--budget", "small", "--data-root", str(tmp_path), "--out", str(tmp_path / "out")]


def test_a_row_runs_in_a_separate_process(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if sys.version_info >= (3, 11):
        (tmp_path / "random.py").write_text("raise ImportError('the user has a module of this name')")
    assert reproduce.main([*tiny, "--rows", "Baseline"]) == 0
    assert len(list((tmp_path / "out").glob("*/result.json"))) == 1


def test_rows_are_run_once_and_compared(quick, tmp_path, capsys):
    arguments = [*quick, "--rows", "Baseline; weight tensor (WC)"]
    assert reproduce.main(arguments) == 0
    shown = capsys.readouterr()
    assert "| Baseline | 84.14 |" in shown.out
    assert "c: weight tensor (WC), seed 0: " in shown.err
    assert "2 of 2 runs done" in shown.err
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir() if path.is_file()} == {"results.csv", "table2.md", "table2.png"}
    logs = sorted(out.glob("*/log.csv"))
    assert len(logs) == 2
    times = [log.stat().st_mtime_ns for log in logs]
    with open(out / "results.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["Baseline", "weight tensor (WC)"]
    assert {row["budget"] for row in rows} == {"batch_size 4, drop_every 1, epochs 2, train_size 20"}
    assert {row["commit"] for row in rows} == {commit()}
    assert all(row["machine"].startswith("CPU, ") for row in rows)
    assert reproduce.main(arguments) == 0
    assert [log.stat().st_mtime_ns for log in logs] == times


@pytest.fixture
def quick(tiny, in_this_process):
    """Return the same arguments, with runs in this process."""
    return tiny


def test_a_table_has_all_seeds_that_were_trained(quick, tmp_path, capsys):
    assert reproduce.main([*quick, "--rows", "Baseline", "--seeds", "2"]) == 0
    whole = (tmp_path / "out" / "table2.md").read_text()
    assert "; batch_size 4, drop_every 1, epochs 2, train_size 20:" in whole
    logs = [log.stat().st_mtime_ns for log in sorted((tmp_path / "out").glob("*/log.csv"))]
    assert reproduce.main([*quick, "--rows", "Baseline"]) == 0
    assert (tmp_path / "out" / "table2.md").read_text() == whole
    assert [log.stat().st_mtime_ns for log in sorted((tmp_path / "out").glob("*/log.csv"))] == logs
    assert " | 2 | " in capsys.readouterr().out


def test_results_of_other_rows_stay(quick, tmp_path):
    for rows in ("weight global", "Baseline"):
        assert reproduce.main([*quick, "--rows", rows]) == 0
    with open(tmp_path / "out" / "results.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["Baseline", "weight global"]
    assert all(0 <= float(row["test_accuracy"]) <= 100 and row["run"].endswith("-t20-seed0") for row in rows)
    table = (tmp_path / "out" / "table2.md").read_text()
    assert "2 of 13 rows" in table
    assert "| Baseline | 84.14 |" in table
    assert "| weight global | 84.91 |" in table


def test_a_row_continues_where_it_stopped(quick, tmp_path, monkeypatch, capsys):
    """Whether it stopped in its first epoch or in a later one, its log equals that of a row that did not stop."""

    def log(out):
        return [line.rsplit(",", 1)[0] for line in next(out.glob("*/log.csv")).read_text().splitlines()]

    real, steps = Trainer.next_step, []

    def broken(trainer, size):
        steps.append(size)
        if len(steps) in (2, 8):  # each epoch has five steps
            raise KeyboardInterrupt
        real(trainer, size)

    arguments = [*quick, "--rows", "Baseline"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "next_step", broken)
        for _ in range(2):
            assert reproduce.main(arguments) == 1
            assert not list((tmp_path / "out").glob("*/result.json"))
        assert reproduce.main(arguments) == 0
    assert reproduce.main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    assert log(tmp_path / "out") == log(tmp_path / "whole")


def test_an_interrupt_is_one_sentence(tiny, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(process_run, "finished", interrupted)
    assert reproduce.main([*tiny, "--rows", "Baseline; weight global"]) == 130
    assert "interrupted; call it again to continue where it stopped" in capsys.readouterr().err


def test_a_row_that_was_killed_is_reported_and_the_others_continue(quick, tmp_path, monkeypatch, capsys):
    real = process_run.finished

    def run(command, **_):
        return SimpleNamespace(returncode=-9, stderr="") if "weight global" in command else real(command)

    monkeypatch.setattr(process_run, "finished", run)
    assert reproduce.main([*quick, "--rows", "weight global; Baseline"]) == 1
    captured = capsys.readouterr()
    assert "c: weight global, seed 0: its run ended with status -9 and said nothing" in captured.err
    assert "| Baseline | 84.14 |" in captured.out


def test_a_row_that_turns_nan_says_nan_and_where_that_began(quick, tmp_path, capsys):
    rows = choose(read_rows(2), "weight global; Baseline")
    for row, loss in zip(rows, (None, 1.5), strict=True):
        folder = run_of(tmp_path / "out", row, 0, budgets.SMALL["cifar10"]).folder
        folder.mkdir(parents=True)
        result = {"train_loss": loss, "test_accuracy": 0.1, "epochs": 2, "seconds": 3}
        result |= {} if loss else {"diverged": "at step 2 of epoch 1, in the output of conv2"}
        (folder / "result.json").write_text(json.dumps(result))
    assert reproduce.main([*quick, "--rows", "weight global; Baseline"]) == 0
    shown = capsys.readouterr().out
    said = (
        "weight global, seed 0: the loss is not a number any more, first at step 2 of epoch 1, in the output of conv2"
    )
    assert f"{said}\n" in shown.rpartition("Spearman")[2]
    assert said in (tmp_path / "out" / "table2.md").read_text("utf-8")
    assert shown.count("not a number any more") == 1
    assert "| weight global | 84.91 | nan | 1 | nan | 1 | 2 |" in shown
    assert "| Baseline | 84.14 | 10.00 | 1 | -74.14 | 2 | 1 |" in shown
    with open(tmp_path / "out" / "results.csv") as file:
        assert [row["test_accuracy"] for row in csv.DictReader(file)] == ["10.00", "nan"]


def test_a_run_that_diverged_says_so_when_it_ends():
    result = {"train_loss": None, "test_accuracy": None, "epochs": 1, "seconds": 3.0}
    assert line("c: WC, seed 0", result) == "c: WC, seed 0: nan % after 1 epoch, 3 s"  # of minidl 0.1.0
    result["diverged"] = "at step 2 of epoch 1, in the output of conv2"
    assert line("c: WC, seed 0", result) == (
        "c: WC, seed 0: the loss is not a number any more, first at step 2 of epoch 1, in the output of conv2"
    )


def test_a_data_set_that_is_not_there_is_one_sentence(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"garbage")
    assert reproduce.main([*tiny, "--rows", "Baseline; weight global"]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "test_batch.bin" in shown


def test_more_images_than_there_are_are_refused_before_anything_is_trained(tiny, tmp_path, capsys):
    assert reproduce.main([*tiny, "--train-size", "21"]) == 2
    told = capsys.readouterr().err
    assert told == "reproduce.py: --train-size asks for 21 images, and cifar10 has 20 to train on; give at most that\n"
    assert not list((tmp_path / "out").iterdir())


def test_a_row_that_fails_is_reported_and_the_others_continue(quick, tmp_path, capsys):
    arguments = [*quick, "--rows", "Baseline; weight global"]
    settings = budget(reproduce.parser().parse_args(arguments), read_rows(2)[0])
    blocked = run_of(tmp_path / "out", read_rows(2)[0], 0, settings).folder
    blocked.parent.mkdir()
    blocked.write_text("in the way")
    assert reproduce.main(arguments) == 1
    captured = capsys.readouterr()
    assert "reproduce.py: c: Baseline, seed 0: minidl train: the run's folder" in captured.err
    assert "| weight global |" in captured.out


def test_a_time_limit_leaves_out_what_would_not_end_in_time(quick, tmp_path, monkeypatch, capsys):
    """A run that takes 90 s, as earlier runs of its net, fits into two minutes but not into one; no result is lost."""
    row = read_rows(2)[0]
    earlier = run_of(tmp_path / "out", row, 0, budgets.SMALL["cifar10"]).folder
    earlier.mkdir(parents=True)
    result = {"train_loss": 1.5, "test_accuracy": 0.1, "epochs": 2, "seconds": 90}
    (earlier / "result.json").write_text(json.dumps(result))
    rows = ["--rows", "Baseline; weight global; weight channel"]
    assert reproduce.main([*quick, *rows, "--time-limit", "1"]) == 0
    captured = capsys.readouterr()
    assert "2 runs would not have ended within the time limit and were not begun; call it again" in captured.err
    assert "| weight global |" not in captured.out
    assert reproduce.main([*quick, *rows, "--time-limit", "2"]) == 0
    captured = capsys.readouterr()
    assert "time limit" not in captured.err
    assert "| weight channel |" in captured.out


def test_a_commit_is_that_of_the_checkout_or_none(tmp_path, monkeypatch):
    assert re.fullmatch(r"[0-9a-f]{9,}( with changes)?", commit.__wrapped__()) or not (CHECKOUT / ".git").exists()
    monkeypatch.setattr("minidl.experiment.saving.commit.CHECKOUT", tmp_path)
    assert commit.__wrapped__() == ""


def test_an_unknown_row_is_one_sentence(tiny, capsys):
    assert reproduce.main([*tiny, "--rows", "WZ"]) == 2
    assert "reproduce.py: no row of table 2 is called 'WZ'" in capsys.readouterr().err


def test_parts_of_a_batch_systems_array_are_the_table(tiny, tmp_path, in_this_process, monkeypatch):
    """Each task writes a table of the finished runs; the last task writes the whole table, whatever the order."""
    rows = "Baseline; WC; GC; c: EB"
    for number in (3, 1, 2):
        assert reproduce.main([*tiny, "--rows", rows, "--part", f"{number}/3"]) == 0
    with open(tmp_path / "out" / "results.csv", newline="") as file:
        methods = [line["method"] for line in csv.DictReader(file)]
    assert len(methods) == 4 == len(set(methods))
    assert methods == sorted(methods)
    with pytest.raises(SystemExit):
        reproduce.main([*tiny, "--part", "4/3"])


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_one_run(tiny, tmp_path, monkeypatch):
    rows = ["--rows", "; ".join(row.method for row in read_rows(2)[:8])]
    real, begun = process_run.finished, []

    def started(command):
        begun.append(command)
        if len(begun) == 3:
            command = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
        return real(command)

    monkeypatch.setattr(process_run, "finished", started)
    assert reproduce.main([*tiny, *rows, "--jobs", "2"]) == 1
    assert len(list((tmp_path / "out").glob("*/result.json"))) == 7
    assert len(begun) == 8
    assert reproduce.main([*tiny, *rows, "--jobs", "2"]) == 0
    assert len(begun) == 9
    with open(tmp_path / "out" / "results.csv", newline="") as file:
        lines = [line["run"] for line in csv.DictReader(file)]
    assert len(lines) == 8 == len(set(lines))


def test_child_processes_do_not_act_as_ranks(monkeypatch):
    told = {
        "PMI_RANK": "1",
        "PMI_SIZE": "2",
        "OMPI_COMM_WORLD_SIZE": "2",
        "SLURM_PROCID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
    }
    for name, value in (told | {"SLURM_TMPDIR": "/scratch", "MINE": "3"}).items():
        monkeypatch.setenv(name, value)
    code = (
        "import os; print(*(name for name in sorted(os.environ) if name.startswith(('PMI', 'OMPI', 'SLURM', 'MINE'))))"
    )
    assert process_run.finished([sys.executable, "-c", code]).stdout.split() == ["MINE", "SLURM_TMPDIR"]


def test_copies_of_a_sweep_are_refused(monkeypatch, capsys):
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setenv("PMI_RANK", "0")
    assert reproduce.main(["--table", "2"]) == 2
    assert "mpiexec -n 4 python -m mpi4py.futures reproduce.py" in capsys.readouterr().err
    monkeypatch.setenv("PMI_RANK", "3")
    with pytest.raises(SystemExit) as left:
        reproduce.main(["--table", "2"])
    assert left.value.code == 0  # some launchers would then end rank 0 before it has printed the reason
    assert not capsys.readouterr().err
