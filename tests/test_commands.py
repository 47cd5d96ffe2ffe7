"""The command ``minidl``: its subcommands are the scripts of the checkout, and use the name that the user has typed."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import reproduce
import train
from minidl import __version__
from minidl.__main__ import main
from minidl.commands import COMMANDS
from minidl.experiment.cli.command import Command

CHECKOUT = Path(__file__).parents[1]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(params=["minidl", "python -m minidl"])
def called(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the words with which the command was called."""
    monkeypatch.setattr(sys, "argv", ["/bin/minidl" if request.param == "minidl" else "/lib/minidl/__main__.py"])
    return str(request.param)


@pytest.fixture
def arguments(folder: Path, tmp_path: Path) -> list[str]:
    """Return the arguments of a quick run on a small set, in the folder "run"."""
    small = ["--model", "a", "--epochs", "1", "--batch-size", "5", "--device", "cpu", "--quiet"]
    return ["--data", str(folder), "--out", str(tmp_path / "run"), *small]


def told(function: Callable[[list[str]], Any], words: list[str], capsys: Capture) -> str:
    """Return the output of a command that ends immediately, with success or with an error."""
    with pytest.raises(SystemExit):
        function(words)
    return "".join(capsys.readouterr())


@pytest.mark.parametrize("script", [train, reproduce])
def test_a_command_has_the_help_of_its_script(script: Any, called: str, capsys: Capture) -> None:
    name = script.__name__
    ours, theirs = told(main, [name, "--help"], capsys), told(script.main, ["--help"], capsys)
    plain = [re.sub(rf"(python (-m )?)?(minidl {name}|{name}\.py)", "NAME", text).split() for text in (ours, theirs)]
    assert plain[0] == plain[1]
    assert f"\n  {called} {name} " in ours
    assert f"\n  python {name}.py " in theirs


def test_help_names_every_command(capsys: Capture) -> None:
    text = told(main, ["--help"], capsys)
    assert told(main, ["-h", "--help"], capsys) == text
    for name, what in COMMANDS.items():
        assert f"  {name} " in text
        assert what in text
        command = import_module(f"minidl.commands.{name}")
        assert callable(command.main)
        assert callable(command.parser)


def test_the_version_is_printed(capsys: Capture) -> None:
    assert told(main, ["--version"], capsys) == told(main, ["train", "--version"], capsys) == f"minidl {__version__}\n"


@pytest.mark.parametrize(
    "words, message",
    [
        (["trian"], "minidl: no command is called 'trian' (did you mean train?); the commands are train, "),
        (["train", "--epochs", "0"], "minidl train: argument --epochs: must be a whole number of at least 1, not 0; "),
        (["walk", "--nothing"], "minidl walk: no option is called --nothing; "),
        (
            ["train", "--method", "WC,", "GC", "--seed", "1"],
            'minidl train: WC, and GC are two arguments; put quotes around them: --method "WC, GC"; ',
        ),
        (["train", "--method", "WC,", "--fooo", "3"], "minidl train: no option is called --fooo; "),
        (
            ["train", "--learnig-rate", "1"],
            "minidl train: no option is called --learnig-rate (did you mean --learning-rate?); ",
        ),
        (["train", "-epochs", "3"], "minidl train: no option is called -epochs (did you mean --epochs?); "),
        (["train", "--tests=3"], "minidl train: no option is called --tests (did you mean "),
        (["compare", "--metods", "WC; GC"], "minidl compare: no option is called --metods (did you mean --methods?); "),
        (["train", "cifar10"], "minidl train: 'cifar10' is one word too many; this command takes only options; "),
        (["train", "resume", "run"], "minidl train: 'resume' is one word too many (did you mean --resume?); "),
        (
            ["export", "run", "net.onnx"],
            "minidl export: 'net.onnx' is one word too many; this command takes RUN, and options; ",
        ),
        (
            ["train", "--learning-rate", "-1e-3"],
            "minidl train: argument --learning-rate: must be a number above 0, not -1e-3; ",
        ),
        (["train", "--quiet=no"], "minidl train: --quiet takes no value; leave out no; "),
        (["train", "--quiet", "-5"], "minidl train: --quiet takes no value; leave out -5; "),
        (
            ["reproduce", "--table", "2", "--budget", "smal"],
            "minidl reproduce: argument --budget: must be full or small, not 'smal' (did you mean small?); ",
        ),
        (
            ["reproduce", "--table=2", "--part=x"],
            "minidl reproduce: argument --part: must be a part and the number of parts, such as 2/8, not x; ",
        ),
        (
            ["reproduce", "--table", "7"],
            "minidl reproduce: argument --table: must be a whole number of at most 5, not 7; ",
        ),
        (
            ["compare", "--methods", "WC; GC", "--trace", "--no-trace"],
            "minidl compare: --trace and --no-trace contradict each other; give one of them; ",
        ),
        (
            ["compare", "--no-trace", "--trace=7", "--methods", "WC; GC"],
            "minidl compare: --no-trace and --trace contradict each other; ",
        ),
        (["compare", "--methods", "WC;", "GC"], "minidl compare: WC; and GC are two arguments; put quotes "),
        (["report"], "minidl report: the following arguments are required: RUN; "),
    ],
)
def test_a_wrong_command_line_is_an_error_of_one_sentence(
    words: list[str], message: str, called: str, capsys: Capture
) -> None:
    shown = told(main, words, capsys)
    assert shown.startswith(message)
    assert shown.endswith(f"; see: {' '.join([called, *words[:1]]) if words[0] in COMMANDS else called} --help\n")
    assert shown.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_without_a_letter_is_recognized(name: str) -> None:
    """Unless that is another option, or the beginning of one."""
    cli = import_module(f"minidl.commands.{name}").parser(Command(f"minidl {name}", name))
    options = [option for option in cli._option_string_actions if len(option) > 5]
    for option in options:
        spelt = option[:4] + option[5:]
        if not any(other.startswith(spelt) for other in options):
            with pytest.raises(SystemExit) as end:
                cli.parse_args([spelt, "1"])
            assert f"no option is called {spelt} (did you mean --" in end.value.said


@pytest.mark.parametrize(
    "words, message",
    [
        (
            "train --data cifr10",
            "'cifr10' is neither a data set nor a folder (did you mean cifar10?); the data sets are",
        ),
        ("train --data CIFAR100", "'CIFAR100' is neither a data set nor a folder (did you mean cifar100?); the data"),
        ("train --data ./shapes", "'./shapes' is neither a data set nor a folder; the data sets are shapes"),
        ("train --data cifar10/", "'cifar10/' is neither a data set nor a folder; the data sets are shapes"),
        ("train --data FILE", " is a file, and neither a data set nor a folder; the data sets are shapes"),
        (
            "train --model bcifar",
            "the model 'bcifar' is unknown (did you mean b-cifar?); use a, b, b-cifar, c or d, or",
        ),
        ("train --method WCC", "has the unknown word 'WCC' (did you mean WC?); use words of"),
        ("train --mode projektion", "the mode 'projektion' is unknown (did you mean projection?); use projection or"),
        ("train --optimizer Adam", "the optimizer 'Adam' is unknown (did you mean adam?); use adam or sgd"),
        (
            "train --variant standart",
            "the variant 'standart' of adam is unknown (did you mean standard?); use standard",
        ),
        ("train --place hook", "the place 'hook' is unknown (did you mean hooks?); use hooks or optimizer"),
        ("train --device gup", "the device 'gup' is unknown (did you mean gpu?); use auto, cpu, gpu or reference"),
        ("train --precision fp23", "the precision 'fp23' is unknown (did you mean fp32?); use fp32, tf32 or bf16"),
        ("train --loops numby", "the library of loops 'numby' is unknown (did you mean "),
        (
            "train --data . --fit strech",
            "the fit 'strech' is unknown (did you mean stretch?); use stretch, crop or pad",
        ),
        ("export run --format safetensor", "the format 'safetensor' is unknown (did you mean safetensors?); use saf"),
        ("walk --layer konv3", "no layer with filters is called 'konv3' (did you mean conv3?); those of this net are"),
    ],
)
def test_for_a_misspelt_name_the_nearest_one_is_named(
    words: str, message: str, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "cat.jpg"
    file.write_bytes(b"")
    assert main([str(file) if word == "FILE" else word for word in words.split()]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_of_an_option_given_twice_the_last_value_counts() -> None:
    """Scripts add options to those that they have."""
    assert train.parser().parse_args(["--seed", "1", "--trace", "--seed=2", "--trace", "7"]).seed == 2


def test_without_a_word_the_commands_are_listed(capsys: Capture) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)


def test_a_checkout_that_is_not_installed_says_so() -> None:
    """Its folders are not packages of minidl there; the options can be read nevertheless."""
    start = [sys.executable, "-S", "-m", "minidl", "train"]  # -S: without installed packages
    asked, begun = (
        subprocess.run([*start, *words], capture_output=True, text=True, cwd=CHECKOUT) for words in (["--help"], [])
    )
    assert asked.returncode == 0
    assert (begun.returncode, begun.stdout) == (2, "")
    assert begun.stderr.startswith("minidl train: minidl is not installed here (")
    assert begun.stderr.count("\n") == 1


def test_a_run_and_its_errors_have_the_name_of_the_command(arguments: list[str], capsys: Capture) -> None:
    assert main(["train", *arguments]) == 0
    assert capsys.readouterr().out.startswith("test accuracy ")
    assert main(["train", *arguments]) == 2
    assert capsys.readouterr().err.startswith("minidl train: ")
    assert main(["reproduce", "--table", "2", "--rows", "XY"]) == 2
    assert capsys.readouterr().err.startswith("minidl reproduce: no row of table 2 is called 'XY'; its rows are: ")


def test_an_interrupted_run_says_how_to_resume_it_with_the_same_command(
    arguments: list[str], called: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("minidl.experiment.trainer.Trainer.next_step", interrupted)
        assert main(["train", *arguments]) == 130
    advice = capsys.readouterr().err.removeprefix("\ninterrupted; go on with: ").strip()
    assert advice == f"{called} train --resume {tmp_path / 'run'}"
    assert main(advice.removeprefix(called).split()) == 0


def test_an_error_in_the_program_is_not_reported_as_the_users(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("minidl.experiment.trainer.Trainer.next_step", broken)
    with pytest.raises(ZeroDivisionError):
        main(["train", *arguments])
