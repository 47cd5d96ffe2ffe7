"""The command ``minidl report``: an HTML page that shows what runs did."""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from minidl.experiment.cli import own_code
from minidl.experiment.cli.argument_types import path, place, positive
from minidl.experiment.cli.command import Command, command_line

NEEDED = {"altair": "altair", "vl_convert": "vl-convert-python"}  # packages of the extra "study", by their modules
EXAMPLES = """examples:
  {call} runs/NAME                              what one run did, in runs/NAME/report.html
  {call} runs/BASELINE runs/WC runs/WC_GC       methods side by side; the first is drawn first
  {call} runs/WC-seed*                          runs that differ only in the seed: mean and deviation
  {call} runs/NAME --out page.html              the page somewhere else
  {call} runs/NAME --data-root sets/            where the test images are, if they have moved

For any run, the page shows accuracy and curves, the net with its hook points, the first filters before and after, and
predictions. To see what each hook did to weights, gradients and errors, train with: minidl train --trace
The page is one file that works offline, so you can send it to others.
"""


def parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = command.parser("Write an HTML page that shows what runs did, side by side.", EXAMPLES)
    cli.add_argument("runs", type=path, nargs="+", metavar="RUN", help="folder of a run")
    cli.add_argument(
        "--out", type=path, metavar="FILE", help="the page (default: report.html in the folder of the first run)"
    )
    cli.add_argument(
        "--data-root", type=place, metavar="DIR", help="folder of the data sets (default: the one that the runs used)"
    )
    cli.add_argument(
        "--images",
        type=positive,
        metavar="N",
        help="run the nets on N test images again (default: 1,000, and 16 if every pixel has a label)",
    )
    own_code.add_option(cli)
    return cli


@command_line
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Write the page that the arguments ask for, and say where it is."""
    options = parser(command).parse_args(arguments)

    from minidl.kernels.errors import MinidlError  # from here on, as --help does not wait for NumPy

    if missing := [package for module, package in NEEDED.items() if find_spec(module) is None]:
        raise MinidlError(
            f"a report needs packages that are not installed ({', '.join(missing)}); install them with: "
            "pip install -e '.[study]', or: make setup"
        )
    from minidl.study.report.write import distinct, report

    imported = [file.record for file in own_code.import_files(vars(options)["import"])]
    runs = distinct(options.runs)
    if again := [str(folder) for folder in options.runs if folder not in runs or options.runs.count(folder) > 1]:
        print(f"{command.name}: {again[0]} is given twice and shown once.", file=sys.stderr)
    page = report(runs, options.out, options.data_root, options.images, imported)
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB; open it in a browser: {page.absolute().as_uri()}")
    return 0
