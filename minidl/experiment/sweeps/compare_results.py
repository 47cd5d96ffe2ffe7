"""The results of a comparison: its table, compare.csv, the picture of the curves and the report."""

from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote

from minidl.experiment import plots
from minidl.experiment.cli.command import Command
from minidl.experiment.cli.console import decoration
from minidl.experiment.cli.own_code import Record
from minidl.experiment.saving import records
from minidl.experiment.saving.files import as_csv, write_whole
from minidl.experiment.saving.result import Result, accuracy, divergence
from minidl.experiment.settings import Settings
from minidl.experiment.sweeps.method_run import MethodRun
from minidl.experiment.sweeps.seeds import NOISE, deviation, difference, mean
from minidl.words import signed

TABLE, PICTURE, REPORT = "compare.csv", "compare.png", "report.html"
COLUMNS = ("method", "seed", "epochs", "test_accuracy", "train_loss", "seconds", "run")
ONE_SEED = f"""\
With one seed, a difference may be chance that is not larger than what another seed alone makes in an accuracy:
{NOISE}. Try --seeds 3."""
MORE_SEEDS = """\
test accuracy: the mean over seeds ± their standard deviation. difference: to the first method with the same seed, the
mean over seeds ± its standard error. p: how probable so large a difference is by chance alone (paired t-test); equal
methods have p below 0.05 once in 20 times."""


def write(out: Path, runs: Sequence[MethodRun], settings: Settings, command: Command) -> str:
    """Write the results of the finished runs, the picture and the report; return the table and where the files are."""
    finished = [(run, result) for run in runs if (result := run.result) is not None]
    methods = list(dict.fromkeys(run.method for run in runs))
    of = {name: {run.seed: result for run, result in finished if run.method == name} for name in methods}
    lines = [table(of), ""]
    if finished:
        rows = [[run.method, run.seed, *_figures(result), run.folder.name] for run, result in finished]
        write_whole(out / TABLE, as_csv([COLUMNS, *rows]))
        logs = {name: [records.read_log(run.folder) for run, _ in finished if run.method == name] for name in methods}
        with decoration(command.name, PICTURE):
            title = f"net ({settings['model']}) on {Path(settings['data']).name}"
            write_whole(out / PICTURE, plots.comparison(logs, title))
        lines += [f"figures in {out / TABLE}, curves in {out / PICTURE}"]
        folders = [run.folder for run, _ in finished]
        lines += [report(out, folders, settings["data_root"], command, settings["import"])]
    return "\n".join(lines)


def report(
    out: Path, folders: Sequence[Path], root: str | None, command: Command, imported: Sequence[Record] = ()
) -> str:
    """Write the report of the runs in the folders and return where it is, or how to write it where that failed.

    root: where the data sets lie, or None for where the runs had them; imported: the user's files.
    """
    written = []
    with decoration(command.name, REPORT):
        from minidl.study.report.write import report as write_report  # here, as its packages need not be installed

        written.append(write_report(folders, out / REPORT, root, None, imported))
    if not written:
        return f"to have all on one page: minidl report {' '.join(quote(str(folder)) for folder in folders)}"
    return f"all on one page: {written[0]}"


def _figures(result: Result) -> list[str]:
    loss = "" if result["train_loss"] is None else f"{result['train_loss']:.6f}"
    return [str(result["epochs"]), f"{accuracy(result):.2f}", loss, f"{result['seconds']:.2f}"]


def table(results: dict[str, dict[int, Result]]) -> str:
    """Return the table of the results, by method and seed, in Markdown, with an explanation."""
    several = any(len(by_seed) > 1 for by_seed in results.values())
    head = ["method", "test accuracy, %", "difference", *(["p"] if several else []), "training loss", "seconds"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    first = {seed: accuracy(result) for seed, result in next(iter(results.values())).items()}
    for number, (method, by_seed) in enumerate(results.items()):
        accuracies = {seed: accuracy(result) for seed, result in by_seed.items()}
        apart = difference(accuracies, first)
        rows.append(
            [
                method,
                _number(mean(list(accuracies.values())), ".2f", deviation(list(accuracies.values())), bool(by_seed)),
                _number(apart.mean, signed, apart.error) if number else "",
                *([_number(apart.p, ".2g") if number else ""] if several else []),
                _number(mean([_loss(result) for result in by_seed.values()]), ".4f", lost=bool(by_seed)),
                _number(mean([result["seconds"] for result in by_seed.values()]), ".0f"),
            ]
        )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines += [
        f"\n{said}"
        for method, by_seed in results.items()
        for seed, result in by_seed.items()
        if (said := divergence(f"{method}, seed {seed}", result))
    ]
    return "\n".join([*lines, "", MORE_SEEDS if several else ONE_SEED])


def _loss(result: Result) -> float:
    return float("nan") if result["train_loss"] is None else result["train_loss"]


def _number(value: float, form: str | Callable[[float], str], spread: float = float("nan"), lost: bool = False) -> str:
    """Return a number, with its spread where there is one; lost: nan where it is none, and not a dash."""
    if value != value:
        return "nan" if lost else "-"
    shown = form(value) if callable(form) else format(value, form)
    return shown + (f" ± {spread:.2f}" if spread == spread else "")
