"""The report, without a browser: what it reads, says and refuses, and that texts of the user are escaped."""

import csv
import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_runs import NASTY, like, trained
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from minidl import models
from minidl.__main__ import main
from minidl.commands.train import parser as options_of
from minidl.experiment.cli.command import Command
from minidl.experiment.cli.own_code import OwnFile
from minidl.experiment.sweeps import seeds
from minidl.experiment.sweeps.compare_results import ONE_SEED
from minidl.kernels import load
from minidl.kernels.errors import MinidlError
from minidl.layers import Convolution, Flatten, FullyConnected, ReLU, Residual, Sequential
from minidl.net import Net
from minidl.study import trace_files

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from minidl.study.report import (
    cards,
    carry,
    charts,
    cube,
    diagram,
    fan,
    filters,
    images,
    looked,
    outcome,
    page,
    predictions,
    quantities,
    runs,
)
from minidl.study.report import traced as sections
from minidl.study.report.write import _of_trace, report


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
    """Write pages without the scripts of Vega, which would take seconds."""
    monkeypatch.setattr(page, "bundle", lambda: "")


def groups(*folders):
    """Return the groups of the runs in some folders."""
    return runs.grouped([runs.read(folder) for folder in folders])


class Elements(HTMLParser):
    """Collects the tags and texts of a page, and for each section its title and the numbers of its blocks and notes."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.sections, self.inside = [], [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag
        if tag == "section":
            self.sections.append(["", 0])
        elif tag == "h3" or ("class", "note") in attributes:  # every block has a title
            self.sections[-1][1] += 1

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, text):
        self.texts.append(text)
        if self.inside == "h2":
            self.sections[-1][0] += text


def read(path):
    """Return the elements of the page in a file."""
    parser = Elements()
    parser.feed(path.read_text("utf-8"))
    return parser


def rewrite(path, change):
    """Change every line of a table, as a dictionary, by a function; leave lines out for which it returns None."""
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        lines = [line for line in map(change, reader) if line]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, reader.fieldnames)
        writer.writeheader()
        writer.writerows(lines)


@pytest.fixture(scope="module")
def written(traced):
    """Return the elements of a page about two methods, whose folders have names that are HTML."""
    baseline = like(traced, "<script>alert(1)<", method="Baseline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "bundle", lambda: "")
        path = report([baseline, traced], None, None, None)
    assert path == baseline / "report.html"
    return read(path)


def test_texts_of_the_user_are_escaped_in_html(written):
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
    assert [title for title, _ in written.sections] == [
        "What came out",
        "Curves",
        "The net and its hook points",
        "Where the means are",
        "What it does to the features",
        "What each hook removes, and the angle",
        "What the optimizer makes of it",
        "Sizes down the net and back up",
        "How far a step carries",
        "Filter fan",
        "The first layer's filters",
        "Predictions",
        "Cards of the normalizations",
    ]
    assert [title for title, count in written.sections if not count] == []


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


def test_the_gradient_and_the_step_have_different_names(written):
    """The paper's ΔW is the gradient, not the step of the optimizer."""
    said = " ".join(written.texts)
    assert "ΔW" not in said
    assert "The same for Step = W(t + 1) − W(t)" in said
    assert "W + s·Step minus that at W, where Step is what the optimizer adds to W" in said


def test_two_dozen_methods_look_different(run):
    looks = charts.looks(24)
    assert len({(look.colour, tuple(look.dash)) for look in looks}) == charts.LOOKS == 24
    assert len({(look.colour, look.shape) for look in charts.looks(64)}) == 64
    assert charts.looks(8) == looks[:8]
    assert {tuple(look.dash) for look in looks[:8]} == {(1, 0)}
    found = groups(run, *(like(run, f"b{i}", weight_decay=i / 100) for i in range(1, 25)))
    assert any("Of these 25 methods, the 25th has lines like the first" in said for said in runs.warnings(found))
    assert not any("lines like" in said for said in runs.warnings(found[1:]))


def test_the_buttons_are_the_legend(written):
    paths = [attributes for tag, attributes in written.tags if tag == "path"]
    shapes = [path["d"] for path in paths if path.get("class") != "line"]
    assert shapes[:2] == list(charts.SHAPES.values())[:2]
    assert [path["stroke-dasharray"] for path in paths if path.get("class") == "line"] == ["1 0", "1 0"]


def test_json_in_a_script_does_not_end_the_script():
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
    assert seeds.NOISE in noise


def test_a_method_in_several_spellings_is_one_group(run):
    spellings = ("GC, WC, fully", "gradient tensor (GC), weight tensor, FULLY", "WC, GC, fully")
    [group] = groups(*(like(run, f"seed{i}", method=method, seed=i) for i, method in enumerate(spellings)))
    assert (group.label, group.seeds) == ("WC, GC, fully", "3 seeds (0, 1, 2)")
    unknown, other = groups(like(run, "b", method="MINE, wc"), like(run, "c", method="bn", seed=1))
    assert (unknown.label, other.label) == ("MINE, wc", "Baseline, BN")


def test_settings_that_differ_besides_the_method_are_named(run):
    found = groups(run, like(run, "b", method="WC", optimizer="sgd", learning_rate=0.1))
    assert [group.label for group in found] == ["WC, GC, fully", "WC · optimizer sgd · learning rate 0.1"]
    said = runs.warnings(found)[0]
    assert said == "These runs differ in more than the method: optimizer (adam, sgd), learning rate (0.001, 0.1)."
    found = groups(run, like(run, "c", optimizer="sgd"))
    assert [group.label for group in found] == ["WC, GC, fully · optimizer adam", "WC, GC, fully · optimizer sgd"]
    mode = {"mode": "reparametrization"}
    ws, eb = like(run, "e", method="WS", **mode), like(run, "f", method="EB")
    found = groups(run, like(run, "d", optimizer="sgd"), ws, eb)
    assert [group.label for group in found][2:] == ["WS · mode reparametrization", "EB"]
    assert [group.label for group in found][:2] == ["WC, GC, fully · optimizer adam", "WC, GC, fully · optimizer sgd"]
    assert runs.warnings(found[:1]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"place": "hooks"},
        {"device": "reference"},
        {"import": [{"file": "/a/my_norm.py", "sha256": "ab" * 32}]},
        {"init": "/a/run"},
        {"image_size": 40},
        {"fit": "pad"},
        {"sync_bn": True},
        {"weight_decay": 0.0},
        {"a_setting_of_tomorrow": 1},
    ],
)
def test_runs_of_other_code_or_settings_are_no_other_seeds(run, change):
    found = groups(run, like(run, "b", seed=1, **change))
    assert [len(group.runs) for group in found] == [1, 1]
    assert found[0].label != found[1].label
    assert f"{next(iter(change)).replace('_', ' ')} (" in runs.warnings(found)[0]


def test_every_option_of_a_training_must_be_equal_or_is_known_not_to_matter(traced):
    """A new option is compared, unless it is added to FREE and to this list."""
    free = {"seed", "out", "quiet", "save_every", "threads", "loops", "data_root", "trace", "test_every"}
    options = vars(options_of(Command("minidl train", "minidl train")).parse_args([])).keys()
    assert free < options
    first = runs.read(traced)
    for name in options - {"method", "resume", "import"}:
        other = replace(first, settings=first.settings | {"seed": 1} | {name: 77})
        assert len(runs.grouped([first, other])) == (1 if name in free else 2), name


def test_runs_on_other_data_of_one_name_are_no_other_seeds(run):
    other, third = like(run, "b", seed=1), like(run, "c", seed=2)
    for folder, marks in ((other, {"train": "ab"}), (third, {"test": "cd"})):
        mark_data(folder, marks)
    found = groups(run, other, third)
    assert [group.seeds for group in found] == ["seed 0", "seed 1", "seed 2"]
    assert len({group.label for group in found}) == 3
    assert all(re.search(r" · contents of the data [0-9a-f]{12}$", group.label) for group in found)
    assert "differ in more than the method: contents of the data (" in runs.warnings(found)[0]


def test_other_sizes_of_the_data_are_one_difference(run):
    """That the contents differ, too, follows from it."""
    other = like(run, "b", seed=1, train_size=77)
    mark_data(other, {"train": "ab"})
    found = groups(run, other)
    assert found[1].label.endswith("train size 77")
    assert "contents" not in runs.warnings(found)[0]
    assert "Each of them was trained with one seed." in runs.warnings(found)[1]


def test_runs_that_imported_the_same_file_are_one_group(run):
    def record(folder, digits):
        return [{"file": f"{folder}/my_norm.py", "sha256": digits * 32}]

    folders = [
        like(run, name, seed=seed, **{"import": record(*what)})
        for name, seed, *what in (("b", 0, "/a", "ab"), ("c", 1, "/b", "ab"), ("d", 2, "/a", "cd"))
    ]
    found = groups(*folders)
    assert [group.label for group in found] == [
        "WC, GC, fully · import my_norm.py abababababab",
        "WC, GC, fully · import my_norm.py cdcdcdcdcdcd",
    ]
    assert [group.seeds for group in found] == ["2 seeds (0, 1)", "seed 2"]


@pytest.mark.usefixtures("names")
def test_another_file_than_in_training_is_said(run, tmp_path, monkeypatch):
    monkeypatch.setattr("minidl.study.report.write._sections", lambda *_: [])
    file = tmp_path / "my_norm.py"
    file.write_text("A = 1")
    mine = like(run, "b", **{"import": [OwnFile.read(file).record]})

    def said(*more):
        assert main(["report", str(mine), *more]) == 0
        return [text for text in read(mine / "report.html").texts if "was trained with my_norm.py" in text]

    assert said("--import", str(file)) == []
    assert "drawn without it; give it by --import. Its net" in said()[0]
    file.write_text("A = 2")
    assert re.search(r"\(SHA-256 .{12}…\) and drawn with another one \(.{12}…\)", said("--import", str(file))[0])


def test_the_noise_between_seeds_is_shown_with_its_conditions():
    for said in (seeds.NOISE, ONE_SEED):
        assert "in three epochs on 10,000 images of CIFAR-10, and more in shorter runs" in said


def test_data_go_down_and_errors_come_back_up(traced):
    told = {one.name: one for one in (*quantities.REMOVED, *quantities.SIZES)}
    for text in (told["e_taken"].formula, told["e_norm"].formula):
        assert "the error that the layer passes back" in text
    assert "down" in told["out_std"].question
    assert "back up" in told["e_norm"].question
    text = diagram.diagram(groups(traced)).text
    assert text.startswith("Data go down")
    assert "the error that it passes back" in text


def test_hooks_are_counted_where_they_are_called():
    """The errors of the first layer, or of the first layers in a first residual block, are never computed."""
    block = Residual(Sequential(Convolution(3, 3), ReLU(), Convolution(3, 3)), Convolution(3, 1))
    net = Net(Sequential(block, Flatten(), FullyConnected(2)), (4, 4, 3), load("cpu"), method="WC, EB")
    assert diagram._in_words(net) == "WC at the weights of 3 layers, EB at the error of 1 layer"
    found = diagram._diagram({"WC, EB": net})
    assert [stop.name for stop in found.stops if stop.error is None] == ["conv1", "conv3", "add1"]
    assert [stop.name for stop in found.stops if stop.error] == ["conv2"]


def test_equal_runs_are_not_taken_for_several_seeds(run):
    found = groups(run, like(run, "b"))
    assert [group.label for group in found] == [f"WC, GC, fully · {folder}" for folder in (run, run.with_name("b"))]


def test_several_seeds_are_mean_and_deviation(run):
    other = like(run, "b", seed=1)
    trace = trace_files.read(other)
    head, *lines = (line.split(",") for line in (other / "trace.csv").read_text().splitlines())
    for line in lines:
        line[head.index("g_mean")] = str(float(line[head.index("g_mean")]) + 0.02)
    (other / "trace.csv").write_text("".join(f"{','.join(line)}\n" for line in [head, *lines]))
    [group] = cube.read(groups(run, other)).groups
    np.testing.assert_allclose(group.values["g_mean"], 100 * (trace.column("g_mean") + 0.01))
    np.testing.assert_allclose(group.deviations["g_mean"], 2 / np.sqrt(2))
    np.testing.assert_allclose(group.values["g_taken"], 100 * trace.column("g_removed") ** 2)
    assert outcome.spread([50.0, 52.0], " %") == "51.0 ± 1.4 %"


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_page_says_how_it_draws_and_which_seed(run, seeds):
    """Beside each chart is said what a line, a bar and a band are, and where one seed is drawn for several."""
    folders = [run, *(like(run, f"seed{seed}", seed=seed) for seed in range(1, seeds))]
    found = groups(*folders)
    sections = {section.title: section for section in _of_trace(cube.read(found))}
    features = sections["What it does to the features"].blocks
    for through, over in zip(features[::2], features[1::2], strict=True):
        assert ("means over the seeds, bars ± their standard deviation" in through.sentence) == (seeds > 1)
        assert "Bold: the running median of five traced steps; pale: the measured values" in over.sentence
        assert ("means over the seeds, bands ± their standard deviation" in over.sentence) == (seeds > 1)
    assert ("Bars are means over the seeds." in sections["Where the means are"].text) == (seeds > 1)
    alone = "Of WC, GC, fully, only seed 0 is drawn, the first of 3 seeds."
    said = [block.sentence for block in sections["Filter fan"].blocks + filters.first_filters(found).blocks]
    said.append(" ".join(sections["How far a step carries"].notes))
    assert len(said) == 4
    for sentence in said:
        assert (alone in sentence) == (seeds > 1)


def test_sentences_on_several_methods_keep_them_apart_though_their_names_have_commas(run):
    found = groups(like(run, "baseline", method="Baseline"), run, like(run, "wc", method="WC"))
    labels = [group.label for group in found]
    assert labels == ["Baseline", "WC, GC, fully", "WC"]
    traced = [section for section in _of_trace(cube.read(found)) if section.title != "Filter fan"]
    said = [block.sentence for section in (outcome.curves(found), *traced) for block in section.blocks]
    assert len(said) > 20
    for sentence in said:
        assert re.search(r"Baseline [^;]+; WC, GC, fully [^;]+; WC [^;]+\.", sentence), sentence


def test_seeds_that_were_not_traced_are_named(run):
    other = like(run, "b", seed=1)
    (run / "trace.csv").unlink()
    found = cube.read(groups(run, other))
    assert found.notes == ["WC, GC, fully: of 2 seeds (0, 1), there is a trace of 1 only."]
    assert found.groups[0].only == ""


@pytest.mark.parametrize("name", ["trace.csv", "carry.csv", "filters.npz"])
def test_a_damaged_trace_is_an_error_of_one_sentence(run, name):
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


def test_a_second_evaluation_finds_the_results_of_the_run(traced):
    run = runs.read(traced)
    seen = looked.look(run, None, None)
    assert seen.confusion.sum() == seen.of == 4
    assert seen.confusion.diagonal().sum() / 4 == run.epochs[-1].test_accuracy
    assert ((seen.certainty >= 0.5) & (seen.certainty <= 1)).all()


def test_some_of_many_images_are_of_every_class(traced, monkeypatch):
    """Sets from folders are sorted by class."""
    run = runs.read(traced)
    test, mark = looked._test_set(run.settings["data"], None, (None,) * len(looked.ADAPTED))
    many = replace(test, images=test.images.repeat(10, axis=0), labels=test.labels.repeat(10))
    assert (np.diff(many.labels) >= 0).all()
    monkeypatch.setattr(looked, "_test_set", lambda *_: (many, mark))
    first, again = (looked.look(run, None, 10) for _ in range(2))
    assert (first.of, len(first.images)) == (40, 10)
    assert set(first.truth) == {0, 1}
    assert first.truth == again.truth


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
        (lambda run: (run / "log.csv").unlink(), "no finished epoch; go on with: minidl train --resume"),
        (lambda run: (run / "log.csv").write_text("epoch\nx"), "log.csv"),
        (lambda run: (run / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda run: (run / "config.json").write_text('{"settings": {"model": "a"}}'), "does not say the run's method"),
        (
            lambda run: (run / "config.json").write_text(
                '{"settings": {"model": "a", "method": "WC", "data": "shapes", "seed": 0, "import": [1]}}'
            ),
            "does not say by file and sha256 what it imports",
        ),
        (lambda run: (run / "report.html").mkdir(), "report.html is a folder; name a file in it"),
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


@pytest.mark.parametrize(
    ("folders", "out", "said"),
    [
        ([], None, r"takes a list of the folders of runs, at least of one, not \[\]"),
        ("runs/x", None, "takes a list of the folders of runs, at least of one, not 'runs/x'"),
        ([3], None, "each folder of a report must be a path, as a text or a Path, not 3"),
        (["runs/x"], 3, "out of a report must be a path, as a text or a Path, not 3"),
    ],
)
def test_what_is_no_list_of_folders_is_refused(folders, out, said):
    with pytest.raises(MinidlError, match=said):
        report(folders, out, None, None)


def test_a_run_given_twice_is_shown_once(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(run.parent)
    for again in (str(run), run.name):
        assert main(["report", str(run), again, "--out", str(tmp_path / "page.html")]) == 0
        assert capsys.readouterr().err == f"minidl report: {again} is given twice and shown once.\n"
    assert "differ in more than the method" not in (tmp_path / "page.html").read_text("utf-8")
    assert main(["report", str(run), "--out", str(tmp_path / "alone.html")]) == 0
    assert capsys.readouterr().err == ""
    assert len((tmp_path / "page.html").read_bytes()) == len((tmp_path / "alone.html").read_bytes())


def test_without_the_packages_it_says_what_to_install(run, capsys, monkeypatch):
    monkeypatch.setattr("minidl.commands.report.NEEDED", {"no_such_module": "altair"})
    assert main(["report", str(run)]) == 2
    assert "(altair); install them with: pip install -e '.[study]'" in capsys.readouterr().err


def mark_data(folder, marks):
    """Change the fingerprints of the data in a run's checkpoint."""
    path = folder / "checkpoint.safetensors"
    with safe_open(path, framework="np") as file:
        about = json.loads(file.metadata()["minidl"])
    for part, mark in marks.items():
        about["data"][part]["fingerprint"] = mark * 16
    save_file(load_file(path), path, {"minidl": json.dumps(about)})


def damage(path):
    """Set the first weights of a checkpoint to nan."""
    with safe_open(path, framework="np") as file:
        about, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(arrays | {"net/conv1.weights": np.full_like(arrays["net/conv1.weights"], np.nan)}, path, about)


def test_changes_of_any_size_have_ticks_in_order():
    """A label that overlaps the one before it is left out, so the order of the ticks decides which are shown."""
    assert sorted(carry.TICKS) == carry.TICKS
    assert {-1e6, -1, -0.1, 0, 0.1, 1, 1e6} <= set(carry.TICKS)


@pytest.mark.thorough
def test_runs_that_have_diverged_are_reported(tmp_path, small):
    small("a", filters=(4, 4, 4))
    run = trained(tmp_path, "--trace", "1", "--learning-rate", "1e30")
    damage(run / "checkpoint.safetensors")  # which is from an earlier epoch, and valid
    assert main(["report", str(run), str(like(run, "other", seed=1))]) == 0
    page = read(run / "report.html")
    assert [title for title, count in page.sections if not count] == []
    said = " ".join(page.texts)
    for what in (
        "after 1 epoch the loss was not a number any more (2 seeds (0, 1))",
        "no loss along a step is a finite number",
        "its predictions cannot be shown, because the output of the net is not a number any more",
    ):
        assert f"WC, GC, fully: {what}." in said
    assert not re.search(r"\b(nan|inf)\b", said, re.IGNORECASE)


def test_the_net_of_a_run_that_diverged_is_marked(run):
    """Its filters and predictions are those of an earlier checkpoint, and no test came after that."""
    result = json.loads((run / "result.json").read_text())
    result["diverged"] = "at step 1 of epoch 2, in the output of fc2"
    (run / "result.json").write_text(json.dumps(result))
    lines = (run / "log.csv").read_text().splitlines()
    row = dict(zip(lines[0].split(","), lines[1].split(","), strict=True)) | {"epoch": "2", "train_loss": "nan"}
    row |= {"test_loss": "", "test_accuracy": ""}
    (run / "log.csv").write_text("\n".join([*lines, ",".join(row.values())]) + "\n")
    found = groups(run)
    note = (
        f"WC, GC, fully: the training of {run} diverged, first at step 1 of epoch 2, in the output of fc2; the net is "
    )
    for section in (filters.first_filters(found), predictions.predictions(found, None, None)):
        assert section.notes[0].startswith(note)
        assert section.blocks
        assert all(block.title.startswith("WC, GC, fully, before it diverged") for block in section.blocks)
    assert outcome.outcome(found).blocks[0].lines[0][1] == "diverged"
    assert outcome.curves(found).blocks[0].sentence.endswith("accuracy in the last test: WC, GC, fully diverged.")


def test_filters_of_nan_are_replaced_by_a_sentence(traced, monkeypatch):
    def damaged(*_, **__):
        net = diagram.rebuilt(runs.read(traced))
        net.layers[0].weights.value[0] = np.nan
        return net

    monkeypatch.setattr(filters.checkpoint, "load", damaged)
    section = filters.first_filters(groups(traced))
    assert not section.blocks
    why = "the filters cannot be shown, because training has left weights that are not numbers."
    assert section.notes == [f"WC, GC, fully: {why}"]


@pytest.mark.parametrize("place", ["hooks", "optimizer"])
def test_filters_are_those_that_the_net_had(tmp_path, small, place):
    """Not those of a net into which BN is folded, which have another size, nor those before the hook."""
    small("a", filters=(4, 4, 4))
    run = trained(tmp_path, "--method", "WC, BN", "--place", place)
    random = models.build("a", method="BN", classes=2, device="cpu").layers[0].weights.value
    before = random - random.mean(axis=(1, 2, 3), keepdims=True)
    after = load_file(run / "checkpoint.safetensors")["net/conv1.weights"]
    assert np.abs(after - before).max() > 1e-4
    [block] = filters.first_filters(groups(run)).blocks
    shown = [images.address(images.filters(weights, filters.ACROSS)) for weights in (before, after)]
    assert [picture.source for picture in block.pictures] == shown
    assert "after the hook, if there is one), and 0.0 % after training." in block.sentence

    (tmp_path / "more").mkdir()
    begun = trained(tmp_path / "more", "--method", "WC, BN", "--place", place, "--init", str(run))
    [block] = filters.first_filters(groups(begun)).blocks
    assert [picture.caption.split(",")[0] for picture in block.pictures] == ["after training"]
    assert f"The initial weights were those of {run}. They are not shown" in block.sentence


@pytest.mark.parametrize(("loss", "scale", "least"), [("1e6", "log", "1"), ("2.3", None, "1"), ("1e6", None, "0")])
def test_a_huge_loss_of_one_method_does_not_hide_the_others(run, loss, scale, least):
    """Unless a loss is 0, which has no logarithm."""
    other, ws = (like(run, name, method=name) for name in ("WC", "WS"))
    rewrite(other / "log.csv", lambda line: line | {"train_loss": least, "test_loss": least})
    rewrite(ws / "log.csv", lambda line: line | {"train_loss": loss, "test_loss": loss})
    accuracy, losses = outcome.curves(groups(run, other, ws)).blocks
    scales = [layer["encoding"]["y"].get("scale", {}).get("type") for layer in losses.spec["layer"]]
    assert scales == [scale] * 3
    assert losses.sentence.endswith(" The axis is logarithmic.") == (scale == "log")
    assert ("datum.low > 0" in json.dumps(losses.spec)) == (scale == "log")
    assert "log" not in json.dumps(accuracy.spec)


@pytest.mark.parametrize("loss", ["nan", "inf"])
def test_one_seed_that_has_diverged_is_not_hidden_by_others(run, loss):
    other = like(run, "b", seed=1)
    rewrite(other / "log.csv", lambda line: line | {"train_loss": loss})
    section = outcome.outcome(groups(run, other))
    assert section.text == "WC, GC, fully: after 1 epoch the loss was not a number any more (1 of 2 seeds (0, 1))."
    assert section.blocks[0].lines[0][1:3] == ["100.0 % (1 of 2 diverged)", "not a number"]
    assert math.isnan(seeds.deviation([1.0, float(loss)]))
    [row] = [row for row in outcome._rows(groups(run, other), "loss", 1) if row["part"] == "train"]
    assert row["low"] == row["mean"] == row["high"]


def test_seeds_with_fewer_epochs_are_named(run):
    other = like(run, "b", seed=1)
    for folder in (run, other):
        about = json.loads((folder / "config.json").read_text())
        about["settings"]["epochs"] = 2
        (folder / "config.json").write_text(json.dumps(about))
    log = (other / "log.csv").read_text()
    (other / "log.csv").write_text(log + log.splitlines()[1].replace("1,", "2,", 1) + "\n")
    assert outcome.outcome(groups(run)).text.endswith("in the test after 1 of 2 epochs (seed 0).")
    assert outcome.outcome(groups(other)).text.endswith("in the test after 2 epochs (seed 1).")
    assert outcome.outcome(groups(run, other)).text.endswith("in the test after 1 to 2 of 2 epochs (2 seeds (0, 1)).")


def test_filters_of_nan_are_left_out_of_a_fan(traced):
    [group] = cube.read(groups(traced)).groups
    name = next(name for name in group.first.filters if name[1:] == ("conv1", "grads", "before"))
    damaged = group.first.filters[name].copy()
    damaged[3, 1], damaged[5] = np.inf, np.nan
    first = replace(group.first, filters=group.first.filters | {name: damaged})
    rows = [row for row in fan._rows(replace(group, first=first), "grads") if row["step"] == name.step]
    assert [len(row["each"]["mean"]) for row in rows if row["layer"] == "conv1"] == [30, 30]
    assert fan._sentence(replace(group, first=first), "grads").count("nan") == 0


def one_layer(run):
    """Reduce a trace to one step of the first layer."""
    rewrite(run / "trace.csv", lambda line: line if (line["step"], line["layer"]) == ("0", "conv1") else None)


def no_number(run):
    """Reduce a trace to values that are not defined."""
    rewrite(run / "trace.csv", lambda line: dict.fromkeys(line, "") | {n: line[n] for n in ("step", "layer")})
    rewrite(run / "carry.csv", lambda line: line | {"loss": ""})
    np.savez(run / "filters.npz")


@pytest.mark.parametrize("damage, blocks", [(one_layer, True), (no_number, False)])
def test_every_section_of_a_trace_draws_or_says_why_not(run, damage, blocks):
    damage(run)
    found = cube.read(groups(run))
    assert len(found.groups) == 1
    for section in _of_trace(found):
        assert bool(section.blocks) == blocks
        assert blocks or section.notes
        page.in_script([page._described(chart, [chart.spec]) for chart in section.blocks])
    page.in_script(found.for_page())
    if blocks:
        notes = {note for section in _of_trace(found) for note in section.notes}
        assert "… and the error on its way back up? This is not defined in these runs." in notes


def test_traces_with_nothing_in_common_are_left_out(run):
    other, third = like(run, "b", seed=1), like(run, "c", seed=2, method="WC")
    rewrite(other / "trace.csv", lambda line: line | {"step": str(int(line["step"]) + 7)})
    found = cube.read(groups(run, other, third))
    assert found.runs == ["WC"]
    why = "its traces are left out, because they have no steps or layers in common."
    assert found.notes == [f"WC, GC, fully: {why}"]
    other = like(run, "d", seed=1)
    rewrite(other / "trace.csv", lambda line: None if line["layer"] == "conv1" else line)
    assert cube.read(groups(run, other)).notes == found.notes


def test_layers_of_nets_of_other_depths_keep_their_order(traced):
    [group] = cube.read(groups(traced)).groups
    deep = replace(group, layers=["conv1", "conv2", "conv3", "conv4", "fc1"])
    flat = replace(group, layers=["conv1", "conv2", "fc1", "fc2"])
    for first, second in ((deep, flat), (flat, deep)):
        assert cube.Cube([first, second]).layers == ["conv1", "conv2", "conv3", "conv4", "fc1", "fc2"]


def test_a_change_ends_where_a_layer_is_lost(run):
    """The median of the layers that are left would be of other layers than the first one."""
    last = max(int(line.split(",")[0]) for line in (run / "trace.csv").read_text().splitlines()[1:])
    rewrite(
        run / "trace.csv",
        lambda line: line | {"dead": ""} if (line["step"], line["layer"]) == (str(last), "conv1") else line,
    )
    found = cube.read(groups(run))
    before = found.groups[0].steps[-2]
    assert sections._change(found, "dead", " %").endswith(f" at step {before}, the last one with all of them.")
    assert "the last one" not in sections._change(found, "active", " %")


def test_one_class_is_drawn(traced):
    [group] = groups(traced)
    image = np.zeros((4, 4, 3), np.uint8)
    seen = looked.Looked(("red",), [image] * 2, [0, 0], [0, 0], np.array([0.9, 0.8]), 2, False)
    matrix = predictions._matrix(group, seen)
    assert matrix.lines == [("red", [2])]
    assert matrix.sentence == "In 2 test images, 100.0 % of the images are right."
    assert [len(block.pictures) for block in predictions._surest(group, seen)] == [2, 0]


def test_the_sentence_of_a_fan_is_of_layers_whose_hook_changes_them(traced):
    """A layer without a hook has the largest mean here, but nothing changes it."""
    [group] = cube.read(groups(traced)).groups
    name = next(name for name in group.first.filters if name[2:] == ("grads", "after"))
    first, second = list(group.layers)[:2]
    means = {(first, "before"): 0.25, (first, "after"): 5e-10, (second, "before"): 7.0, (second, "after"): 7.0}
    made = {
        name._replace(layer=layer, when=when): np.full((3, 6), mean, np.float32)
        for (layer, when), mean in means.items()
    }

    def said(filters):
        return fan._sentence(replace(group, first=replace(group.first, filters=filters)), "grads")

    assert "where a hook changes them, the largest mean of a filter is 0.25 before the hook and 5e-10" in said(made)
    lost = {key: np.full_like(array, np.nan) if key.layer == first else array for key, array in made.items()}
    assert said(lost) == "At none of these steps are all filters numbers; only those that are numbers are drawn."
    later = {key._replace(step=key.step + 5): array for key, array in lost.items()}
    assert said(made | later) == f"{said(made)} At step {name.step + 5} not all filters are numbers."
    kept = {key: array for key, array in made.items() if key.layer == second}
    assert said(kept).endswith("in any layer is 7; no hook changes any.")


def test_images_without_any_label_are_a_sentence(traced, monkeypatch):
    run = runs.read(traced)
    test, mark = looked._test_set(run.settings["data"], None, (None,) * len(looked.ADAPTED))
    blank = replace(test, masks=np.full(test.images.shape[:-1], looked.VOID, np.uint8), mask_classes=("a", "b"))
    net = looked.checkpoint.load(run.checkpoint, "cpu")  # whose output is for whole images, and is not computed
    monkeypatch.setattr(looked.checkpoint, "load", lambda *_: net)
    monkeypatch.setattr(looked, "_test_set", lambda *_: (blank, mark))
    monkeypatch.setattr(looked.models, "per_pixel", lambda _: True)
    monkeypatch.setattr(looked, "_output", lambda _, images: np.zeros((*images.shape[:-1], 2)))
    with pytest.raises(MinidlError, match="none of the 4 images that were predicted has a label"):
        looked.look(run, None, None)


def test_runs_without_hooks_have_no_cards(run, monkeypatch):
    section = cards.cards(groups(like(run, "b", method="Baseline")))
    assert not section.blocks
    assert section.notes == ["There is none, as no run normalizes weights, gradients or errors."]

    def fails(normalization, shelf, card=cards.card):
        if normalization.name == "WC":
            raise MinidlError("it fails")
        return card(normalization, shelf)

    monkeypatch.setattr(cards, "card", fails)
    section = cards.cards(groups(run))
    assert section.notes == ["WC: there is no card, because it fails."]
    assert [line[0] for line in section.blocks[0].lines] == ["GC"]


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
