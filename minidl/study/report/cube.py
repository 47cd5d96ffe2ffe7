"""The cube of the traced runs: for each run and quantity a number for each traced step and layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.errors import MinidlError
from minidl.study import trace_files
from minidl.study.report.runs import Group, Run, first_of
from minidl.study.trace_files import Trace
from minidl.words import in_a_row

Numbers = NDArray[np.float64]
DIGITS = 3  # that are kept of each number
SHARES = ("data_mean", "alike", "active", "dead", "w_mean", "g_mean", "step_mean", "flips", "step_ratio")  # as percent
ENERGIES = {"w_removed": "w_taken", "g_removed": "g_taken", "e_removed": "e_taken", "step_lost": "step_taken"}
PLAIN = ("out_std", "w_norm", "e_norm", "g_norm", "angle", "bias_angle")


@dataclass(frozen=True)
class Traced:
    """What the runs of a group have traced in common: the mean over them, and their deviation where they are several.

    values, deviations: by quantity, arrays (steps, layers) with nan where it is not defined; first: the trace of the
    group's first run; only: a sentence which says that this one stands for several, or "".
    """

    label: str
    steps: list[int]
    layers: list[str]
    values: dict[str, Numbers]
    deviations: dict[str, Numbers]
    first: Trace
    only: str = ""


@dataclass
class Cube:
    """The traced groups; layers: of all of them, in the order of the forward pass; notes: which could not be read."""

    groups: list[Traced] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def runs(self) -> list[str]:
        """The labels of the groups."""
        return [group.label for group in self.groups]

    @property
    def layers(self) -> list[str]:
        """The layers of all groups, each before those that follow it in a net, as far as the nets agree."""
        found: list[str] = []
        for group in self.groups:
            place = len(found)
            for layer in reversed(group.layers):
                if layer in found:
                    place = found.index(layer)
                else:
                    found.insert(place, layer)
        return found

    @property
    def steps(self) -> list[int]:
        """The steps that were traced in any group."""
        return sorted({step for group in self.groups for step in group.steps})

    @property
    def spreads(self) -> bool:
        """Whether a group has several runs, between which there is a deviation."""
        return any(group.deviations for group in self.groups)

    def for_page(self) -> dict[str, Any]:
        """Return it as JSON has it: lists of the layers for each step, None where a number is not defined."""
        return {"steps": self.steps, "layers": self.layers, "runs": [self._one(group) for group in self.groups]}

    def _one(self, group: Traced) -> dict[str, Any]:
        places = [group.layers.index(layer) if layer in group.layers else None for layer in self.layers]

        def listed(cubes: dict[str, Numbers]) -> dict[str, Any]:
            return {
                name: [[None if j is None else short(line[j]) for j in places] for line in values.tolist()]
                for name, values in cubes.items()
                if np.isfinite(values).any()
            }

        values, deviations = listed(group.values), listed(group.deviations)
        return {"label": group.label, "steps": group.steps, "values": values, "deviations": deviations}


def read(groups: Sequence[Group]) -> Cube:
    """Return the cube of those groups that have a trace; what is missing or cannot be read is a note."""
    cube, untraced = Cube(), []
    for group in groups:
        try:
            runs = [run for run in group.runs if trace_files.is_traced(run.folder)]
            traces = [trace_files.read(run.folder) for run in runs]
        except MinidlError as error:
            cube.notes.append(f"{group.label}: its trace is left out, because {error}.")
            continue
        if not traces or not all(trace.rows for trace in traces):
            untraced.append(group.label)
        elif not (steps := _common_steps(traces)):
            cube.notes.append(
                f"{group.label}: its traces are left out, because they have no steps or layers in common."
            )
        else:
            cube.groups.append(_together(group, runs, traces, steps))
            if len(runs) < len(group.runs):
                traced = ", ".join(str(run.seed) for run in runs)
                cube.notes.append(f"{group.label}: of {group.seeds}, there is a trace of {traced} only.")
    if cube.groups and untraced:
        cube.notes.append(f"{in_a_row(untraced)}: there is no trace; train with --trace to see more.")
    return cube


def short(value: float) -> float | None:
    """Return a number with few digits, None for one that is none."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _common_steps(traces: Sequence[Trace]) -> list[int]:
    """Return the steps that are in all traces, none where they are of different layers."""
    first = traces[0]
    if any(trace.layers != first.layers for trace in traces):
        return []
    return [step for step in first.steps if all(step in trace.steps for trace in traces)]


def _together(group: Group, runs: Sequence[Run], traces: Sequence[Trace], steps: list[int]) -> Traced:
    first = traces[0]
    cubes = [_quantities(trace, [trace.steps.index(step) for step in steps]) for trace in traces]
    stacks = {name: np.stack([cube[name] for cube in cubes]) for name in cubes[0]}
    several = len(traces) > 1
    return Traced(
        group.label,
        steps,
        first.layers,
        {name: stack.mean(axis=0) for name, stack in stacks.items()},
        {name: stack.std(axis=0, ddof=1) for name, stack in stacks.items()} if several else {},
        first,
        first_of(group.label, runs),
    )


def _quantities(trace: Trace, chosen: Sequence[int]) -> dict[str, Numbers]:
    """Return the quantities as the report shows them: shares in percent, what was taken as an energy."""
    found = {name: 100 * trace.column(name) for name in SHARES}
    found |= {energy: 100 * trace.column(name) ** 2 for name, energy in ENERGIES.items()}
    found |= {name: trace.column(name) for name in PLAIN}
    return {name: values[chosen] for name, values in found.items()}
