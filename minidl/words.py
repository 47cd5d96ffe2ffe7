"""Words of messages: numbers with nouns, guesses for unknown words, and text that can be printed."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal takes for a command or the end of a line, what turns the order of a text, and half characters."""
LONGEST = 2_000  # characters of a message


def counted(number: int, what: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "epoch"), counted(20, "epoch")
    ('1 epoch', '20 epochs')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def in_a_row(said: Iterable[str]) -> str:
    """Return what is said of several methods, whose names may have commas.

    >>> in_a_row(["WC 41 %", "WC, GC 7 %"])
    'WC 41 %; WC, GC 7 %'
    """
    return "; ".join(said)


def signed(value: float, places: int = 2) -> str:
    """Return a number with its sign; one that rounds to zero has a plus.

    >>> signed(-1.5), signed(-1e-9)
    ('-1.50', '+0.00')
    """
    return f"{round(float(value), places) + 0.0:+.{places}f}"


def meant(word: str, known: Iterable[str]) -> str:
    """Return a guess to print after an unknown word, the most similar known one, or nothing.

    >>> meant("trian", ["train", "walk"])
    ' (did you mean train?)'
    >>> meant("cat", ["train", "walk"])
    ''
    """
    names = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), names, n=1)
    return f" (did you mean {names[found[0]]}?)" if found else ""


def printable(text: str) -> str:
    r"""Return a message as one printable line of moderate length; it may contain names of files and words of users.

    >>> printable("no image in \x1b[2Jcats\n"), len(printable("a" * 100_000))
    ('no image in \\x1b[2Jcats\\n', 2000)
    """
    text = CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[: half - 3]} … {text[-half:]}"
