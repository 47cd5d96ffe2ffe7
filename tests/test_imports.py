"""The floors of the project: imports run downwards, a definition needs few files, slow packages are imported late."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import minidl
from minidl.commands import COMMANDS

CHECKOUT = Path(__file__).parents[1]
SCRIPTS = ("train", "reproduce")
# From the lowest floor up: a package stands on a floor with all its modules, except those named separately.
FLOORS = (
    ("minidl.kernels", "minidl.words"),
    ("minidl.data",),
    ("minidl",),
    ("minidl.models",),
    ("minidl.experiment", "minidl.study"),
    ("minidl.commands", "minidl.__main__"),
    SCRIPTS,
)


def find_modules() -> dict[str, Path]:
    """Return the files of the project by the names of their modules."""
    modules = {name: CHECKOUT / f"{name}.py" for name in SCRIPTS}
    for folder in ("minidl", "kernels", "data", "models"):
        for path in (CHECKOUT / folder).rglob("*.py"):
            parts = path.relative_to(CHECKOUT).with_suffix("").parts
            name = ".".join(parts if folder == "minidl" else ("minidl", *parts)).removesuffix(".__init__")
            modules[name] = path
    return modules


MODULES = find_modules()


def floor(module: str) -> int:
    """Return the number of the floor that a module stands on."""
    homes = [
        (len(home), number)
        for number, names in enumerate(FLOORS)
        for home in names
        if module == home or module.startswith(f"{home}.")
    ]
    return max(homes)[1]


@cache
def imported(module: str) -> frozenset[str]:
    """Return the modules of the project that a module imports, anywhere in it; see ``imports``."""
    return frozenset(imports(ast.parse(MODULES[module].read_text(encoding="utf-8"))))


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the modules of the project that code imports by a statement, or by a text that is given to a function.

    A name that is completed at run time, such as f"minidl.models.{name}", stands for the package.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports have whole names"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call):
            texts = [str(text.value) for text in map(beginning, node.args) if isinstance(text, ast.Constant)]
            names = [text for text in texts if text.startswith("minidl.")]
        else:
            continue
        for name in names:
            words = name.split(".")
            known = [".".join(words[:i]) for i in range(len(words), 0, -1) if ".".join(words[:i]) in MODULES]
            yield from known[:1]


def beginning(node: ast.expr) -> ast.expr:
    """Return the constant beginning of an f-string, and anything else as it is."""
    return node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node


def test_the_floors_hold_every_module() -> None:
    assert {floor(name) for name in MODULES} == set(range(len(FLOORS)))
    assert len(MODULES) > 100


def test_imports_run_downwards() -> None:
    modules = [name for name in MODULES if name != "minidl"]
    assert not [(module, name) for module in modules for name in imported(module) if floor(name) > floor(module)]


@pytest.mark.parametrize(
    "code, expected",
    [
        ("import minidl.net", "minidl.net"),
        ("from minidl import models", "minidl.models"),
        ("from minidl import __version__", "minidl"),
        ("from minidl.models import build", "minidl.models"),
        ("def f():\n    from minidl.experiment.run import run", "minidl.experiment.run"),
        ("import_module('minidl.models.a')", "minidl.models.a"),
        ("import_module(f'minidl.models.{name}')", "minidl.models"),
        ("import train", "train"),
    ],
)
def test_an_import_is_found_wherever_it_is(code: str, expected: str) -> None:
    assert list(imports(ast.parse(code))) == [expected]


def test_nothing_imports_from_the_package_what_lies_above() -> None:
    """``from minidl import checkpoint`` is for users; inside the project it hides an import of minidl.experiment."""
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "minidl" and module != "minidl":
                names = [alias.name for alias in node.names if f"minidl.{alias.name}" not in MODULES]
                assert names in ([], ["__version__"]), module


def test_nothing_imports_a_script() -> None:
    benchmarks = [ast.parse(path.read_text(encoding="utf-8")) for path in (CHECKOUT / "benchmarks").glob("*.py")]
    found = [set(imports(tree)) for tree in benchmarks] + [imported(module) for module in MODULES]
    assert not set().union(*found) & set(SCRIPTS)


def needed(module: str) -> set[str]:
    """Return the files that a reader opens for a module: itself, what it imports, and so on.

    Packages, which only collect their modules, and the error class are left out.
    """
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in seen and name != "minidl.kernels.errors" and MODULES[name].name != "__init__.py":
            seen.add(name)
            waiting += imported(name)
    return seen


@pytest.mark.parametrize("definition", sorted(path.stem for path in (CHECKOUT / "kernels").glob("[a-z]*.py")))
def test_a_definition_needs_at_most_three_files(definition: str) -> None:
    assert len(needed(f"minidl.kernels.{definition}")) <= 3


def test_the_package_imports_its_parts_only_when_they_are_used() -> None:
    run = "import minidl, sys; print(*sorted(name for name in sys.modules if name.startswith(('minidl', 'numpy'))))"
    done = subprocess.run([sys.executable, "-c", run], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["minidl"]


def test_the_package_has_the_public_names() -> None:
    from minidl.experiment.saving import checkpoint
    from minidl.kernels.errors import MinidlError

    assert minidl.checkpoint is checkpoint
    assert minidl.MinidlError is MinidlError
    assert callable(minidl.models.build)
    assert callable(minidl.data.load)
    assert callable(minidl.kernels.load)
    assert callable(minidl.model)
    assert callable(minidl.normalization)
    assert set(minidl.__all__) <= set(dir(minidl))
    with pytest.raises(AttributeError, match="module 'minidl' has no attribute 'modell'"):
        minidl.modell  # noqa: B018


HEAVY = {"numpy", "PIL", "matplotlib", "numba", "scipy", "safetensors", "tqdm", "threadpoolctl"}


COMMAND_LINES = ["train.py", "reproduce.py", "-m minidl", *(f"-m minidl {name}" for name in COMMANDS)]


@pytest.mark.parametrize("words", COMMAND_LINES)
def test_help_imports_nothing_slow(words: str) -> None:
    """The limit is in processor time, which equals elapsed time on an idle machine."""
    before = os.times()
    command = [sys.executable, "-X", "importtime", *words.split(), "--help"]
    done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    after = os.times()
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & HEAVY
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5
