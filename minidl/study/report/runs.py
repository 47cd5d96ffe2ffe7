"""Runs as the report takes them: the record in a folder, and runs of the same settings and other seeds as one."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Any

from minidl.experiment.cli import own_code
from minidl.experiment.cli.own_code import Record
from minidl.experiment.saving import checkpoint, records
from minidl.experiment.sweeps.seeds import NOISE
from minidl.experiment.trainer import Epoch
from minidl.kernels.errors import MinidlError
from minidl.method import parse
from minidl.study.report.charts import LOOKS

# What runs that are compared may differ in: the method, which is what is compared; the seed, which is chance; and what
# leaves the training as it is. All other settings, of later versions too, they should have in common.
FREE = (
    *("method", "seed", "out", "quiet", "save_every", "threads", "loops", "data_root", "trace", "test_every"),
    *("batch_is_default", "import"),  # the files of --import are compared by what is in them
)
CONTENTS = "contents of the data"
DATA_SETTINGS = {"data", "train size", "test size", "image size", "fit", "shrink"}  # which change the contents
NOT_GIVEN = "not given"
HASH = 12  # digits of a SHA-256 that are shown


@dataclass(frozen=True)
class Run:
    """A run of which at least one epoch has finished; result: None where it has not come to its end."""

    folder: Path
    settings: dict[str, Any]
    epochs: list[Epoch]
    result: dict[str, Any] | None

    @property
    def checkpoint(self) -> Path:
        """Where the run keeps its net."""
        return self.folder / checkpoint.NAME

    @cached_property
    def method(self) -> str:
        """What was normalized, in one spelling: "gradient tensor, WC" is "WC, GC"; as it is where it is not known."""
        written = str(self.settings["method"])
        try:
            return str(parse(written).canonical())
        except MinidlError:  # of an own file that was not imported
            return written

    @property
    def seed(self) -> int:
        """What its random numbers came from."""
        return int(self.settings["seed"])

    @cached_property
    def common(self) -> dict[str, str]:
        """What runs which are compared should have in common, by name: settings that are given, files and data."""
        given = {name: value for name, value in self.settings.items() if value is not None and value is not False}
        found = {name.replace("_", " "): str(value) for name, value in given.items() if name not in FREE}
        files = [f"{Path(record['file']).name} {record['sha256'][:HASH]}" for record in self.imported]
        return found | ({"import": ", ".join(files)} if files else {}) | {CONTENTS: self._contents()}

    def _contents(self) -> str:
        """Return a few digits that tell the data from others, as there may be others now where these were."""
        try:
            data = checkpoint.trained_on(self.checkpoint)
        except MinidlError:
            data = None
        return sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:HASH] if data else "unknown"

    @property
    def imported(self) -> list[Record]:
        """The user's files that it was trained with."""
        return own_code.records_of(self.settings, self.folder)


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone; label: what tells them apart from other groups on the page."""

    label: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The run with the smallest seed, whose net stands for the group."""
        return self.runs[0]

    @property
    def seeds(self) -> str:
        """The seeds, in words."""
        seeds = [str(run.seed) for run in self.runs]
        return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds ({', '.join(seeds)})"

    @cached_property
    def divergence(self) -> str:
        """A sentence which says that the saved net of the first run is one from before it diverged, or ""."""
        said = records.divergence_of(self.first.folder)
        return f"{self.label}: {said}." if said else ""

    @property
    def net(self) -> str:
        """What the saved net of the first run is called."""
        return f"{self.label}, before it diverged" if self.divergence else self.label


def first_of(label: str, runs: Sequence[Run]) -> str:
    """Return a sentence which says that the first of the runs is drawn alone, "" where there is no other."""
    return f"Of {label}, only seed {runs[0].seed} is drawn, the first of {len(runs)} seeds." if len(runs) > 1 else ""


def read(folder: Path) -> Run:
    """Return the run in a folder.

    Raises MinidlError where there is none, where its configuration lacks something, or where nothing has been trained.
    """
    settings = records.read_settings(folder)
    for name, kind in (("model", str), ("method", str), ("data", str), ("seed", int)):
        if not isinstance(settings.get(name), kind):
            raise MinidlError(f"{folder / records.CONFIG} does not say the run's {name}; start the run again")
    own_code.records_of(settings, folder)
    epochs = records.read_log(folder)
    if not epochs:
        raise MinidlError(
            f"the log of the run in {folder} has no finished epoch; go on with: minidl train --resume "
            f"{quote(str(folder))}, which also writes a lost {records.LOG} again"
        )
    return Run(folder, settings, epochs, records.read_result(folder))


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Return the runs in groups that differ in their seed alone, in their order.

    Two runs of the same settings and the same seed are no two samples of chance: such runs stand for themselves, by the
    paths of their folders. A label names the settings in which its group differs from others of the same method,
    and those in which it differs from the first group of all.
    """
    keys = [(run.method, frozenset(run.common.items())) for run in runs]
    counts = Counter((key, run.seed) for key, run in zip(keys, runs, strict=True))
    found: dict[tuple[Any, str], list[Run]] = {}
    for key, run in zip(keys, runs, strict=True):
        alone = str(run.folder) if counts[key, run.seed] > 1 else ""
        found.setdefault((key, alone), []).append(run)
    firsts = [members[0] for members in found.values()]
    varying = _varying(firsts)
    groups = []
    for (_, alone), members in found.items():
        first = members[0]
        alike = _varying([other for other in firsts if other.method == first.method])
        told = [
            f"{name} {first.common.get(name, NOT_GIVEN)}"
            for name in varying
            if name in alike or first.common.get(name) != firsts[0].common.get(name)
        ]
        label = " · ".join(filter(None, [first.method, *told, alone]))
        groups.append(Group(label, tuple(sorted(members, key=lambda run: run.seed))))
    return groups


def warnings(groups: Sequence[Group]) -> list[str]:
    """Return what somebody who compares the groups should know: where they differ in more, and the noise of a seed."""
    if len(groups) < 2:
        return []
    said = []
    differing = [
        f"{name} ({', '.join(values)})" for name, values in _varying([group.first for group in groups]).items()
    ]
    seeds = dict.fromkeys(group.seeds for group in groups)
    if len(seeds) > 1:
        differing.append(f"seed ({'; '.join(seeds)})")
    if differing:
        said.append(f"These runs differ in more than the method: {', '.join(differing)}.")
    single = sum(len(group.runs) == 1 for group in groups)
    if single:
        which = "Each of them" if single == len(groups) else f"{single} of these {len(groups)} methods"
        was = "were" if 1 < single < len(groups) else "was"
        said.append(
            f"{which} {was} trained with one seed. Another seed alone changes an accuracy by {NOISE}; a difference of "
            "this size may be chance."
        )
    if len(groups) > LOOKS:
        said.append(
            f"Of these {len(groups)} methods, the {LOOKS + 1}th has lines like the first, and so on; hide some by the "
            "buttons below."
        )
    return said


def strange_code(groups: Sequence[Group], imported: Sequence[Record]) -> list[str]:
    """Return a sentence for each file that a group was trained with and that is not among those imported now."""
    said = []
    for group in groups:
        for record in group.first.imported:
            if record["sha256"] in [other["sha256"] for other in imported]:
                continue
            name = Path(record["file"]).name
            others = [other["sha256"][:HASH] for other in imported if Path(other["file"]).name == name]
            drawn = f"drawn with another one ({others[0]}…)" if others else "drawn without it; give it by --import"
            said.append(
                f"{group.label} was trained with {name} (SHA-256 {record['sha256'][:HASH]}…) and {drawn}. Its net, its "
                "predictions and the cards may not be those of the training."
            )
    return said


def _varying(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return what runs should have in common and have not, by name, with all the values that it has.

    The contents of the data differ by themselves only where no setting of the data does.
    """
    names = dict.fromkeys(name for run in runs for name in run.common)
    values = {name: list(dict.fromkeys(run.common.get(name, NOT_GIVEN) for run in runs)) for name in names}
    found = {name: different for name, different in values.items() if len(different) > 1}
    if {*found} & DATA_SETTINGS:
        found.pop(CONTENTS, None)
    return found
