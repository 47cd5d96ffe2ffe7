"""Command: the name of a command, how it is called, and errors of one sentence with an exit status."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, NoReturn

from minidl import __version__
from minidl.experiment.cli.console import lenient
from minidl.experiment.cli.own_code import mistake
from minidl.experiment.cli.stop import interrupts, status_of
from minidl.experiment.cli.system import told
from minidl.words import meant, printable

# Packages that are missing if a checkout is not installed: its own, in folders beside minidl's, and others.
PARTS = ("minidl.kernels", "minidl.data", "minidl.models", "numpy", "PIL", "safetensors", "matplotlib", "tqdm")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence; call: what the user types to call the command."""

    def __init__(self, call: str, **options: Any) -> None:
        super().__init__(**options)
        self.call = call

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the words; any that has no meaning is an error, with a guess at what was meant."""
        words = _with_numbers_joined(sys.argv[1:] if args is None else args)
        self._check_options(words)
        known, rest = super().parse_known_args(words, namespace)
        for option, value, word in zip(words, words[1:], words[2:], strict=False):
            if option.startswith("--") and word in rest and not value.startswith("-") and not word.startswith("-"):
                self.error(f'{value} and {word} are two arguments; put quotes around them: {option} "{value} {word}"')
        if rest:
            taken = [str(action.metavar or action.dest) for action in self._get_positional_actions()]
            guess = meant(rest[0], self._option_string_actions)
            takes = ", ".join([*taken, "and options"]) if taken else "only options"
            self.error(f"{rest[0]!r} is one word too many{guess}; this command takes {takes}")
        return known, rest

    def _check_options(self, words: Sequence[str]) -> None:
        """Refuse options that are unknown, and two different ones for the same setting, such as --trace and --no-trace.

        argparse itself would first miss a required option that was misspelt, and would take the last of the two. Of one
        option that is given twice, the last value counts, as everywhere: scripts add options to those that they have.
        """
        options = self._option_string_actions
        given: dict[str, str] = {}
        for word in words[: words.index("--")] if "--" in words else words:
            name, _, value = word.partition("=")
            if not name.startswith("-") or name == "-" or " " in name or _is_number(word):
                continue
            if value == "--":  # some versions of argparse would turn it into []
                self.error(f"argument {name}: must have a value other than --")
            whole = [name] if name in options else [option for option in options if option.startswith(name)]
            if not whole and name[:2] not in options:
                self.error(f"no option is called {name}{meant(name, options)}")
            actions = {id(options[option]): options[option] for option in whole}
            if len(actions) != 1:  # of an ambiguous beginning, argparse lists the meanings
                continue
            [action] = actions.values()
            if action.nargs == 0 and name != word:
                self.error(f"{whole[0]} takes no value; leave out {value}")
            if given.setdefault(action.dest, whole[0]) != whole[0] and action.dest != "help":  # -h is the same option
                self.error(f"{given[action.dest]} and {whole[0]} contradict each other; give one of them")

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and how to list the options, and exit."""
        said = f"{printable(message)}; see: {self.call} --help"
        print(f"{self.prog}: {said}", file=sys.stderr)
        raise Misuse(said)


def _with_numbers_joined(words: Sequence[str]) -> list[str]:
    """Join each negative number to the option before it, as argparse would take "-1e-3" for an option."""
    joined: list[str] = []
    for word in words:
        before = joined[-1] if joined else ""
        if _is_number(word) and before.startswith("--") and before != "--" and "=" not in before:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _is_number(word: str) -> bool:
    """Return whether a word that begins with - is a number."""
    try:
        float(word)
    except ValueError:
        return False
    return word.startswith("-")


class Misuse(SystemExit):
    """A wrong command line; said: what is wrong."""

    def __init__(self, said: str) -> None:
        super().__init__(2)
        self.said = said


@dataclass(frozen=True)
class Command:
    """The command that the user called: ``name`` begins its messages, ``call`` is what to type to call it again."""

    name: str
    call: str

    def parser(self, description: str, examples: str, **options: Any) -> argparse.ArgumentParser:
        """Return a parser with --version; in the examples, {call} stands for how the command is called.

        options: further options of argparse.ArgumentParser.
        """
        cli = Parser(
            self.call,
            prog=self.name,
            description=description,
            epilog=examples.format(call=self.call),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )
        cli.add_argument("--version", action="version", version=f"minidl {__version__}")
        return cli


Main = Callable[[Sequence[str] | None, Command], int]


def command_line(main: Main) -> Main:
    """Let ``main`` end with an exit status: 2 and a sentence for a MinidlError, 128 + the number of a signal.

    Any other error in a user-defined file is a sentence, too, which names the file and the line; so is an attempt of
    the file to end the program. What KeyboardInterrupt was raised with is printed after the word "interrupted".
    """

    @wraps(main)
    def guarded(arguments: Sequence[str] | None, command: Command) -> int:
        with lenient(command.name), interrupts():
            try:
                return main(arguments, command)
            except KeyboardInterrupt as interrupt:
                print("\n" + "; ".join(["interrupted", *map(str, interrupt.args)]), file=sys.stderr)
                return status_of(interrupt)
            except Misuse:  # already printed
                raise
            except (Exception, SystemExit) as error:
                if not (sentence := sentence_of(error)):
                    raise
                print(f"{command.name}: {printable(sentence)}", file=sys.stderr)
                return 2

    return guarded


def sentence_of(error: BaseException) -> str:
    """Return the sentence for an error that the user can correct, and "" for any other."""
    if isinstance(error, ModuleNotFoundError) and error.name in PARTS:
        return f"minidl is not installed here ({error.name} is missing); run make setup, or: pip install -e ."
    if isinstance(error, SystemExit):
        return error.said if isinstance(error, Misuse) else mistake(error)
    from minidl.kernels.errors import MinidlError  # here, as --help does not wait for NumPy

    if isinstance(error, OSError):
        return told(error)
    if isinstance(error, MinidlError):
        return str(error)
    return mistake(error) if isinstance(error, Exception) else ""
