"""Words of messages: numbers with nouns, guesses for unknown words, and text that can be printed."""

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal takes for a command or the end of a line, what turns the order of a text, and half characters."""
LONGEST = 2_000  # characters of a message
DASHES = "-–—"  # of options; some programs write -- as one of the others


def counted(number: int, what: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "epoch"), counted(20, "epoch")
    ('1 epoch', '20 epochs')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def meant(word: str, known: Iterable[str]) -> str:
    """Return a guess to print after an unknown word, the most similar known one, or nothing; dashes are skipped.

    >>> meant("trian", ["train", "walk"])
    ' (did you mean train?)'
    >>> meant("epoch", ["--epochs", "--seed"])
    ' (did you mean --epochs?)'
    >>> meant("cat", ["train", "walk"])
    ''
    """
    names = {name.lower().lstrip(DASHES): name for name in known}
    found = get_close_matches(word.lower().lstrip(DASHES), names, n=1)
    return f" (did you mean {names[found[0]]}?)" if found else ""


def either(names: Sequence[str]) -> str:
    """Return names as alternatives.

    >>> either(["adam", "sgd"]), either(["fp32", "tf32", "bf16"])
    ('adam or sgd', 'fp32, tf32 or bf16')
    """
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def check_known(what: str, name: Any, known: Collection[str], of: str = "", more: str = "") -> None:
    """Raise MinidlError for a name that is none of the known ones; the message guesses which one was meant.

    what: the kind of thing that has the name; of: what it belongs to; more: what else could be used.

    >>> check_known("precision", "fp23", ["fp32", "tf32"])
    Traceback (most recent call last):
    minidl.kernels.errors.MinidlError: the precision 'fp23' is unknown (did you mean fp32?); use fp32 or tf32
    """
    if isinstance(name, str) and name in known:
        return
    from minidl.kernels.errors import MinidlError  # here, as --help does not wait for NumPy

    guess = meant(name, known) if isinstance(name, str) else ""
    raise MinidlError(f"the {what} {name!r}{of} is unknown{guess}; use {either([*known])}{more}")


def printable(text: str) -> str:
    r"""Return a message as one printable line of moderate length; it may contain names of files and words of users.

    >>> printable("no image in \x1b[2Jcats\n"), len(printable("a" * 100_000))
    ('no image in \\x1b[2Jcats\\n', 2000)
    """
    text = CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[: half - 3]} … {text[-half:]}"
