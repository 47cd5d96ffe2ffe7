"""Verdict: the result of a gradient check, as text."""

from textwrap import fill

from minidl.gradcheck import LOST, TOLERANCE
from minidl.kernels import Kernels
from minidl.study.checking import Findings, Row, grouped
from minidl.study.table import Table

WIDTH = 110


def verdict(findings: Findings, kernels: Kernels) -> str:
    """Return a table of the gradients, explanations of the wrong ones, what was not checked, and a summary."""
    device = {"cpu": "CPU", "gpu": "GPU"}.get(kernels.device, kernels.device)
    most = f"a relative error up to {TOLERANCE:.0e} passes"
    head = f"Gradients against central differences, in float64 on the {device}; {most}."
    small = {sentence.partition(":")[0] for sentence in findings.unchecked if f"is about {LOST}" in sentence}
    lost = [f"{row.layer}.{row.of}" in small and row.passed for row in findings.rows]
    rows = [_row(*rows) for rows in zip([None, *findings.rows], findings.rows, lost, strict=False)]
    parts = [head, str(Table(("layer", "gradient of", "relative error", ""), "<<><", rows))]
    if findings.failed:
        parts.append("\n".join(_told(f"{row.layer}, {row.of}: {row.explanation}") for row in findings.failed))
    parts += [fill(note, WIDTH) for note in findings.notes]
    if findings.unchecked:
        parts.append("\n".join(["not checked:", *map(_told, grouped(findings.unchecked))]))
    parts.append(_sum(len(findings.rows), len(findings.failed), sum(lost)))
    if findings.untried:
        parts.append(f"No gradient of {' or '.join(findings.untried)} was checked.")
    return "\n\n".join(parts)


def _sum(number: int, failed: int, lost: int) -> str:
    if failed:
        return "The gradient fails." if number == 1 else f"{failed} of {number} gradients fail."
    if lost:
        return (
            f"{number - lost} of {number} gradients pass, and {lost} {'is' if lost == 1 else 'are'} too small to tell."
        )
    return "The gradient passes." if number == 1 else f"All {number} gradients pass."


def _row(before: Row | None, row: Row, lost: bool) -> tuple[str, ...]:
    name = "" if before and before.layer == row.layer else row.layer
    return name, row.of, f"{row.error:.1e}", "too small" if lost else "passes" if row.passed else "FAILS"


def _told(sentence: str) -> str:
    return fill(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ")
