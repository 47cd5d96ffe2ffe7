"""Writes a page for each module of minidl, from its docstrings, into a folder: make docs.

The package is imported from the links that ``make links`` makes, where all of it is in one folder, and CuPy from its
stand-in of the tests, by which the modules of the GPU can be imported on any machine.
"""

import os
import sys
import warnings
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = CHECKOUT / "build" / "package"
sys.path[:0] = [str(PACKAGE), str(CHECKOUT / "tests" / "emulation")]

import pdoc

import minidl

if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve()
    os.chdir(PACKAGE)  # pdoc takes a folder of the package's name for the package
    warnings.simplefilter("error")  # what pdoc cannot import or show
    for name in minidl.__all__:
        setattr(minidl, name, getattr(minidl, name))  # they come when they are asked for, which pdoc does not do
    pdoc.render.configure(docformat="markdown")
    pdoc.pdoc("minidl", output_directory=folder)
    print(f"the pages begin with {folder / 'index.html'}")
