"""The report, without a browser: what is read, what is said, what is refused, and that no text becomes HTML."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from report_runs import NASTY, like, trained

from minidl.__main__ import main
from minidl.kernels.errors import MinidlError
from minidl.study import trace_files

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from minidl.study.report import cube, fan, images, looked, outcome, page, runs
from minidl.study.report.write import report


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """Return the folder of a traced run."""
    return trained(tmp_path_factory.mktemp("report"), "--trace", "1")


@pytest.fixture
def run(traced, tmp_path):
    """Return a copy of the run, which a test may damage."""
    shutil.copytree(traced, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def no_libraries(monkeypatch):
    """Write pages without the scripts of Vega, which take seconds."""
    monkeypatch.setattr(page, "bundle", lambda: "")


def groups(*folders):
    """Return the groups of the runs in folders."""
    return runs.grouped([runs.read(folder) for folder in folders])


class Elements(HTMLParser):
    """Collects the tags and the texts of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text):
        self.texts.append(text)


@pytest.fixture(scope="module")
def written(traced):
    """Return the elements of a page on two methods, whose folders have names that would be HTML."""
    baseline = like(traced, "<script>alert(1)<", method="Baseline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "bundle", lambda: "")
        path = report([baseline, traced], None, None, None)
    assert path == baseline / "report.html"
    parser = Elements()
    parser.feed(path.read_text("utf-8"))
    return parser


def test_texts_of_the_user_are_no_html(written):
    assert [tag for tag, _ in written.tags].count("script") == 3
    assert not any(tag == "i" for tag, _ in written.tags)
    assert any("<script>alert(1)<" in text for text in written.texts)
    assert any(NASTY in attributes.get("alt", "") for tag, attributes in written.tags if tag == "img")


def test_the_page_needs_no_other_file(written):
    for _, attributes in written.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    policy = next(a["content"] for tag, a in written.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_every_section_is_there(written):
    titles = [text for text, tag in zip(written.texts, written.texts[1:], strict=False) if text]
    for title in (
        "What came out",
        "Curves",
        "The net and its hook points",
        "Where the means are",
        "What it does to the features",
        "What each hook removes, and the angle",
        "What the optimizer makes of it",
        "Sizes up and down",
        "How far a step carries",
        "Filter fan",
        "The first layer's filters",
        "Predictions",
        "Cards of the normalizations",
    ):
        assert title in titles


def test_every_chart_has_its_sentence_and_its_data(written):
    data = json.loads(next(text for text in written.texts if text.startswith('{"runs"')))
    figures = [attributes["id"] for tag, attributes in written.tags if tag == "figure" and "id" in attributes]
    assert figures == list(data["charts"])
    assert len(figures) > 30
    for chart in data["charts"].values():
        assert bool(chart["rows"]) != bool(chart["cube"])
    for values in data["trace"]["runs"][0]["values"].values():
        assert len(values) == len(data["trace"]["steps"]) == 2
        assert {len(line) for line in values} == {len(data["trace"]["layers"])}


def test_json_in_a_script_ends_no_script():
    text = str(page.in_script({"</script><b>": "\u2028"}))
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"</script><b>": "\u2028"}


def test_runs_that_differ_in_the_seed_are_one_group(traced, run):
    first, second = groups(run, like(run, "b", seed=1), like(run, "c", method="WC", seed=1))
    assert (first.label, first.seeds) == ("WC, GC, fully", "2 seeds (0, 1)")
    assert (second.label, second.seeds) == ("WC", "seed 1")
    [said, noise] = runs.warnings([first, second])
    assert said == "These runs differ in more than the method: seed (2 seeds (0, 1); seed 1)."
    assert "0.3 to 2 points" in noise


def test_what_differs_beside_the_method_is_named(run):
    found = groups(run, like(run, "b", method="WC", optimizer="sgd", learning_rate=0.1))
    assert [group.label for group in found] == ["WC, GC, fully", "WC"]
    said = runs.warnings(found)[0]
    assert said == "These runs differ in more than the method: optimizer (adam, sgd), learning rate (0.001, 0.1)."
    found = groups(run, like(run, "c", optimizer="sgd"))
    assert [group.label for group in found] == ["WC, GC, fully · optimizer adam", "WC, GC, fully · optimizer sgd"]
    assert runs.warnings(found[:1]) == []


def test_the_same_training_twice_is_no_deviation(run):
    found = groups(run, like(run, "b"))
    assert [group.label for group in found] == [f"WC, GC, fully · {folder}" for folder in (run, run.with_name("b"))]


def test_several_seeds_are_mean_and_deviation(run):
    other = like(run, "b", seed=1)
    trace = trace_files.read(other)
    head, *lines = (line.split(",") for line in (other / "trace.csv").read_text().splitlines())
    for line in lines:
        line[head.index("g_mean")] = str(float(line[head.index("g_mean")]) + 0.02)
    (other / "trace.csv").write_text("\n".join(map(",".join, [head, *lines])))
    [group] = cube.read(groups(run, other)).groups
    np.testing.assert_allclose(group.values["g_mean"], 100 * (trace.column("g_mean") + 0.01))
    np.testing.assert_allclose(group.deviations["g_mean"], 2 / np.sqrt(2))
    np.testing.assert_allclose(group.values["g_taken"], 100 * trace.column("g_removed") ** 2)
    assert outcome.spread([50.0, 52.0], " %") == "51.0 ± 1.4 %"


@pytest.mark.parametrize("name", ["trace.csv", "carry.csv", "filters.npz"])
def test_a_damaged_trace_is_a_sentence(run, name):
    (run / name).write_text("step\nx")
    found = cube.read(groups(run))
    assert not found.groups
    assert re.match("WC, GC, fully: its trace is left out, because .*" + name, found.notes[0])


def test_a_fan_is_sorted_and_small(traced):
    [group] = cube.read(groups(traced)).groups
    rows = fan._rows(group, "grads")
    before = next(row for row in rows if row["when"] == "before")["each"]
    assert before["mean"] == sorted(before["mean"])
    assert all(
        low <= mean <= high for low, mean, high in zip(before["low"], before["mean"], before["high"], strict=True)
    )
    assert {len(row["each"]["mean"]) for row in rows} <= set(range(fan.FILTERS + 1))
    after = next(row for row in rows if row["when"] == "after" and row["layer"] == "conv2")["each"]
    assert max(map(abs, after["mean"])) == 0


def test_looking_again_finds_what_the_run_found(traced):
    run = runs.read(traced)
    seen = looked.look(run, None, None)
    assert seen.confusion.sum() == seen.of == 4
    assert seen.confusion.diagonal().sum() / 4 == run.epochs[-1].test_accuracy
    assert ((seen.certainty >= 0.5) & (seen.certainty <= 1)).all()


def test_other_data_are_refused(run, tmp_path):
    with pytest.raises(MinidlError, match=r"its data are not there: the folder .*nowhere.*--data-root"):
        looked.look(runs.read(like(run, "moved", data=str(tmp_path / "nowhere"))), None, None)
    with pytest.raises(MinidlError, match=r"cifar10 in .*; say where they are with --data-root"):
        looked.look(runs.read(like(run, "cifar", data="cifar10")), str(tmp_path), None)
    with pytest.raises(MinidlError, match="are not those that the run was tested on"):
        looked.look(runs.read(like(run, "less", test_size=2)), None, None)


def test_filters_show_their_mean_as_brightness():
    weights = np.zeros((3, 2, 2, 3))
    weights[1], weights[2] = 0.5, -0.5
    pixels = images.filters(weights, 2)
    assert pixels.shape == (5, 5, 3)
    assert (pixels[:2, :2] == 128).all()
    assert (pixels[:2, 3:] == 255).all()
    assert (pixels[3:, :2] == 0).all()


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda run: shutil.rmtree(run), "there is no run in "),
        (lambda run: (run / "log.csv").unlink(), "has not finished an epoch yet"),
        (lambda run: (run / "log.csv").write_text("epoch\nx"), "log.csv"),
        (lambda run: (run / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda run: (run / "config.json").write_text('{"settings": {"model": "a"}}'), "does not say the run's method"),
        (lambda run: (run / "report.html").mkdir(), "report.html cannot be written"),
    ],
)
def test_a_folder_that_cannot_be_reported_is_refused(run, capsys, damage, said, monkeypatch):
    monkeypatch.setattr("minidl.study.report.write._sections", lambda *_: [])
    damage(run)
    assert main(["report", str(run)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minidl report: ")
    assert said in error
    assert not list(run.parent.glob("**/*.part"))


def test_without_the_packages_it_says_what_to_install(run, capsys, monkeypatch):
    monkeypatch.setattr("minidl.commands.report.NEEDED", {"no_such_module": "altair"})
    assert main(["report", str(run)]) == 2
    assert "(altair); install them with: pip install 'minidl[study]'" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_is_drawn_as_far_as_it_goes(run, capsys):
    for name in ("checkpoint.safetensors", *(path.name for path in run.glob("*.npz")), "trace.csv"):
        (run / name).unlink()
    path = run / "page.html"
    assert main(["report", str(run), "--out", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: ")
    text = path.read_text("utf-8")
    for what in ("the net cannot be drawn", "the filters cannot be shown", "its predictions cannot be shown"):
        assert f"{what}, because there is no checkpoint" in text
    assert "Where the means are" not in text
