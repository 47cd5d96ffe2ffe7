"""Fixed: attributes to which nothing is assigned any more, as it would do nothing, or half of what it should."""

from operator import attrgetter
from types import NoneType
from typing import Any, NoReturn

from minidl.functions import name_of
from minidl.kernels.errors import MinidlError


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
