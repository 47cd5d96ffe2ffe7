"""The command ``minidl predict``: what a trained net finds in pictures."""

import argparse
import sys
from collections.abc import Sequence

from minidl.experiment.cli import own_code
from minidl.experiment.cli.argument_types import path, positive
from minidl.experiment.cli.command import Command, command_line
from minidl.experiment.cli.console import printed_result
from minidl.experiment.options import add_device

TOP, DRAWN = 3, 24
PICTURE, FOLDER = "predictions.png", "predicted"
EXAMPLES = """examples:
  {call} runs/NAME cat.jpg                 which class it is, and how probable the net finds it
  {call} runs/NAME photos/ --top 5         all pictures in a folder and below
  {call} runs/NAME photos/ --json > found.json
  {call} runs/VOC street.jpg --out found/  a net that labels pixels: street-labels.png, in VOC's colours, and an overlay

Pictures may have any size, and may be grey, transparent or rotated. They are prepared as the run prepared its images:
stretched, cropped or padded (see --fit of minidl train). A net that labels pixels takes pictures of any size. A picture
that cannot be read is reported and left out; the exit status is then 1, or 2 if none could be read.
"""


def parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = command.parser("Classify or segment pictures with a trained net, and draw them.", EXAMPLES)
    cli.add_argument(
        "run", type=path, metavar="RUN", help="folder of a run, its checkpoint, or weights of minidl export"
    )
    cli.add_argument(
        "pictures", type=path, nargs="+", metavar="FILE_OR_FOLDER", help="pictures, or folders of pictures"
    )
    cli.add_argument(
        "--top", type=positive, default=TOP, metavar="K", help=f"print the K most likely classes (default: {TOP})"
    )
    cli.add_argument("--json", action="store_true", help="print the results as JSON")
    cli.add_argument(
        "--out", type=path, metavar="DIR", help=f"folder for the drawings (default: {FOLDER} in the folder of RUN)"
    )
    own_code.add_option(cli)
    add_device(cli.add_argument_group("where"))
    return cli


@command_line
@printed_result
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Predict as the arguments say; the exit status is 1 where a picture could not be read, and 2 where none could."""
    options = parser(command).parse_args(arguments)

    from tqdm.auto import tqdm  # from here on, as --help does not wait for NumPy

    from minidl.experiment.cli.console import decoration
    from minidl.experiment.idle import idle_loops
    from minidl.experiment.preparation import choose_device
    from minidl.experiment.saving.files import as_json, make_folder, write_whole
    from minidl.experiment.saving.records import divergence_of
    from minidl.experiment.use.prediction import check_order, find, net_of, predict
    from minidl.experiment.use.prediction_plot import grid
    from minidl.words import printable

    own_code.import_files(vars(options)["import"])
    for note in idle_loops(options.loops, choose_device(vars(options)).device):
        print(f"{command.name}: {note}", file=sys.stderr)
    check_order(options.run, options.pictures)
    net, files = net_of(options.run, options.device), find(options.pictures)
    out = options.out or (options.run if options.run.is_dir() else options.run.parent) / FOLDER
    if options.top > max(TOP, len(net.classes)):
        said = f"--top {options.top} has the effect of --top {len(net.classes)}: the net knows no more classes."
        print(f"{command.name}: {said}", file=sys.stderr)
    make_folder(out)
    if note := divergence_of(options.run):
        print(f"{command.name}: {note}", file=sys.stderr)
    found = []
    with tqdm(total=len(files), desc="pictures", unit=" pictures", leave=False, disable=None) as bar:
        for one in predict(net, files, out, DRAWN):
            found.append(one)
            bar.update()
            if one.error:
                bar.write(f"{command.name}: {printable(one.error)}", file=sys.stderr)
            elif not options.json:
                bar.write(one.sentence(options.top))
    drawn = [one for one in found if one.found and one.drawn]
    picture = None
    if drawn:
        with decoration(command.name, PICTURE):
            write_whole(out / PICTURE, grid(drawn, net.classes, options.top))
            picture = str(out / PICTURE)
    failed = [one for one in found if one.error]
    if options.json:
        fields = [one.as_fields(options.top) for one in found]
        print(as_json({"run": str(options.run), "pictures": fields, "drawn": picture}), end="")
    elif picture:
        print(f"{len(drawn)} of {len(found)} pictures are drawn in {picture}")
    if failed:
        print(f"{command.name}: {len(failed)} of {len(found)} pictures could not be read", file=sys.stderr)
    return 2 if len(failed) == len(found) else 1 if failed else 0
