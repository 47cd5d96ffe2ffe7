"""Verdict: what a check of gradients found, as text."""

from textwrap import fill

from minidl.gradcheck import TOLERANCE
from minidl.kernels import Kernels
from minidl.study.checking import Findings, Row, grouped
from minidl.study.table import Table

WIDTH = 110


def verdict(findings: Findings, kernels: Kernels) -> str:
    """Return a table of the gradients, the reasons of those that fail, what was not checked, and the sum."""
    device = {"cpu": "CPU", "gpu": "GPU"}.get(kernels.device, kernels.device)
    most = f"a relative error up to {TOLERANCE:.0e} passes"
    head = f"Gradients against central differences, in float64 on the {device}; {most}."
    rows = [_row(row, before) for before, row in zip([None, *findings.rows], findings.rows, strict=False)]
    parts = [head, str(Table(("layer", "gradient of", "relative error", ""), "<<><", rows))]
    if findings.failed:
        parts.append("\n".join(_told(f"{row.layer}, {row.of}: {row.explanation}") for row in findings.failed))
    parts += [fill(note, WIDTH) for note in findings.notes]
    if findings.unchecked:
        parts.append("\n".join(["not checked:", *map(_told, grouped(findings.unchecked))]))
    parts.append(_sum(len(findings.rows), len(findings.failed)))
    return "\n\n".join(parts)


def _sum(number: int, failed: int) -> str:
    if number == 1:
        return "The gradient fails." if failed else "The gradient passes."
    return f"{failed} of {number} gradients fail." if failed else f"All {number} gradients pass."


def _row(row: Row, before: Row | None) -> tuple[str, ...]:
    name = "" if before and before.layer == row.layer else row.layer
    return name, row.of, f"{row.error:.1e}", "passes" if row.passed else "FAILS"


def _told(sentence: str) -> str:
    return fill(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ")
