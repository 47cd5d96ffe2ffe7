"""A comparison: the same training with several methods, side by side, and what came of each."""

import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from minidl.experiment.cli.command import Command
from minidl.experiment.cli.own_code import OwnFile, check_unchanged, import_files, records_of
from minidl.experiment.options import Options
from minidl.experiment.preparation import Experiment, build_net, prepare
from minidl.experiment.saving import checkpoint, records
from minidl.experiment.saving.fingerprint import Description, difference
from minidl.experiment.saving.run_folder import check_no_run
from minidl.experiment.settings import Settings, complete
from minidl.experiment.sweeps import compare_init
from minidl.experiment.sweeps.compare_display import Display
from minidl.experiment.sweeps.compare_results import write
from minidl.experiment.sweeps.method_run import MethodRun, run_of
from minidl.experiment.sweeps.process_run import carry_out, going_on_when_called_again
from minidl.kernels.cpu.threads import available_cores
from minidl.kernels.errors import MinidlError
from minidl.method import parse
from minidl.words import counted

OWN = ("methods", "seeds", "jobs", "method", "seed", "out")  # options that do not go to all runs as they are
# In these the runs of a comparison may differ.
FREE = ("method", "seed", "out", "quiet", "save_every", "threads", "loops", "data_root", "import")
SURROUNDINGS = ("threads", "loops", "data_root")


def compare(options: dict[str, Any], command: Command) -> int:
    """Run every method with every seed, print and draw what came of them; return the exit status, 1 where one failed.

    Nothing is trained before all methods are known to fit the net and the data, and earlier runs in the folder to have
    the same settings, data and weights to begin with. Raises MinidlError where they do not, and where data or weights
    have changed before the last run began.
    """
    files = import_files(options["import"])  # which may name some of the methods
    methods = read_methods(options["methods"])
    common = {name: value for name, value in options.items() if name not in OWN}
    with going_on_when_called_again():
        experiment = prepare_all(methods, common)
        settings = experiment.settings
        out = Path(options["out"] or Path("runs", f"compare-{settings['model']}-{Path(settings['data']).name}"))
        check_no_run(out)
        description = experiment.description
        check_earlier(out, settings, files, description)
        if settings["init"]:
            compare_init.keep(out, settings["init"])
        runs = [run_of(out, method, seed, common, files) for seed, method in product(range(options["seeds"]), methods)]
        jobs = options["jobs"] or min(len(methods), available_cores())
        display = Display(runs, settings["epochs"], settings["quiet"])
        display.say(introduction(methods, options["seeds"], jobs, experiment, out, runs))
        del experiment  # its images and its net are not needed any more
        failures = train(runs, jobs, {name: common[name] for name in SURROUNDINGS}, display)
    for failure in failures:
        print(f"{command.name}: {failure}", file=sys.stderr)
    check_earlier(out, settings, files, description)  # each run has read the files anew when it began
    print(write(out, runs, settings, command))
    return 1 if failures else 0


def read_methods(text: str) -> list[str]:
    """Return the methods of a text, which has ; between them; raise MinidlError for fewer than two or equal ones."""
    methods = [str(parse(method.strip())) for method in text.split(";") if method.strip()]
    if len(methods) < 2:
        raise MinidlError(
            f"--methods names {len(methods) or 'no'} method, and a comparison takes two or more with ; between, "
            'such as "Baseline; WC, GC"'
        )
    named: dict[str, str] = {}
    for method in methods:
        name = str(parse(method).canonical())
        if name in named:
            other = named[name]
            alike = f"{method!r} twice" if method == other else f"{other!r} and {method!r}, which are the same"
            raise MinidlError(f"--methods names {alike}; leave one of them out")
        named[name] = method
    return methods


def prepare_all(methods: Sequence[str], common: Options) -> Experiment:
    """Return the first method's run, ready to begin; raise MinidlError where any of them could not begin."""
    settings, _ = complete(common | {"method": methods[0], "seed": 0, "out": None, "resume": None}, {})
    experiment = prepare(settings)
    for method in methods[1:]:
        build_net(experiment.settings | {"method": method}, experiment.train)
    return experiment


def check_earlier(out: Path, settings: Settings, files: Sequence[OwnFile], description: Description) -> None:
    """Raise MinidlError for a run in the folder that differs from all runs of this comparison in more than the method.

    It may have imported other files, but none of these with other contents. description: of the data as they are now.
    """
    folders = [config.parent for config in sorted(out.glob(f"[!.]*/{records.CONFIG}"))]
    for folder in folders:
        earlier = records.read_settings(folder)
        check_unchanged(files, records_of(earlier, folder), folder)
        if others := ", ".join(
            f"{name.replace('_', '-')} {earlier[name]!r} and not {value!r}"
            for name, value in settings.items()
            if name not in FREE and earlier.get(name, value) != value
        ):
            raise MinidlError(
                f"the run in {folder} has {others}, so that more than the method would differ; give the same settings, "
                "or another folder with --out"
            )
        check_data(folder, settings["data"], description)
    if folders and settings["init"]:
        compare_init.check(out, settings["init"])


def check_data(folder: Path, data: str, description: Description) -> None:
    """Raise MinidlError where the run in a folder was trained on other data than there are now, or nobody knows."""
    path = folder / checkpoint.NAME
    earlier = checkpoint.trained_on(path) if path.exists() else None
    if earlier is None:
        raise MinidlError(
            f"it is not known what the data {data!r} were when the run in {folder} was trained, as {path.name} is "
            "missing or of an earlier minidl; give another folder with --out"
        )
    if changed := difference(earlier, description):
        raise MinidlError(
            f"the data {data!r} are not those that the run in {folder} was trained on: {changed}; put them back as "
            "they were, or give another folder with --out"
        )


def introduction(
    methods: Sequence[str], seeds: int, jobs: int, experiment: Experiment, out: Path, runs: Sequence[MethodRun]
) -> str:
    """Return what the comparison will cost, and where its record is."""
    epochs, finished = experiment.settings["epochs"], sum(run.result is not None for run in runs)
    done = f" ({finished} have finished already)" if finished else ""
    return (
        f"{len(methods)} methods × {counted(seeds, 'seed')} = {len(runs)} runs{done} of {counted(epochs, 'epoch')}, "
        f"{len(runs) * epochs} epochs in all, of {experiment.train.samples:,} images of {experiment.data} each\n"
        f"net ({experiment.settings['model']}), {experiment.settings['optimizer']}, {jobs} at a time; records in {out}"
    )


def train(runs: Sequence[MethodRun], jobs: int, surroundings: Options, display: Display) -> list[str]:
    """Carry out the runs under the eyes of the display; return what went wrong."""
    failures: list[str] = []

    def ended(run: MethodRun, problem: str) -> None:
        failures.extend(filter(None, [problem]))
        display.ended(run)

    with display:
        carry_out(runs, jobs, surroundings, ended, display.look)
    return failures
