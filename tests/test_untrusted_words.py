"""Command lines with any words: each option of each command accepts a value, or refuses it in one sentence."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

import pytest

from minidl.__main__ import main
from minidl.commands import COMMANDS
from minidl.experiment.cli.command import Command
from minidl.words import CONTROL

WORDS = [
    *(
        "",
        " ",
        "-",
        "--",
        "---",
        "-1",
        "--1",
        "-x",
        "=",
        "0",
        "00",
        "+1",
        "1e400",
        "-1e400",
        "1e-400",
        "nan",
        "inf",
        "-inf",
    ),
    *(
        "100000",
        "2147483647",
        "2147483648",
        str(10**30),
        "9" * 5_000,
        "-" + "9" * 5_000,
        "1_000",
        "0x10",
        "1.5",
        "²",
        "٣",
    ),
    *("~", "~nouser", "~nouser/x", "/", ".", "..", "/dev/zero", "/dev/null", "/proc/self/mem", "no/such/thing"),
    *("a\0b", "\0", "a\nb", "\x1b[2J\x1b]0;title\x07", "\x9b2J", "a\rb", "\u202eabc", "\udcff", "\ud800", "\U0010ffff"),
    *(
        "x" * 256,
        "x" * 5_000,
        "/" * 5_000,
        "x/" * 2_500,
        "é" * 200,
        "(" * 120_000,
        "WC, " * 40_000,
        "%s%n%d",
        "{0}",
        "$(id)",
    ),
    *("None", "True", "[]", "shapes", "a", "WC"),
]


@cache
def parser(name: str) -> argparse.ArgumentParser:
    return import_module(f"minidl.commands.{name}").parser(Command(f"minidl {name}", f"minidl {name}"))


def options() -> Iterator[tuple[str, argparse.Action]]:
    """Yield each option that takes a value, with its command."""
    seen = set()
    for name in COMMANDS:
        for action in parser(name)._actions:
            kind = (*action.option_strings, action.dest, action.type, action.nargs)
            if action.nargs != 0 and kind not in seen:
                seen.add(kind)
                yield name, action


ALL = list(options())
LISTS = ("runs", "import")


def parse(name: str, words: list[str]) -> tuple[int, dict[str, Any]]:
    """Return the exit status of a command for its words, 0 if it would continue with them, and its options."""
    try:
        return 0, vars(parser(name).parse_args(words))
    except SystemExit as end:
        return int(end.code or 0), {}


def needed(name: str, action: argparse.Action) -> list[str]:
    """Return the words without which a command does not check its other words."""
    needs = {"reproduce": ("--table", "2"), "compare": ("--methods", "WC; GC"), "report": ("run",)}.get(name, ())
    return [] if set(needs) & set(action.option_strings) or not action.option_strings else list(needs)


def is_one_sentence(text: str, name: str) -> bool:
    told, end = text[:-1], text[-1:]
    return told.startswith(f"minidl {name}: ") and end == "\n" and not CONTROL.search(told) and len(told) < 2_200


@pytest.mark.parametrize("name, action", ALL, ids=lambda one: one if isinstance(one, str) else one.dest)
def test_any_word_is_a_value_or_an_error_of_one_sentence(name, action, capsys):
    assert action.type or action.choices, "an option has a type, which knows what cannot be meant"
    for word in WORDS:
        option = action.option_strings[-1] if action.option_strings else ""
        apart = [[option, word]] if word.startswith(("-", "~")) else []
        for words in [[f"{option}={word}"], *apart] if option else [[word]]:
            status, read = parse(name, [*words, *needed(name, action)])
            told = capsys.readouterr().err
            assert status or not isinstance(read[action.dest], list) or action.dest in LISTS, (words, read)
            assert (status == 0 and not told) or (status == 2 and is_one_sentence(told, name)), (words, told)


CHECKED = {  # words that the parser accepts, and that are refused later, but before anything is trained
    "train": ["--model", "--method", "--mode", "--data", "--optimizer", "--place", "--device", "--resume"],
    "gradcheck": ["--layer", "--model", "--method", "--mode", "--device", "--loops"],
    "report": [""],
    "reproduce": ["--rows"],
    "walk": ["--model"],
    "compare": ["--methods"],
}


@pytest.mark.parametrize("name, option", [(name, option) for name in CHECKED for option in CHECKED[name]])
def test_a_word_that_means_nothing_ends_a_command_with_one_sentence(name, option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    needs = {"reproduce": ["--table=2"], "walk": ["--device=cpu"]}.get(name, [])
    for word in ("no such \u202fthing", "/dev/null", "x" * 200, "é" * 100, "%s{0}", "~nouser", "-"):
        words = [f"{option}={word}" if option else f"./{word}", *needs]
        try:
            status = main([name, *words])
        except SystemExit as end:
            status = end.code
        told = capsys.readouterr().err
        assert status == 2, (words, told)
        assert is_one_sentence(told, name), told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", WORDS)
def test_any_word_is_a_command_or_an_error_of_one_sentence(word, capsys):
    try:
        status = main([word])
    except SystemExit as end:
        status = end.code
    told = capsys.readouterr()
    assert status in (0, 2)
    assert told.err == "" if status == 0 else not CONTROL.search(told.err[:-1])


@pytest.mark.parametrize("words", [["--help"], [], ["train", "--help"], ["no such command"]])
def test_an_output_that_nobody_reads_is_no_error(words):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        command = [sys.executable, "-m", "minidl", *words]
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == (2 if words == ["no such command"] else 0)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
