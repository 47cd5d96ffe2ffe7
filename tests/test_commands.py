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
        (["walk", "--nothing"], "minidl walk: unrecognized arguments: --nothing; "),
        (
            ["train", "--method", "WC,", "GC", "--seed", "1"],
            'minidl train: WC, and GC are two arguments; put quotes around them: --method "WC, GC"; ',
        ),
        (["train", "--method", "WC,", "--fooo", "3"], "minidl train: unrecognized arguments: --fooo 3; "),
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
