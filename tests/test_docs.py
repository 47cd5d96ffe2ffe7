"""The documentation is right: its examples run, the names in it exist, and its links lead somewhere."""

import argparse
import doctest
import json
import math
import re
import runpy
import shlex
import subprocess
import sys
from configparser import ConfigParser
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from code_blocks import FENCE, python_blocks

import train
from minidl import MinidlError, method, models
from minidl.commands import COMMANDS
from minidl.experiment.cli.command import Command, Parser
from minidl.experiment.sweeps.comparison import read_methods
from minidl.experiment.sweeps.rows import choose, read_rows
from minidl.experiment.sweeps.seeds import Difference, difference

CHECKOUT = Path(__file__).parents[1]
FOLDERS = (".", "docs", "docs/study", "benchmarks")
PAGES = [page for folder in FOLDERS for page in sorted((CHECKOUT / folder).glob("*.md"))]
SPAN = re.compile(r"`([^`\n]+)`")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))


def alternatives(command: str) -> tuple[str, str]:
    """Return both commands of a line such as "step.py [--json FILE]": without and with the brackets' content."""
    command = command.replace("\\|", "|")
    command = re.sub(r"(?<=\w)\|\S+?(?=[] ]|$)", "", command)
    return re.sub(r" \[[^]]*\]", "", command), re.sub(r" \[([^]]*)\]", r" \1", command)


def commands(page: Path) -> list[str]:
    """Return the shell lines of a page: in ```sh blocks, in indented ones, and between backticks."""
    text = page.read_text(encoding="utf-8")
    prose = FENCE.sub("", text)
    lines = [line for kind, block in FENCE.findall(text) if kind == "sh" for line in block.splitlines()]
    lines += [line.strip() for line in prose.splitlines() if line.startswith("    ")]
    lines += [re.sub(r"\bN\b", "3", span) for span in SPAN.findall(prose)]
    return [line for line in lines if re.match(r"(python|make|pip|minidl) ", line)]


class Found(Exception):
    """Carries the parser out of a script, before the script does its work."""


@cache
def parser_of(script: str) -> argparse.ArgumentParser:
    """Return the parser of "minidl NAME", or of a script, which runs until it reads its command line."""
    if script.startswith("minidl "):
        return import_module(f"minidl.commands.{script.split()[1]}").parser(Command(script, script))

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise Found(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(sys, "argv", [script])
        patch.syspath_prepend(str((CHECKOUT / script).parent))
        with pytest.raises(Found) as found:
            runpy.run_path(str(CHECKOUT / script), run_name="__main__")
    return found.value.args[0]


def parse(script: str, arguments: list[str]) -> argparse.Namespace:
    """Return the options that a script reads from a command line, or raise an error if it refuses the line."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (argparse.ArgumentParser, Parser):
            patch.setattr(kind, "error", refuse)
        options = parser_of(script).parse_args(arguments)
    check(options)
    return options


def refuse(parser: argparse.ArgumentParser, message: str) -> None:
    """Raise an exception where argparse would end the process."""
    raise MinidlError(message)


def check(options: argparse.Namespace) -> None:
    """Raise MinidlError if the text of an option, which argparse accepts, has no meaning."""
    given = vars(options)
    if given.get("import"):  # which define names that are unknown here
        return
    model = given.get("model") or []
    for name in [model] if isinstance(model, str) else model:
        models.check_name(name)
    if given.get("method"):
        method.parse(given["method"])
    if isinstance(given.get("methods"), str):
        read_methods(given["methods"])
    if given.get("rows"):
        choose(read_rows(given["table"]), given["rows"])


@pytest.fixture(scope="session")
def folder_with_a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which runs/NAME is a run."""
    folder = tmp_path_factory.mktemp("reader")
    small = ["--train-size", "50", "--test-size", "50", "--epochs", "1"]
    assert train.main([*small, "--device", "cpu", "--quiet", "--out", str(folder / "runs/NAME")]) == 0
    return folder


RUN_BLOCKS = """
import contextlib, functools, io, json, sys, traceback
from minidl.data import shapes
from minidl.models.registry import MODELS
from minidl.normalizations import NORMALIZATIONS
from minidl.optimizers import OPTIMIZERS
shapes.load = functools.cache(shapes.load)  # drawn once for all pages
printed = {}
for page, blocks in json.load(sys.stdin).items():
    names, printed[page] = {"__name__": "__main__"}, []
    known = [(table, dict(table)) for table in (MODELS, NORMALIZATIONS, OPTIMIZERS)]
    for code in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            try:
                exec(compile(code, page, "exec"), names)
            except BaseException:
                out.write(traceback.format_exc())
        printed[page].append(out.getvalue())
    for table, before in known:
        table.clear()
        table.update(before)
json.dump(printed, sys.stdout)
"""


def test_the_blocks_of_a_page_run_in_order_and_print_what_it_says(folder_with_a_run: Path) -> None:
    """One process runs all pages, because its start takes longer than most blocks; each page has separate names."""
    pages = {str(page.relative_to(CHECKOUT)): python_blocks(page) for page in PAGES}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-X", "utf8", "-c", RUN_BLOCKS],
        input=json.dumps({page: [block.code for block in blocks] for page, blocks in pages.items()}),
        cwd=folder_with_a_run,
        capture_output=True,
        encoding="utf-8",
    )
    assert run.returncode == 0, run.stderr
    for page, printed in json.loads(run.stdout).items():
        for block, text in zip(pages[page], printed, strict=True):
            assert "Traceback (most recent call last)" not in text, f"{page}:\n{block.code}\n{text}"
            assert block.output is None or text == block.output, page


def test_the_readme_shows_an_output() -> None:
    assert any(block.output for block in python_blocks(CHECKOUT / "README.md"))


@pytest.mark.parametrize("path, lines", [("README.md", 130), ("kernels/sgd.py", 40)])
def test_files_that_must_be_read_at_a_glance_are_short(path: str, lines: int) -> None:
    assert len((CHECKOUT / path).read_text(encoding="utf-8").splitlines()) <= lines


@pytest.mark.parametrize(
    "module", ["kernels.areas", "kernels.cpu.augment", "kernels.cpu.chunks", "method", "registry", "words"]
)
def test_the_examples_in_a_docstring_print_what_it_says(module: str) -> None:
    examples = doctest.testmod(import_module(f"minidl.{module}"))
    assert examples.attempted
    assert not examples.failed


@every_page
def test_the_command_lines_of_a_page_are_understood(page: Path) -> None:
    targets = re.findall(r"^(\w+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    setup = ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    for line in commands(page):
        for command in alternatives(line):
            program, *words = shlex.split(command.removeprefix("python -m "), comments=True)
            if program == "make":
                assert {word for word in words if "=" not in word} <= set(targets), command
            elif program == "pip":
                extras = re.findall(r"\.\[(.*?)\]", command)
                assert {name for some in extras for name in some.split(",")} <= set(setup["options.extras_require"])
            elif program == "minidl" and words[0] != "--help":
                parse(f"minidl {words[0]}", [word for word in words[1:] if word != "--help"])
            elif words and words[0].endswith(".py"):
                parse(words[0], [word for word in words[1:] if word != "--help"])


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_page
def test_the_tests_and_files_that_a_page_names_exist(page: Path) -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "tests").glob("*.py"))
    for span in SPAN.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        name = span.split("[")[0]
        if re.fullmatch(r"test_[\w*]+\.py", name):
            assert list((CHECKOUT / "tests").glob(name)), span
        elif re.fullmatch(r"test_\w+", name):
            assert f"def {name}(" in source, span
        elif re.fullmatch(r"(?:\w+/)+[\w.]+\.(?:py|cuh?|csv|md)", name) and not re.search(r"^runs/|\bNAME\b", name):
            assert (CHECKOUT / name).exists() or (page.parent / name).exists(), span


@every_page
def test_the_options_that_a_page_names_exist(page: Path) -> None:
    scripts = ["train.py", "reproduce.py", *(f"minidl {name}" for name in COMMANDS)]
    scripts += [f"benchmarks/{name}.py" for name in ("step", "hooks", "kernels", "peers")]
    known = " ".join(parser_of(script).format_help() for script in scripts)
    known += (CHECKOUT / "tests" / "fuzz" / "__main__.py").read_text(encoding="utf-8")
    for span in SPAN.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        for option in re.findall(r"^--[a-z-]+| --[a-z-]+", span):
            assert re.search(rf"{option.strip()}\b", known), span


@pytest.mark.parametrize(
    "script, arguments",
    [
        ("train.py", ["--epoch-count", "3"]),
        ("train.py", ["--method", "WC, XY"]),
        ("train.py", ["--model", "e"]),
        ("reproduce.py", ["--table", "3", "--rows", "z"]),
        ("minidl train", ["--model", "e"]),
        ("minidl reproduce", ["--table", "3", "--rows", "z"]),
        ("minidl compare", ["--methods", "WC; WC"]),
        ("benchmarks/step.py", ["--model", "z"]),
    ],
)
def test_a_wrong_command_line_is_found(script: str, arguments: list[str]) -> None:
    with pytest.raises(MinidlError):
        parse(script, arguments)


def test_brackets_stand_for_two_commands() -> None:
    assert alternatives("step.py [--json F] --loops a\\|b") == ("step.py --loops a", "step.py --json F --loops a")


def test_the_tables_of_results_are_those_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """``python docs/tables.py`` would change nothing."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "docs"))
    import tables

    text = tables.PAGE.read_text(encoding="utf-8")
    assert tables.page(text, tables.tables()) == text
    whole = tables.markdown(tables.whole_recipe(), tables.read_rows(3))
    assert tables.page(text, whole, tables.WHOLE) == text
    assert tables.page(text, "other tables") != text


def test_the_claims_of_results_are_those_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """``python docs/claims.py`` would change nothing."""
    pytest.importorskip("scipy")
    monkeypatch.syspath_prepend(str(CHECKOUT / "docs"))
    import claims

    text = claims.PAGE.read_text(encoding="utf-8")
    assert claims.page(text, claims.claims(), claims.MARKS) == text
    assert claims.verdict(Difference(2.0, 0.1, 0.01, 5)) == "holds"
    assert claims.verdict(Difference(-2.0, 0.1, 0.01, 5)) == "does not hold"
    assert claims.verdict(Difference(2.0, 1.1, 0.2, 5)) == "cannot be said"
    assert [claims.verdict(Difference(2.0, math.nan, math.nan, n)) for n in (0, 1)] == ["not trained", "one seed"]
    # From the tables of Student's distribution: the quantiles at 0.975 and 0.8.
    for pairs, quantiles in ((2, 12.706205 + 1.376382), (5, 2.776445 + 0.940965), (11, 2.228139 + 0.879058)):
        assert claims.detectable(Difference(1.0, 0.5, 0.1, pairs)) == pytest.approx(0.5 * quantiles, rel=1e-5)
    assert math.isnan(claims.detectable(difference({0: 1.0}, {0: 2.0})))
