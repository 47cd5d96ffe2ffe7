"""The paper's tables, ranks and correlation, and the command that reproduces rows."""

import csv
import math

import pytest

import reproduce
import train
from minidl import MinidlError
from minidl.method import parse
from minidl.tables import Line, Row, choose, markdown, ranks, read_rows, spearman


def test_the_papers_tables_are_whole():
    counts = {table: len(read_rows(reproduce.PAPER, table)) for table in (2, 3, 4, 5)}
    assert counts == {2: 13, 3: 39, 4: 27, 5: 6}
    nans = [row for table in counts for row in read_rows(reproduce.PAPER, table) if math.isnan(row.paper)]
    assert [str(row) for row in nans] == ["b: WS"]


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
    rows = read_rows(reproduce.PAPER, 3)
    assert len(choose(rows, "c")) == 10
    assert {row.model for row in choose(rows, "wc, gc")} == {"a", "b", "c"}
    assert [str(row) for row in choose(rows, "c: Baseline; c: WC, GC")] == ["c: Baseline", "c: WC, GC"]
    with pytest.raises(MinidlError, match=r"no row of table 3 is called 'c: BN'; its rows are: a: Baseline;"):
        choose(rows, "c: BN")


def test_the_table_says_mean_deviation_difference_and_ranks():
    rows = [Row(3, "cifar10", "c", "Baseline", 84.14), Row(3, "cifar10", "c", "WC", 85.95)]
    text = markdown([Line(rows[0], (60.0, 62.0)), Line(rows[1], (70.0, math.nan))])
    assert "| Baseline | 84.14 | 61.00 ± 1.41 | -23.14 | 2 | 1 |" in text
    assert "| WC | 85.95 | nan" in text
    assert "correlation between the two columns: -1.00" in text


def test_names_of_one_training_are_one_run(tmp_path):
    pairs = [("weight tensor (WC)", "WC"), ("gradient tensor (GC)", "GC"), ("error sample (EL)", "EL")]
    for written, name in pairs:
        assert str(parse(written).canonical()) == name
    one = reproduce.folder_of(tmp_path, Row(2, "cifar10", "c", "weight tensor (WC)", 0), 0, {})
    assert one == reproduce.folder_of(tmp_path, Row(3, "cifar10", "c", "WC", 0), 0, {})
    assert one != reproduce.folder_of(tmp_path, Row(3, "cifar10", "c", "WC", 0), 0, {"epochs": 2})


@pytest.mark.parametrize("table", [2, 3, 4, 5])
def test_the_small_budget_of_each_table_is_what_train_reads(table):
    data = read_rows(reproduce.PAPER, table)[0].data
    options = reproduce.parser().parse_args(["--table", str(table), "--budget", "small", "--epochs", "30"])
    settings = reproduce.budget(options, data)
    assert (settings["epochs"], settings["drop_every"]) == (30, 5)
    assert reproduce.budget(reproduce.parser().parse_args(["--table", str(table)]), data) == {}
    words = [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    read = vars(train.parser().parse_args(words))
    assert {name: read[name] for name in settings} == settings


@pytest.fixture
def tiny(tmp_path, random, monkeypatch):
    """Return the arguments that run rows of Table 2 on a few random images in CIFAR-10's layout."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        records = random.integers(0, 256, (4, 3073), dtype="u1")
        records[:, 0] %= 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij"))
    budget = {"train_size": 20, "epochs": 2, "drop_every": 1, "batch_size": 4}
    monkeypatch.setattr(reproduce, "SMALL", {"cifar10": budget})
    return ["--table", "2", "--budget", "small", "--data-root", str(tmp_path), "--out", str(tmp_path / "out")]


def test_rows_are_run_once_and_compared(tiny, tmp_path, capsys):
    arguments = [*tiny, "--rows", "Baseline; weight tensor (WC)"]
    assert reproduce.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "| Baseline | 84.14 |" in shown
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir() if path.is_file()} == {"results.csv", "table2.md", "table2.png"}
    logs = sorted(out.glob("*/log.csv"))
    assert len(logs) == 2
    times = [log.stat().st_mtime_ns for log in logs]
    with open(out / "results.csv") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["Baseline", "weight tensor (WC)"]
    assert reproduce.main(arguments) == 0
    assert [log.stat().st_mtime_ns for log in logs] == times


def test_results_of_other_rows_stay(tiny, tmp_path):
    for rows in ("weight global", "Baseline"):
        assert reproduce.main([*tiny, "--rows", rows]) == 0
    with open(tmp_path / "out" / "results.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["Baseline", "weight global"]
    assert all(0 <= float(row["test_accuracy"]) <= 100 and row["train_size"] == "20" for row in rows)


def test_a_row_that_fails_is_told_and_the_others_go_on(tiny, tmp_path, capsys):
    arguments = [*tiny, "--rows", "Baseline; weight global"]
    blocked = reproduce.folder_of(
        tmp_path / "out",
        read_rows(reproduce.PAPER, 2)[0],
        0,
        reproduce.budget(reproduce.parser().parse_args(arguments), "cifar10"),
    )
    blocked.parent.mkdir()
    blocked.write_text("in the way")
    assert reproduce.main(arguments) == 1
    captured = capsys.readouterr()
    assert "reproduce.py: c: Baseline, seed 0: train.py: the run's folder" in captured.err
    assert "| weight global |" in captured.out


def test_an_unknown_row_is_one_sentence(tiny, capsys):
    assert reproduce.main([*tiny, "--rows", "WZ"]) == 2
    assert "reproduce.py: no row of table 2 is called 'WZ'" in capsys.readouterr().err
