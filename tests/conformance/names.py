"""Looks up in the real CuPy and cuDNN the names that the sources and the stand-ins use: names.py [FILE].

It prints the missing ones. CuPy can be imported without a driver. ``names.py --write`` writes the file of names that
the stand-in for CuPy reads.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cudnn
import cupy
import numpy as np

ROOT = Path(__file__).parents[2]
EMULATION = ROOT / "tests" / "emulation"
LIST = EMULATION / "cupy" / "names.txt"
FOLDERS = ("kernels", "minidl", "models", "data", "benchmarks", "tests/emulation")
# Names that only the stand-ins have: their own details, and methods that Python needs in any class.
CLASSES = {
    "cupy/cuda.py": cupy.cuda, "cupy/arrays.py": cupy, "cupy/raw.py": cupy, "cupy/formulas.py": cupy, "cudnn.py": cudnn,
}  # fmt: skip


def real_names() -> list[str]:
    """Return the names of CuPy that NumPy has as well: of functions, and of methods of arrays."""
    places = {"": (cupy, np), "linalg.": (cupy.linalg, np.linalg), "random.": (cupy.random, np.random)}
    places |= {"fft.": (cupy.fft, np.fft), "ndarray.": (cupy.ndarray, np.ndarray)}
    both = ((prefix, set(dir(ours)) & set(dir(theirs))) for prefix, (ours, theirs) in places.items())
    return sorted(prefix + name for prefix, names in both for name in names if not name.startswith("_"))


def chains(tree: ast.AST, roots: dict[str, Any]) -> Iterator[tuple[Any, list[str], ast.AST]]:
    """Yield the dotted names that begin with a root, as ``cupy.cuda.Stream`` or ``self.xp.zeros``, longest first."""
    for node in ast.walk(tree):
        names, at = [], node
        while isinstance(at, ast.Attribute):
            if at.attr in roots and names:
                break
            names.insert(0, at.attr)
            at = at.value
        root = at.attr if isinstance(at, ast.Attribute) else getattr(at, "id", None)
        if names and root in roots:
            yield roots[root], names, node


def lookup(root: Any, names: list[str]) -> Any:
    """Return the object that a dotted name leads to; attributes of instances are not followed."""
    for i, name in enumerate(names):
        if not inspect.ismodule(root) and i:
            return None
        root = getattr(root, name)
    return root


def wrong_in(path: Path) -> Iterator[str]:
    """Yield the names and calls of a source that the real packages do not accept."""
    tree = ast.parse(path.read_text("utf-8"))
    roots: dict[str, Any] = {"cupy": cupy, "xp": cupy}
    if path.match("kernels/gpu/cudnn.py"):
        roots["cudnn"] = cudnn
    for root, names, node in chains(tree, roots):
        try:
            lookup(root, names)
        except AttributeError:
            yield f"{path}:{node.lineno}: {'.'.join(names)} is not there"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield from wrong_call(node, roots, path)


def wrong_call(node: ast.Call, roots: dict[str, Any], path: Path) -> Iterator[str]:
    """Yield a sentence if the arguments do not fit the signature of what is called."""
    starred = any(isinstance(arg, ast.Starred) for arg in node.args) or any(k.arg is None for k in node.keywords)
    for root, names, at in chains(node.func, roots):
        if at is not node.func or starred:
            continue
        try:
            signature = inspect.signature(lookup(root, names))
        except (AttributeError, TypeError, ValueError):
            continue  # not there, which is told above, or in C, which does not tell
        try:
            signature.bind(*node.args, **{k.arg: k.value for k in node.keywords if k.arg})
        except TypeError as error:
            yield f"{path}:{node.lineno}: {'.'.join(names)}: {error}"


def wrong_in_stand_ins() -> Iterator[str]:
    """Yield the attributes of a stand-in's class that the real class lacks."""
    for file, module in CLASSES.items():
        for node in ast.parse((EMULATION / file).read_text("utf-8")).body:
            name = {"Tensor": "tensor"}.get(getattr(node, "name", ""), getattr(node, "name", ""))
            if not isinstance(node, ast.ClassDef) or not hasattr(module, name):
                continue
            for part in node.body:
                own = isinstance(part, ast.FunctionDef) and f"{name}.{part.name}" not in OWN
                if own and not part.name.startswith("_") and not hasattr(getattr(module, name), part.name):
                    yield f"{file}:{part.lineno}: {name}.{part.name} is not there"


# Names that the stand-ins have only for the tests.
OWN = {
    "tensor.at",
    "tensor.check",
    "pygraph.roles",
    "pygraph.convolution",
    "ElementwiseKernel.code",
    "ReductionKernel.code",
}

if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        LIST.write_text("\n".join(real_names()) + "\n")
        sys.exit()
    sources = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    sources = [*map(Path, sys.argv[1:])] or sources
    wrong = [sentence for path in sources for sentence in wrong_in(path)] + list(wrong_in_stand_ins())
    if LIST.read_text().split() != real_names():
        wrong.append(
            f"{LIST.relative_to(ROOT)} is not what CuPy {cupy.__version__} has; write it with names.py --write"
        )
    print("\n".join(wrong))
