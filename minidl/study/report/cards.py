"""The cards of the normalizations that the runs have used: what each of them is, whatever it is applied to."""

from collections.abc import Sequence

from minidl import kernels
from minidl.kernels.errors import MinidlError
from minidl.method import parse
from minidl.normalizations import Normalization
from minidl.study.card import Card, card, table
from minidl.study.report.blocks import Section, Table
from minidl.study.report.runs import Group


def cards(groups: Sequence[Group]) -> Section:
    """Return the section: a line for each normalization of any run."""
    section = Section(
        "Cards of the normalizations",
        "The properties of a normalization N, found by tests on random numbers x. N(N(x)) = N(x): a second application "
        "changes nothing. N(x + c) = N(x): an added constant changes nothing. N(2x): the result for twice the numbers. "
        "x − N(x) ⟂ N(x): what it removes is orthogonal to what it leaves. Mean and norm: how much of them is left.",
    )
    used: dict[str, Normalization] = {}
    for group in groups:
        try:
            used |= {one.name: one for one in parse(group.first.method).normalizations}
        except MinidlError as error:
            section.notes.append(f"{group.label}: there is no card, because {error}.")
    found: list[Card] = []
    for normalization in used.values():
        try:
            found.append(card(normalization, kernels.load("cpu")))
        except MinidlError as error:
            section.notes.append(f"{normalization}: there is no card, because {error}.")
    if found:
        drawn = table(found)
        section.blocks.append(Table("Cards", ("normalization", *drawn.head[1:]), drawn.rows))
    elif not section.notes:
        section.notes.append("There is none, as no run normalizes weights, gradients or errors.")
    return section
