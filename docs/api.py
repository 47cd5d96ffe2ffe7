"""Writes a page for each module of minidl, from its docstrings, into a folder: make docs.

The package is imported from the links that ``make links`` makes, where all of it is in one folder, and CuPy from its
stand-in of the tests, by which the modules of the GPU can be imported on any machine.
"""

import os
import sys
import warnings
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules, walk_packages

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = CHECKOUT / "build" / "package"
sys.path[:0] = [str(PACKAGE), str(CHECKOUT / "tests" / "emulation")]


def write(folder: Path) -> None:
    """Write the pages into a folder; what pdoc cannot import or show is an error."""
    import pdoc

    import minidl

    os.chdir(PACKAGE)  # pdoc takes a folder of the package's name for the package
    warnings.simplefilter("error")
    for name in minidl.__all__:
        setattr(minidl, name, getattr(minidl, name))  # which come when they are asked for; pdoc does not ask
    packages = [import_module(found.name) for found in walk_packages(minidl.__path__, "minidl.") if found.ispkg]
    for package in [minidl, *packages]:
        if hasattr(package, "__all__"):  # beside which pdoc would leave its modules out
            package.__all__ += [name for _, name, _ in iter_modules(package.__path__) if name not in package.__all__]
    pdoc.render.configure(docformat="markdown")
    pdoc.pdoc("minidl", output_directory=folder)


if __name__ == "__main__":
    pages = Path(sys.argv[1]).resolve()
    write(pages)
    print(f"the pages begin with {pages / 'index.html'}")
