"""Runs as the report takes them: the record in a folder, and runs of the same settings and other seeds as one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidl.experiment import own_code, records
from minidl.experiment.checkpoint import NAME
from minidl.experiment.own_code import Record
from minidl.experiment.seeds import NOISE
from minidl.experiment.trainer import Epoch
from minidl.kernels.errors import MinidlError

# What two runs that are compared should have in common. The method is what is compared, and the seed is chance.
COMMON = (
    *("model", "mode", "data", "train_size", "test_size", "shrink", "crop", "epochs", "batch_size", "optimizer"),
    *("variant", "learning_rate", "drop_every", "weight_decay", "place", "device", "precision", "import"),
)
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
        return self.folder / NAME

    @property
    def method(self) -> str:
        """What was normalized."""
        return str(self.settings["method"])

    @property
    def seed(self) -> int:
        """What its random numbers came from."""
        return int(self.settings["seed"])

    @property
    def common(self) -> tuple[str, ...]:
        """The settings that runs which are compared should have in common, as texts."""
        files = [f"{Path(record['file']).name} {record['sha256'][:HASH]}" for record in self.imported]
        settings = self.settings | {"import": ", ".join(files) or "nothing"}
        return tuple(str(settings.get(name)) for name in COMMON)

    @property
    def imported(self) -> list[Record]:
        """The files of one's own that it was trained with."""
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


def read(folder: Path) -> Run:
    """Return the run in a folder.

    Raises MinidlError where there is none, where its configuration lacks something, or where nothing has been trained.
    """
    settings = records.read_settings(folder)
    for name, kind in (("model", str), ("method", str), ("data", str), ("seed", int)):
        if not isinstance(settings.get(name), kind):
            raise MinidlError(f"{folder / records.CONFIG} does not say the run's {name}; start the run anew")
    own_code.records_of(settings, folder)
    epochs = records.read_log(folder)
    if not epochs:
        raise MinidlError(f"the run in {folder} has not finished an epoch yet; train it on before it is reported")
    return Run(folder, settings, epochs, records.read_result(folder))


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Return the runs in groups that differ in their seed alone, in their order.

    Two runs of the same settings and the same seed are no two samples of chance: such runs stand for themselves, by the
    paths of their folders. Groups of the same method are told apart by the settings in which any groups differ.
    """
    counts = Counter((run.method, run.common, run.seed) for run in runs)
    found: dict[tuple[str, tuple[str, ...], str], list[Run]] = {}
    for run in runs:
        alone = str(run.folder) if counts[run.method, run.common, run.seed] > 1 else ""
        found.setdefault((run.method, run.common, alone), []).append(run)
    methods = Counter(method for method, _, _ in found)
    varying = [i for i in range(len(COMMON)) if len({common[i] for _, common, _ in found}) > 1]
    groups = []
    for (method, common, alone), members in found.items():
        settings = [f"{_words(COMMON[i])} {common[i]}" for i in varying] if methods[method] > 1 else []
        label = " · ".join(filter(None, [method, *settings, alone]))
        groups.append(Group(label, tuple(sorted(members, key=lambda run: run.seed))))
    return groups


def warnings(groups: Sequence[Group]) -> list[str]:
    """Return what somebody who compares the groups should know: where they differ in more, and the noise of a seed."""
    if len(groups) < 2:
        return []
    said = []
    differing = []
    for i, name in enumerate(COMMON):
        values = dict.fromkeys(group.first.common[i] for group in groups)
        if len(values) > 1:
            differing.append(f"{_words(name)} ({', '.join(values)})")
    seeds = dict.fromkeys(group.seeds for group in groups)
    if len(seeds) > 1:
        differing.append(f"seed ({'; '.join(seeds)})")
    if differing:
        said.append(f"These runs differ in more than the method: {', '.join(differing)}.")
    single = sum(len(group.runs) == 1 for group in groups)
    if single:
        which = "Each of them was" if single == len(groups) else f"{single} of the {len(groups)} were"
        said.append(
            f"{which} trained with one seed. Another seed alone moves an accuracy by {NOISE}; a difference of that "
            "size may be chance."
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


def _words(name: str) -> str:
    return name.replace("_", " ")
