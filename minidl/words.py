"""Words of messages: how many there are of a thing, and what an unknown word was meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches


def counted(number: int, what: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "epoch"), counted(20, "epoch")
    ('1 epoch', '20 epochs')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def meant(word: str, known: Iterable[str]) -> str:
    """Return what to say behind an unknown word: which known one it is most like, or nothing.

    >>> meant("trian", ["train", "walk"])
    ' (did you mean train?)'
    >>> meant("cat", ["train", "walk"])
    ''
    """
    names = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), names, n=1)
    return f" (did you mean {names[found[0]]}?)" if found else ""
