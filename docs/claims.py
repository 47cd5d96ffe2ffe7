"""Rewrites the paper's claims in docs/results.md, between their marks: python docs/claims.py

Each claim is that one row of a table is better than another; its runs are those of results/small/results.csv.
"""

import argparse
from typing import NamedTuple

from scipy.stats import t as student
from tables import PAGE, RESULTS, Marks, page

from minidl.experiment.saving.files import write_whole
from minidl.experiment.sweeps.results import NAME, read_results
from minidl.experiment.sweeps.rows import read_rows
from minidl.experiment.sweeps.seeds import Difference, difference

MARKS = Marks("<!-- claims: written by docs/claims.py -->\n", "<!-- end of the claims -->\n")
LEVEL = 0.05  # p below which a difference is not called chance
POWER = 0.8  # the share of all cases in which a test finds what it should


class Claim(NamedTuple):
    """What the paper says, in words, and as rows of a table: (net, better, worse)."""

    words: str
    table: int
    pairs: tuple[tuple[str, str, str], ...]


CLAIMS = (
    Claim("WC helps", 3, (("c", "WC", "Baseline"), ("a", "WC", "Baseline"), ("a", "WC, BN", "Baseline, BN"))),
    Claim("GC helps", 3, (("c", "GC", "Baseline"), ("a", "GC", "Baseline"), ("a", "GC, BN", "Baseline, BN"))),
    Claim(
        "both together are better than one",
        3,
        tuple((net, both, one) for net, both, ones in (
            ("c", "WC, GC", ("WC", "GC")), ("a", "WC, GC", ("WC", "GC")), ("a", "WC, GC, BN", ("WC, BN", "GC, BN")),
        ) for one in ones),
    ),
    Claim(
        '"fully" adds to it',
        3,
        (
            ("c", "WC, GC, fully", "WC, GC"),
            ("a", "WC, GC, fully", "WC, GC"),
            ("a", "WC, GC, BN, fully", "WC, GC, BN"),
        ),
    ),
    Claim(
        "net (a) is best without BN",
        3,
        (("a", "WC, GC, fully", "WC, GC, BN, fully"), ("a", "WC, GC", "WC, GC, BN")),
    ),
    Claim(
        "normalizing errors does harm",
        2,
        tuple(("c", "Baseline", f"error {area}") for area in ("global", "sample (EL)", "channel (EB)", "instance")),
    ),
    Claim("WN and WS do harm", 3, tuple((net, "Baseline", method) for net in "ca" for method in ("WN", "WS"))),
    Claim("net (b) needs BN", 3, (("b", "Baseline, BN", "Baseline"),)),
)  # fmt: skip


def claims() -> str:
    """Return a table of the claims: the paper's difference, ours over seeds, what a test says of it, the verdict."""
    measured: dict[tuple[str, str, str], dict[int, float]] = {}
    for one in read_results(RESULTS / NAME).values():
        runs = measured.setdefault((one["table"], one["model"], one["method"]), {})
        runs[int(one["seed"])] = float(one["test_accuracy"])
    out = [
        "| the paper says | net | better row | other row | paper, points | here, points | seeds | p | "
        "would have been seen | verdict |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for claim in CLAIMS:
        paper = {(row.model, row.method): row.paper for row in read_rows(claim.table)}
        for net, better, worse in claim.pairs:
            there = paper[net, better] - paper[net, worse]
            runs = (measured.get((str(claim.table), net, method), {}) for method in (better, worse))
            own = difference(*runs)
            here, seen = written(own.mean, "+.2f"), written(detectable(own), ".2f")
            p = "< 0.001" if own.p < 0.001 else written(own.p, ".3f")
            row = (claim.words, net, better, worse, f"{there:+.2f}", here, own.pairs, p, seen, verdict(own))
            out.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(out) + "\n"


def detectable(found: Difference) -> float:
    """Return the smallest difference that a test would find: with p < LEVEL in a share POWER of all cases.

    (t(1 − LEVEL/2) + t(POWER))·error, with Student's quantiles t; nan for fewer than two pairs.
    """
    return float(found.error * student.ppf([1 - LEVEL / 2, POWER], found.pairs - 1).sum())


def written(value: float, form: str) -> str:
    """Return a number in a format, or a dash for what cannot be computed from one seed."""
    return "–" if value != value else f"{value:{form}}"


def verdict(own: Difference) -> str:
    """Return whether a claim holds, as far as its seeds can say."""
    if own.pairs < 2:
        return "one seed" if own.pairs else "not trained"
    if not own.p < LEVEL:
        return "cannot be said"
    return "holds" if own.mean > 0 else "does not hold"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    write_whole(PAGE, page(PAGE.read_text(encoding="utf-8"), claims(), MARKS))
