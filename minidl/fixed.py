"""Fixed: attributes to which nothing is assigned any more, as it would do nothing, or half of what it should."""

from difflib import get_close_matches
from operator import attrgetter
from types import NoneType
from typing import Any, NoReturn

from minidl.functions import is_built_in, name_of
from minidl.kernels.errors import MinidlError

ALIKE = 0.8  # how alike words are, from 0 to 1, of which one is the other misspelt: "bias" and "biases"


def fixed(sentence: str, kind: type = object) -> Any:
    """Return an attribute, for the body of a class, that an object sets once, and that raises MinidlError after that.

    None may be replaced, as it stands for what is not known yet. sentence: what follows "NAME of OBJECT" in the
    message, with {name} for the attribute and {value} for what was assigned; kind: what it may hold besides None.
    """
    return _Fixed(sentence, kind)


def read_only(sentence: str, kept_in: str = "") -> Any:
    """Return an attribute, for the body of a class, that raises MinidlError where something is assigned to it.

    sentence: what follows the object in the message, with {value} for what was assigned; kept_in: the attribute that it
    reads. Without one it has no value either: it stands where one looks for something by mistake.
    """

    def refuse(holder: Any, value: Any) -> NoReturn:
        raise MinidlError(f"{_name(holder)} {sentence.format(value=name_of(value))}")

    return property(attrgetter(kept_in) if kept_in else None, refuse)


class Spelt:
    """Refuses a new attribute that looks like another one misspelt, such as ``weigths``, as nothing would read it.

    That is a name in whose words letters are wrong, missing, or in another place, and the singular of an attribute that
    stays as it is (``weight``, ``bias``). A name that continues another one (``net.model`` beside ``mode``,
    ``layer.data2``), or has more or fewer words (``layer.output`` beside ``at_output``), is free. So is any name on an
    object of a user-defined class, or before an object is complete: ``made_with`` is the attribute that is set last.
    """

    made_with = ""

    def __setattr__(self, name: str, value: Any) -> None:
        own = vars(self)
        if name not in own and own.get(self.made_with) and is_built_in(self) and not hasattr(type(self), name):
            added = own.setdefault("_added", set())  # no name is compared with others that the user made up
            for known in dir(self):
                if known[0] != "_" and known not in added and _misspells(name, known, type(self)):
                    raise MinidlError(
                        f"{_name(self)} has no {name}, and nothing would read it (did you mean {known}?); choose a "
                        "name that is less like that one for something of your own"
                    )
            added.add(name)
        super().__setattr__(name, value)


def _misspells(name: str, known: str, kind: type) -> bool:
    """Return whether each word of a name is close to that of an attribute, which it does not just continue."""
    if known == f"{name}s":
        return isinstance(getattr(kind, known, None), _Fixed)
    words, others = name.split("_"), known.split("_")
    if len(words) != len(others) or name.startswith(known):
        return False
    return all(get_close_matches(word, [other], 1, ALIKE) for word, other in zip(words, others, strict=True))


class _Fixed:
    """It has no ``__get__``, so that Python finds the value in the object itself, as fast as any other attribute."""

    def __init__(self, sentence: str, kind: type) -> None:
        self.sentence, self.kinds = sentence, (kind, NoneType)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, holder: Any, value: Any) -> None:
        if vars(holder).get(self.name) is not None or not isinstance(value, self.kinds):
            sentence = self.sentence.format(name=self.name, value=name_of(value))
            raise MinidlError(f"{self.name} of {_name(holder)} {sentence}")
        vars(holder)[self.name] = value


def _name(holder: Any) -> str:
    return getattr(holder, "name", "") or f"this {type(holder).__name__}"
