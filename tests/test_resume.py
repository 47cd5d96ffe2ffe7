"""Resuming a run: its data, its log and its checkpoint must belong together, whatever happened in between."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from image_folder import write_images
from PIL import Image
from run_logs import log
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import train
from minidl import __version__, data
from minidl.data.batches import DIVISOR, MEAN, Batches
from minidl.data.dataset import Dataset
from minidl.data.pixel_batches import PixelBatches
from minidl.experiment.options import read
from minidl.experiment.saving import checkpoint, contents, formats, records
from minidl.experiment.saving.fingerprint import describe, difference, fingerprint
from minidl.experiment.settings import complete
from minidl.kernels.errors import MinidlError
from minidl.preprocessing import Preprocessing

SMALL = ("--quiet", "--model", "a", "--method", "WC, GC, BN", "--device", "cpu")


def about(path):
    """Return the texts of a checkpoint's metadata."""
    with safe_open(path / checkpoint.NAME, framework="np") as file:
        return json.loads(file.metadata()["minidl"])


def rewrite(path, change, leave_out="nothing"):
    """Change the texts in a run's checkpoint and configuration, as if another version had written them."""
    arrays = {
        name: array for name, array in load_file(path / checkpoint.NAME).items() if not name.startswith(leave_out)
    }
    text = about(path)
    change(text)
    save_file(arrays, path / checkpoint.NAME, {"minidl": json.dumps(text)})
    config = json.loads((path / "config.json").read_text())
    change(config)
    (path / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folders of a set, of a run of three epochs on it, and of the same run after two epochs."""
    root, random = tmp_path_factory.mktemp("made"), np.random.default_rng(7)
    write_images(root / "set", 3, random)
    for name, epochs in (("two", 2), ("three", 3)):
        assert start(root / "set", root / name, epochs) == 0
    return root


def start(data, folder, epochs):
    """Start a run of short epochs, not all of which are tested."""
    arguments = ["--data", data, "--out", folder, "--epochs", epochs, "--batch-size", 2, "--test-every", 2, *SMALL]
    return train.main([*map(str, arguments)])


@pytest.fixture
def go_on(made, tmp_path):
    """Return a function that resumes a copy of the run of two epochs, in the folder "run", for a third epoch."""
    shutil.copytree(made / "two", tmp_path / "run")

    def call(*arguments):
        return train.main(["--resume", str(tmp_path / "run"), "--epochs", "3", *map(str, arguments)])

    return call


@pytest.fixture
def sentence(capsys):
    """Return a function that returns the one sentence that was printed last as an error."""

    def read():
        shown = capsys.readouterr().err
        assert shown.startswith("train.py: ")
        assert shown.count("\n") == 1
        return shown

    return read


# -- the data set -----------------------------------------------------------------------------------------------------


def renamed(folder):
    (folder / "red").rename(folder / "crimson")


def dropped(folder):
    (folder / "blue" / "0.png").unlink()


def changed(folder):
    with Image.open(folder / "blue" / "0.png") as image:
        image.point(lambda value: 255 - value).save(folder / "blue" / "0.png")


def added(folder):
    shutil.copytree(folder / "red", folder / "zebra")


def swapped(folder):
    (folder / "red").rename(folder / "other")
    (folder / "blue").rename(folder / "red")
    (folder / "other").rename(folder / "blue")


@pytest.mark.parametrize(
    "change, message",
    [
        (renamed, "the class 'red' is now 'crimson'"),
        (dropped, "there were 4 training images and are 3 now"),
        (changed, "the training images, their labels or their order are others now"),
        (added, "there were 2 classes and are 3 now"),
        (swapped, "the training images, their labels or their order are others now"),
    ],
)
def test_a_set_that_has_changed_is_refused(made, go_on, tmp_path, sentence, change, message):
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    change(shutil.copytree(made / "set", tmp_path / "set"))
    assert go_on("--data", tmp_path / "set") == 2
    assert message in sentence()
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}


def test_the_set_may_lie_elsewhere(made, tmp_path, monkeypatch, sentence):
    folder = shutil.copytree(made / "set", tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    assert start("set", "run", 1) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["data"] == str(folder)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["data"] == "set"
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert train.main(["--resume", "../run", "--epochs", "2"]) == 0
    folder.rename(tmp_path / "deep" / "moved")
    assert train.main(["--resume", "../run", "--epochs", "3"]) == 2
    assert f"{str(folder)!r} is neither a data set nor a folder" in sentence()
    assert train.main(["--resume", "../run", "--epochs", "3", "--data", "moved"]) == 0
    assert log(tmp_path / "run")[2] == log(made / "three")[2]


def test_the_folder_of_downloads_is_kept_from_the_root(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings, _ = complete(*read(train.parser(), ["--data", "cifar10", "--data-root", "sets"]))
    assert (settings["data"], settings["data_root"]) == ("cifar10", str(tmp_path / "sets"))


@pytest.mark.parametrize("kind", ["images", "masks", "sizes"])
def test_a_fingerprint_knows_every_byte_and_its_place(random, kind):
    images = random.integers(0, 256, (4, 6, 5, 3), np.uint8)
    masks = random.integers(0, 3, (4, 6, 5), np.uint8)
    if kind == "sizes":
        images, masks = list(images), list(masks)
    one = Dataset(
        "set", images, np.array([0, 1, 0, 1]), ("a", "b"), None if kind == "images" else masks, ("a", "b", "c")
    )
    seen = {fingerprint(one)}
    for name in ("images", "masks") if kind != "images" else ("images",):
        for spot in ((0,) * (4 - (name == "masks")), (-1,) * (4 - (name == "masks"))):
            other = [part.copy() for part in getattr(one, name)]
            other[spot[0]][spot[1:]] ^= 1
            seen.add(fingerprint(dataclasses.replace(one, **{name: other if kind == "sizes" else np.array(other)})))
    seen.add(fingerprint(dataclasses.replace(one, labels=np.array([0, 1, 1, 1]))))
    seen.add(fingerprint(dataclasses.replace(one, images=images[::-1])))
    assert len(seen) == 3 + 2 * (1 if kind == "images" else 2)
    same = dataclasses.replace(one, images=list(images) if kind == "sizes" else np.asfortranarray(images))
    assert fingerprint(same) == fingerprint(one)
    assert difference(describe(("a",), one, one), describe(("a",), same, one)) == ""


# -- log, checkpoint and configuration --------------------------------------------------------------------------------


def as_excel(text):
    return "\ufeff" + text.replace(",", ";").replace(".", ",").replace("\n", "\r\n") + ";;;;;;\r\n\r\n"


def quoted(text):
    return "".join(",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in text.splitlines())


def reordered(text):
    rows = [line.split(",") for line in text.splitlines()]
    return "".join(",".join([*row[3:], "", *row[:3]]) + "\n" for row in rows)


def by_pandas(text):
    return text.replace("nan", "").replace("\n1,", "\n1.0,")


@pytest.mark.parametrize("touch", [as_excel, quoted, reordered, by_pandas])
def test_a_log_that_a_spreadsheet_has_saved(made, go_on, tmp_path, touch):
    path = tmp_path / "run" / "log.csv"
    path.write_bytes(touch(path.read_text()).encode())
    epochs = records.read_log(tmp_path / "run")
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert epochs[1] == records.read_log(made / "two")[1]
    rewrite(tmp_path / "run", earlier, "run/")  # which has only the log to continue with
    assert go_on() == 0
    assert log(tmp_path / "run") == log(made / "three")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda lines: [lines[0], lines[2], lines[1]], "line 2 of {log} holds epoch 2 where epoch 1 is expected"),
        (lambda lines: lines[:2], "{log} ends with epoch 1, but the checkpoint beside it has finished 2"),
        (lambda lines: [lines[0]], "{log} is missing, but the checkpoint beside it has finished 2"),
        (lambda lines: lines[1:], "{log} has the columns 1, "),
        (lambda lines: [], "{log} has the columns of an empty file where epoch, "),
        (lambda lines: [lines[0] + ",note", lines[1] + ",good", lines[2]], "{log} has the columns epoch, "),
        (lambda lines: [*lines[:2], lines[2] + ",good"], "line 3 of {log} has more cells than columns"),
        (lambda lines: [*lines[:2], "2,0.001"], "line 3 of {log} has '' for train_loss, which is no number"),
        (lambda lines: [*lines[:2], lines[2].replace("0.001", "1 %")], "line 3 of {log} has '1 %' for learning_rate"),
        (lambda lines: [*lines, "\0"], "{log}"),
        (lambda lines: [*lines, "\udcff"], "{log} cannot be read"),
        (lambda lines: [*lines[:2], lines[2].replace("0.001", "-1")], "learning_rate must be a number of at least 0"),
        (lambda lines: [*lines[:2], lines[2].replace("0.001", "inf")], "learning_rate must be a number of at least 0"),
        (lambda lines: [*lines[:2], lines[2].replace("0.001", "1_0")], "has '1_0' for learning_rate, which is no numb"),
        (lambda lines: [*lines[:2], "2,0.001,1,1.5,1,1,1"], "line 3 of {log} cannot be used: train_accuracy must be a"),
        (
            lambda lines: [*lines[:2], "2,0.001,-1,1,1,1,1"],
            "train_loss must be a number of at least 0 or nan, not -1.0",
        ),
        (lambda lines: [*lines[:2], "2,0.001,1,1,1,1,nan"], "seconds must be a number of at least 0, not nan"),
    ],
)
def test_a_damaged_log_of_an_earlier_version_is_an_error_of_one_sentence(
    made, go_on, tmp_path, sentence, change, message
):
    """Such a run has no other copy of it."""
    path = tmp_path / "run" / "log.csv"
    damaged = "".join(f"{line}\n" for line in change(path.read_text().splitlines())).encode(errors="surrogateescape")
    path.write_bytes(damaged)
    rewrite(tmp_path / "run", earlier, "run/")
    assert go_on() == 2
    assert message.format(log=path) in sentence()
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("damaged", [b"", b"epoch,\0\xff", None], ids=["empty", "no text", "a line short"])
def test_a_damaged_log_is_written_again(made, go_on, tmp_path, damaged):
    """From the checkpoint, which contains the same."""
    path = tmp_path / "run" / "log.csv"
    path.write_bytes(path.read_bytes().rsplit(b"\n", 2)[0] if damaged is None else damaged)
    assert go_on() == 0
    assert log(tmp_path / "run") == log(made / "three")


def test_a_lost_log_is_written_again_from_the_checkpoint(made, go_on, tmp_path):
    (tmp_path / "run" / "log.csv").unlink()
    assert go_on() == 0
    assert log(tmp_path / "run") == log(made / "three")


def test_a_finished_run_whose_log_was_lost_gets_it_back(made, go_on, tmp_path, sentence):
    shutil.copytree(made / "three", tmp_path / "run", dirs_exist_ok=True)
    kept = {name: (tmp_path / "run" / name).read_text() for name in ("log.csv", "result.json")}
    (tmp_path / "run" / "log.csv").unlink()
    assert train.main(["--resume", str(tmp_path / "run")]) == 0
    assert {name: (tmp_path / "run" / name).read_text() for name in kept} == kept
    assert train.main(["--resume", str(tmp_path / "run")]) == 2
    assert "has finished its 3 epochs; give --epochs with a larger number" in sentence()


def test_a_log_of_two_epochs_needs_a_checkpoint(go_on, tmp_path, sentence):
    (tmp_path / "run" / checkpoint.NAME).unlink()
    assert go_on() == 2
    assert "there is no checkpoint" in sentence()


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_that_ended_between_its_log_and_its_checkpoint_can_be_resumed(made, tmp_path, monkeypatch, epoch):
    real = checkpoint.save
    monkeypatch.setattr("minidl.experiment.run.SELDOM", 0)

    def ended(path, net, optimizer, number, *rest):
        if number == epoch:
            raise KeyboardInterrupt
        real(path, net, optimizer, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", ended)
        assert start(made / "set", tmp_path / "run", 3) == 130
    assert len(log(tmp_path / "run")) == epoch
    assert train.main(["--resume", str(tmp_path / "run")]) == 0
    assert log(tmp_path / "run") == log(made / "three")


def test_short_epochs_are_not_all_saved(made, tmp_path, monkeypatch):
    """Only the first and the last are always saved; the run resumes from the last saved one, with the same result."""
    real, numbers = checkpoint.save, []

    def save(path, net, optimizer, number, *rest):
        numbers.append(number)
        if number == 3 and len(numbers) == 3:
            raise OSError("no space left")
        real(path, net, optimizer, number, *rest)

    monkeypatch.setattr("minidl.experiment.run.SELDOM", 1e9)
    monkeypatch.setattr(checkpoint, "save", save)
    assert start(made / "set", tmp_path / "run", 3) == 2
    assert numbers == [0, 1, 3]
    assert len(log(tmp_path / "run")) == 3
    assert train.main(["--resume", str(tmp_path / "run")]) == 0
    assert log(tmp_path / "run") == log(made / "three")


# -- formats ----------------------------------------------------------------------------------------------------------


def test_the_files_of_a_run_say_their_format(made):
    text, config = about(made / "two"), json.loads((made / "two" / "config.json").read_text())
    assert text["format"] == config["format"] == formats.FORMAT == 2
    assert text["minidl"] == config["versions"]["minidl"] == __version__
    assert text["data"] == describe(("blue", "red"), *data.load(str(made / "set")))


def earlier(text):
    """Remove what minidl 0.1.0 did not write, and make paths relative as it did."""
    for name in ("format", "minidl", "preprocessing", "data", "data_norm"):
        text.pop(name, None)
    if "settings" in text:
        del text["settings"]["import"]
        text["settings"]["data"] = os.path.relpath(text["settings"]["data"])


def test_a_run_of_0_1_0_can_be_loaded_and_resumed(made, go_on, tmp_path, sentence):
    rewrite(tmp_path / "run", earlier, "run/")
    assert checkpoint.load(tmp_path / "run", "cpu").preprocessing is None
    other = shutil.copytree(made / "set", tmp_path / "other")
    assert go_on("--data", other) == 2
    assert "has no description of its data" in sentence()
    assert go_on() == 0
    assert log(tmp_path / "run") == log(made / "three")
    assert about(tmp_path / "run")["data"] == about(made / "three")["data"]


@pytest.mark.parametrize("written", [formats.FORMAT + 1, "1.5", None])
def test_a_later_format_is_refused(go_on, tmp_path, sentence, written):
    rewrite(tmp_path / "run", lambda text: text.update(format=written))
    assert go_on() == 2
    assert f"config.json has the format {written}" in sentence()
    config = tmp_path / "run" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"format": formats.FORMAT}))
    assert go_on() == 2
    assert f"{checkpoint.NAME} has the format {written}" in sentence()
    with pytest.raises(MinidlError, match="update minidl"):
        checkpoint.load(tmp_path / "run", "cpu")


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"settings": null}', '{"settings": {}', 10**5 * "["])
def test_a_configuration_that_cannot_be_read(go_on, tmp_path, sentence, content):
    (tmp_path / "run" / "config.json").write_text(content)
    assert go_on() == 2
    assert "config.json cannot be read" in sentence()


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("epochs", "three", "epochs must be a whole number of at least 1, not three"),
        ("batch_size", 0, "batch_size must be a whole number of at least 1, not 0"),
        ("learning_rate", "fast", "learning_rate must be a number above 0, not fast"),
        ("weight_decay", [], "weight_decay must be a number of at least 0, not []"),
        ("seed", -1, "seed must be a whole number of at least 0, not -1"),
        ("seed", True, "seed must be a whole number of at least 0, not True"),
        ("epochs", None, "epochs must be a whole number of at least 1, not None"),
        ("epochs", "3", "epochs must be a whole number of at least 1, not 3"),
        ("learning_rate", float("inf"), "learning_rate must be a number above 0, not inf"),
        ("data", "a\0b", "data must be a text, not a?b"),
        ("method", 7 * ["WC"], "method must be a text, not ['WC', 'WC', 'WC', 'WC', 'WC', 'WC', 'WC']"),
        ("method", 99 * ["WC"], "method must be a text, not " + str(9 * ["WC"])[:-1] + ", 'WC',…"),
    ],
)
def test_a_configuration_with_another_type_in_place_of_a_number(go_on, tmp_path, sentence, name, value, message):
    rewrite(tmp_path / "run", lambda text: text.get("settings", {}).update({name: value}))
    assert go_on() == 2
    assert f"config.json cannot be used: {message}; put it back" in sentence()


def test_every_setting_of_a_configuration_is_checked(made):
    written = json.loads((made / "two" / "config.json").read_text())["settings"]
    assert {*written, "batch_is_default"} == contents.SETTINGS.keys()
    options = {action.dest for action in train.parser()._actions} - {"help", "version", "resume"}
    assert contents.SETTINGS.keys() - options == {"batch_is_default"}


@pytest.mark.parametrize("name", sorted(contents.SETTINGS))
def test_a_setting_of_another_type_is_an_error_of_one_sentence(go_on, tmp_path, sentence, name):
    rewrite(tmp_path / "run", lambda text: text.get("settings", {}).update({name: {"\0": [[]]}}))
    assert go_on() == 2
    assert f"config.json cannot be used: {name} must be" in sentence()


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("seed", 8, "seed 8, but the run was trained with 0"),
        ("batch_size", 1, "batch_size 1, but the run was trained with"),
        ("method", "WC, BN", "method 'WC, BN', but the run was trained with"),
        ("model", "d", "model 'd', but the run was trained with 'a'"),
    ],
)
def test_a_configuration_that_was_changed_is_not_resumed(go_on, tmp_path, sentence, name, value, message):
    """The seed and the batch size would train other batches in silence, another net would be a puzzle."""
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["settings"][name] = value
    path.write_text(json.dumps(config))
    assert go_on() == 2
    assert f"config.json has {message}" in sentence()


def test_a_setting_that_resume_may_change_may_be_another_one_than_the_checkpoint_has(go_on, tmp_path):
    """As after a run that was resumed with it, and killed before it saved again."""
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["settings"] |= {"epochs": 5, "threads": 1, "quiet": not config["settings"]["quiet"]}
    path.write_text(json.dumps(config))
    assert go_on() == 0


def test_of_several_changed_settings_the_first_one_is_named(go_on, tmp_path, sentence):
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    changed = ["seed", "batch_size", "model"]
    config["settings"] |= {name: 8 if name != "model" else "d" for name in changed}
    path.write_text(json.dumps(config))
    assert go_on() == 2
    first = next(name for name in config["settings"] if name in changed)
    assert f"config.json has {first} " in sentence()


def test_a_checkpoint_that_lacks_something(go_on, tmp_path, sentence):
    rewrite(tmp_path / "run", lambda text: text.pop("time", None))
    assert go_on() == 2
    assert "is not a checkpoint of minidl (it does not say its time)" in sentence()


# -- preprocessing ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_knows_how_its_data_are_prepared(made):
    known = checkpoint.load(made / "two", "cpu").preprocessing
    assert (known.mean, known.divisor) == ((122.782, 117.001, 104.298), 256.0)
    assert (known.shape, known.classes) == ((32, 32), ("blue", "red"))


@pytest.mark.parametrize("source", [Batches, PixelBatches])
def test_images_are_prepared_as_training_saw_them(random, backend, source):
    images = random.integers(0, 256, (3, 7, 7, 3), np.uint8)
    pictures = Dataset("set", images, np.zeros(3, np.int64), ("a",), np.zeros((3, 7, 7), np.uint8), ("a",))
    ((expected, _),) = source(pictures, 3, backend, "float32").in_order()
    known = Preprocessing(tuple(MEAN), DIVISOR, (7, 7), ("a",))
    rounding = 1e-6 if backend.device == "reference" else 0  # it divides by 256, where the others multiply by 1/256
    np.testing.assert_allclose(known.prepare(images), backend.host(expected), rtol=0, atol=rounding)
    exact = (images - np.array(known.mean)) / known.divisor
    np.testing.assert_allclose(known.prepare(images), exact, atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4, 1), np.uint8)]
)
def test_an_array_that_is_no_image_is_not_prepared(wrong):
    preprocessing = Preprocessing(tuple(MEAN), DIVISOR, (4, 4), ("a",))
    with pytest.raises(MinidlError, match="images of bytes with 3 channels"):
        preprocessing.prepare(wrong)
    with pytest.raises(MinidlError, match="elements of the array are masked"):
        preprocessing.prepare(np.ma.masked_equal(np.zeros((2, 4, 4, 3), np.uint8), 0))
