"""The command ``minidl train``, which is train.py in a checkout."""

import argparse
from collections.abc import Sequence

from minidl.experiment.cli.command import Command, command_line
from minidl.experiment.options import add_options, read
from minidl.experiment.ranks import launcher
from minidl.experiment.ranks.job import job
from minidl.experiment.recipes import FOLDER, RECIPES

EXAMPLES = """examples:
  {call}                                          net (c), "WC, GC, fully", on the built-in shapes
  {call} --method Baseline                        the same without any normalization
  {call} --data cifar10 --epochs 10               ten epochs of the paper's recipe on CIFAR-10
  {call} --model b --data cifar10                 the ResNet-34 with "WC, GC, BN"
  {call} --model d --data voc2012                 the U-net that labels every pixel
  {call} --data cifar10 --method "weight channel" a row of Table 2
  {call} --data photos/                           your own images, one subfolder for each class
  {call} --data photos/ --image-size 64 --fit crop --init runs/NAME
  {call} --import my_norm.py --method "median, GC" your own normalization, see docs/your-own.md
  {call} --trace                                  record what every hook does, for minidl report
  {call} --resume runs/NAME --epochs 20           continue an earlier run up to epoch 20, with its learning-rate steps
  mpiexec -n 2 {call}                             the same training, each batch divided between two ranks

A method is written as in the paper's tables: Baseline, or words joined by commas:
  of the weights     WN  WC  WS  "weight global|tensor|channel|instance"
  of the gradients   GC          "gradient global|tensor|channel|instance"
  of the errors      EBN ELN EB EL  "error global|sample|channel|instance"
  of the data        BN LN IN GN    layers between convolutions and their ReLU
  fully              normalize the penultimate fully connected layer too, not only the convolutions

Options that you leave out come from the recipe of the data set (for CIFAR and VOC2012, section 5 of the paper):
"""


def parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = command.parser(
        "Train a net of the paper, with normalizations at the hook points of back-propagation.", EXAMPLES + _recipes()
    )
    add_options(cli)
    return cli


def _recipes() -> str:
    """Return the recipes as a table, a line for each data set."""
    form = "  {:9} {:9} {:>13} {:>12} {:>10} {:>6} {:>10}".format
    lines = [form("", "optimizer", "learning rate", "weight decay", "batch size", "epochs", "drop every")]
    for name, one in (RECIPES | {"FOLDER": FOLDER}).items():
        numbers = f"{one.learning_rate:g}", f"{one.weight_decay:g}", one.batch_size, one.epochs, one.drop_every
        lines.append(form(name, one.optimizer, *numbers))
    return "\n".join(lines)


@command_line
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Train as the arguments say."""
    with job(command) as (ranks, called):
        options, given = read(parser(command), arguments)
        launcher.refuse_tasks()
        ranks.settle(options["threads"])

        from minidl.experiment.run import run  # from here on, as --help does not wait for NumPy
        from minidl.experiment.settings import complete

        run(*complete(options, given), called, ranks)
    return 0
