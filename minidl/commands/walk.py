"""The command ``minidl walk``: one batch through Algorithm 1, step by step."""

import argparse
import sys
from collections.abc import Sequence

from minidl.experiment.cli.argument_types import natural, path, words
from minidl.experiment.cli.command import Command, command_line
from minidl.experiment.cli.console import printed_result
from minidl.experiment.options import add_data, add_device, add_net, add_step, read

EXAMPLES = """examples:
  {call}                                    net (c), "WC, GC, fully", on the built-in shapes
  {call} --method Baseline                  the same without any normalization
  {call} --method WS --data cifar10         why WS without its gain dies: look at the deviations
  {call} --method EB --after 190            train 190 steps first: look at the angles
  {call} --method "WC, GC" --layer conv3 --filter 7
  {call} --method GC --html walk.html       the same as a page for a browser

The output follows one training step. Forward, for each layer: its input, its weights before and after the hook, its
output; then the loss. Backward, from the last layer to the first: the gradient and the error before and after their
hooks. Then what the optimizer makes of the gradient, and the loss of the same batch after the update. At the end, one
filter in numbers, so that you can check a hook's arithmetic by hand. To learn how to write a method, call:
minidl train --help
"""
# Settings of a training that a walk has no options for. It shows all hook points, so place is "hooks".
FIXED = dict.fromkeys(("test_size", "epochs", "drop_every", "out", "resume", "trace"))
FIXED |= {"place": "hooks", "test_every": 1, "quiet": False, "sync_bn": False}


def parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = command.parser("Go through Algorithm 1 with one batch and show what every hook does.", EXAMPLES)
    what = cli.add_argument_group("what is looked at")
    what.add_argument("--after", type=natural, default=0, metavar="N", help="train N steps first (default: 0)")
    what.add_argument(
        "--layer", type=words, metavar="NAME", help="layer whose filter is printed in numbers (default: the first)"
    )
    what.add_argument(
        "--filter", type=natural, default=0, metavar="N", help="number of that filter, from 0 (default: 0)"
    )
    what.add_argument("--html", type=path, metavar="FILE", help="also write an HTML page; needs the extra study")
    add_net(cli.add_argument_group("in which net"))
    add_data(cli.add_argument_group("on what"))
    add_step(cli.add_argument_group("how (defaults: the paper's recipe for the data set)"))
    add_device(cli.add_argument_group("where"))
    cli.set_defaults(**FIXED)
    return cli


@command_line
@printed_result
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Walk as the arguments say."""
    options, given = read(parser(command), arguments)

    from tqdm.auto import tqdm  # from here on, as --help does not wait for NumPy

    from minidl.experiment.preparation import prepare
    from minidl.experiment.settings import complete
    from minidl.study import page
    from minidl.study.transcript import transcript
    from minidl.study.walk import walk
    from minidl.words import printable

    html, after = options["html"], options["after"]
    if html:
        page.check(html)
    experiment = prepare(complete(options, given)[0])
    with tqdm(total=after, desc="training", unit=" steps", leave=False, disable=None if after else True) as bar:
        seen = walk(experiment.trainer, experiment.data, after, options["layer"], options["filter"], bar.update)
    for note in experiment.notes:
        print(f"{command.name}: {printable(note)}", file=sys.stderr)
    print(transcript(seen))
    if html:
        page.write(html, seen)
        print(f"\nThe page: {html}")
    return 0
