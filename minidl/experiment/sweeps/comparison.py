"""A comparison: the same training with several methods, and the results of each."""

import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from minidl.experiment import initial
from minidl.experiment.cli.command import Command
from minidl.experiment.cli.own_code import OwnFile, check_unchanged, import_files, records_of
from minidl.experiment.options import Options
from minidl.experiment.preparation import Experiment, build_net, prepare
from minidl.experiment.saving import checkpoint, records
from minidl.experiment.saving.files import make_folder
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
from minidl.words import counted, printable

OWN = ("methods", "seeds", "jobs", "method", "seed", "out")  # options that are not passed on unchanged to all runs
# Settings that may differ between the runs of a comparison.
FREE = ("method", "seed", "out", "quiet", "save_every", "threads", "loops", "data_root", "import")
SURROUNDINGS = ("threads", "loops", "data_root")


def compare(options: dict[str, Any], command: Command) -> int:
    """Run every method with every seed, print and draw the results; return the exit status, 1 if a run failed.

    Training begins only if all methods fit the net and the data, and earlier runs in the folder have the same settings,
    data and initial weights. Raises MinidlError if not, and if data or weights change before the last run has begun.
    """
    files = import_files(options["import"])  # they may define some of the methods
    methods = read_methods(options["methods"])
    common = {name: value for name, value in options.items() if name not in OWN}
    with going_on_when_called_again():
        experiment = prepare_all(methods, common)
        settings = experiment.settings
        out = Path(options["out"] or Path("runs", f"compare-{settings['model']}-{Path(settings['data']).name}"))
        check_no_run(out)
        description = experiment.description
        check_earlier(out, settings, files, description)
        make_folder(out)
        if settings["init"]:
            compare_init.keep(out, settings["init"])
        runs = [run_of(out, method, seed, common, files) for seed, method in product(range(options["seeds"]), methods)]
        jobs = options["jobs"] or min(len(methods), available_cores())
        display = Display(runs, settings["epochs"], settings["quiet"])
        display.say(introduction(methods, options["seeds"], jobs, experiment, out, runs))
        del experiment  # its images and its net are not needed any more
        with display:
            surroundings = {name: common[name] for name in SURROUNDINGS}
            failures = carry_out(runs, jobs, surroundings, display.ended, display.look)
    for failure in failures:
        print(f"{command.name}: {failure}", file=sys.stderr)
    check_earlier(out, settings, files, description)  # each run has read the files again when it began
    print(write(out, runs, settings, command))
    return 1 if failures else 0


def read_methods(text: str) -> list[str]:
    """Return the methods of a text, separated by semicolons; raise MinidlError for fewer than two or equal ones."""
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
    """Return the first method's run, ready to begin; raise MinidlError if any of the runs cannot begin."""
    settings, _ = complete(common | {"method": methods[0], "seed": 0, "out": None, "resume": None}, {})
    experiment = prepare(settings)
    start = initial.read(settings["init"]) if settings["init"] else None
    for method in methods[1:]:
        build_net(experiment.settings | {"method": method}, experiment.trainer.train, start)
    return experiment


def check_earlier(out: Path, settings: Settings, files: Sequence[OwnFile], description: Description) -> None:
    """Raise MinidlError for a run in the folder that differs from this comparison in more than the method.

    It may have imported other files, but not the same files with other contents. description: of the data of now.
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
    """Raise MinidlError if the run in a folder was trained on other data than those of now, or on unknown data."""
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
    """Return how much the comparison will train, and where its record is."""
    settings, images = experiment.settings, experiment.trainer.train.samples
    epochs, finished = settings["epochs"], sum(run.result is not None for run in runs)
    done = f" ({finished} have finished already)" if finished else ""
    return (
        f"{len(methods)} methods × {counted(seeds, 'seed')} = {len(runs)} runs{done} of {counted(epochs, 'epoch')}, "
        f"{len(runs) * epochs} epochs in all, of {images:,} images of {experiment.data} each\n"
        f"net ({settings['model']}), {settings['optimizer']}, {jobs} at a time; records in {out}"
        + "".join(f"\n{printable(note)}" for note in experiment.notes)
    )
