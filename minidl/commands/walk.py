"""The command ``minidl walk``: one batch through Algorithm 1, step by step."""

import argparse
from collections.abc import Sequence

from minidl.experiment.argument_types import natural, path, words
from minidl.experiment.command import Command, command_line
from minidl.experiment.options import add_data, add_device, add_net, add_step, read

EXAMPLES = """examples:
  {call}                                    net (c), "WC, GC, fully", on the built-in shapes
  {call} --method Baseline                  the same without any normalization
  {call} --method WS --data cifar10         why WS without its gain dies: look at the deviations
  {call} --method EB --after 190            train 190 steps first: look at the angles
  {call} --method "WC, GC" --layer conv3 --filter 7
  {call} --method GC --html walk.html       the same as a page for a browser

Read it from above: what comes into each layer, what its hook makes of the weights, and what goes out; the loss; then
from the last layer up, what its hooks make of the gradient and of the error; what the optimizer makes of the gradient;
the loss of the same batch once more; and one filter in numbers, so that a hook's arithmetic can be followed by hand.
Methods are written as for: minidl train --help
"""
# What a walk does not ask, and a training's settings have. All hook points are to be seen.
FIXED = dict.fromkeys(("test_size", "epochs", "drop_every", "out", "resume", "trace"))
FIXED |= {"place": "hooks", "test_every": 1, "quiet": False}


def parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = command.parser("Go through Algorithm 1 with one batch, and see what every hook does.", EXAMPLES)
    what = cli.add_argument_group("what is looked at")
    what.add_argument("--after", type=natural, default=0, metavar="N", help="train N steps first (default: 0)")
    what.add_argument(
        "--layer", type=words, metavar="NAME", help="the layer of the filter in numbers (default: the first)"
    )
    what.add_argument("--filter", type=natural, default=0, metavar="N", help="its number, from 0 (default: 0)")
    what.add_argument("--html", type=path, metavar="FILE", help="write a page as well; needs the extra study")
    add_net(cli.add_argument_group("in which net"))
    add_data(cli.add_argument_group("on what"))
    add_step(cli.add_argument_group("how (defaults: the paper's recipe for the data set)"))
    add_device(cli.add_argument_group("where"))
    cli.set_defaults(**FIXED)
    return cli


@command_line
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Walk as the arguments say."""
    options, given = read(parser(command), arguments)

    from tqdm.auto import tqdm  # from here on, as --help does not wait for NumPy

    from minidl.experiment.preparation import prepare
    from minidl.experiment.settings import complete
    from minidl.study import page
    from minidl.study.transcript import transcript
    from minidl.study.walk import walk

    html, after = options["html"], options["after"]
    if html:
        page.check(html)
    experiment = prepare(complete(options, given)[0])
    with tqdm(total=after, desc="training", unit=" steps", leave=False, disable=None if after else True) as bar:
        seen = walk(experiment.trainer, experiment.data, after, options["layer"], options["filter"], bar.update)
    print(transcript(seen))
    if html:
        page.write(html, seen)
        print(f"\nThe page: {html}")
    return 0
