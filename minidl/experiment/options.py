"""The options of ``minidl train``."""

import argparse
from collections.abc import Sequence
from typing import Any

from minidl.experiment import own_code
from minidl.experiment.argument_types import decay, natural, place, positive, rate, side, words, workers
from minidl.experiment.command import Command
from minidl.experiment.recipes import FOLDER, RECIPES

Options = dict[str, Any]
TRACE_EVERY = 50  # steps
Group = Any  # of options; argparse has no public name for it
EXAMPLES = """examples:
  {call}                                          net (c), "WC, GC, fully", on the built-in shapes
  {call} --method Baseline                        the same without any normalization
  {call} --data cifar10 --epochs 10               ten epochs of the paper's recipe on CIFAR-10
  {call} --model b --data cifar10                 the ResNet-34 with "WC, GC, BN"
  {call} --model d --data voc2012                 the U-net that labels every pixel
  {call} --data cifar10 --method "weight channel" a row of Table 2
  {call} --data photos/                           your own images, one subfolder for each class
  {call} --data photos/ --image-size 64 --fit crop --init runs/NAME
  {call} --import my_norm.py --method "median, GC" a normalization of your own, see docs/your-own.md
  {call} --trace                                  write down what every hook does, for minidl report
  {call} --resume runs/NAME --epochs 20           go on with an earlier run, up to 20 epochs, as its learning rate falls
  mpiexec -n 2 {call}                             the same training, each batch shared by two ranks

A method is written as in the paper's tables: Baseline, or words joined by commas:
  of the weights     WN  WC  WS  "weight global|tensor|channel|instance"
  of the gradients   GC          "gradient global|tensor|channel|instance"
  of the errors      EBN ELN EB EL  "error global|sample|channel|instance"
  of the data        BN LN IN GN    layers between convolutions and their ReLU
  fully              normalize the penultimate fully connected layer too, not the convolutions alone

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


def add_options(cli: argparse.ArgumentParser) -> None:
    """Add all options of a training to a command line."""
    add_net(cli.add_argument_group("what is trained"))
    data = cli.add_argument_group("on what")
    add_data(data)
    _add_test_size(data)
    how = cli.add_argument_group("how (defaults: the paper's recipe for the data set)")
    _add_schedule(how)
    add_step(how)
    where = cli.add_argument_group("where")
    add_device(where)
    _add_run(where)


def as_words(options: Options) -> list[str]:
    """Return the command line that says options: those that have a value, flags that are true, lists word by word.

    A value that begins with - is joined to its name, as argparse would take it for an option.
    """
    words = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        for one in value if isinstance(value, list) else [value]:
            if one is True:
                words.append(option)
            elif one is not None and one is not False:
                words += [f"{option}={one}"] if str(one).startswith("-") else [option, str(one)]
    return words


def read(cli: argparse.ArgumentParser, arguments: Sequence[str] | None) -> tuple[Options, Options]:
    """Return all options of a command line, once with the defaults and once with None where nothing was given."""
    options = vars(cli.parse_args(arguments))
    return options, vars(cli.parse_args(arguments, argparse.Namespace(**dict.fromkeys(options))))


def add_net(group: Group) -> None:
    """Add what a net is made by: its model and its method."""
    group.add_argument(
        "--model",
        type=words,
        default="c",
        metavar="a|b|b-cifar|c|d|NAME",
        help="a net of Figure 1; b-cifar is b with a stem for small images, d labels every pixel; or the name of your "
        "own in a file that you --import (default: c)",
    )
    group.add_argument(
        "--method",
        type=words,
        metavar="TEXT",
        help='what is normalized (default: the best of the paper\'s for the net, "WC, GC, fully" for a and c, '
        '"WC, GC, BN" for b and d)',
    )
    group.add_argument(
        "--mode",
        type=words,
        default="projection",
        metavar="projection|reparametrization",
        help="whether normalized weights replace the weights, as in Algorithm 1, or the gradient goes back through "
        "the normalization (default: projection)",
    )
    group.add_argument(
        "--init",
        type=place,
        metavar="RUN|FILE",
        help="begin with the weights of a run, or of a file that minidl export wrote, in place of random ones; where "
        "it has another number of classes, the last layer begins anew",
    )
    own_code.add_option(group)


def add_data(group: Group) -> None:
    """Add the data to train on."""
    group.add_argument(
        "--data",
        type=place,
        default="shapes",
        metavar="shapes|cifar10|cifar100|voc2012|FOLDER",
        help="a data set, or a folder of images with one subfolder for each class (default: shapes, built in)",
    )
    group.add_argument("--data-root", type=place, metavar="DIR", help="where data sets lie or are downloaded to")
    group.add_argument(
        "--image-size",
        type=side,
        metavar="N",
        help="make the images N pixels high and wide (for a folder of images; default: 32)",
    )
    group.add_argument(
        "--fit",
        type=words,
        metavar="stretch|crop|pad",
        help="how images get that size: stretch changes their aspect ratio, crop cuts out their middle, pad keeps all "
        "of them on black "
        "(for a folder of images; default: stretch)",
    )
    group.add_argument("--train-size", type=positive, metavar="N", help="train on N images (default: all)")
    group.add_argument(
        "--shrink",
        type=positive,
        default=1,
        metavar="N",
        help="train and test on images N times smaller, which is faster (for voc2012; default: 1)",
    )
    group.add_argument(
        "--crop",
        type=positive,
        metavar="N",
        help="train on squares with N pixels a side, cut out of the images (for voc2012; default: 227)",
    )


def _add_test_size(group: Group) -> None:
    """Add how much is tested."""
    group.add_argument("--test-size", type=positive, metavar="N", help="test on N images (default: all)")


def add_step(group: Group) -> None:
    """Add what a training step depends on."""
    group.add_argument("--batch-size", type=positive, metavar="N", help="images in a step")
    group.add_argument("--optimizer", type=words, metavar="adam|sgd", help="Algorithm 3 or Algorithm 2")
    group.add_argument(
        "--variant",
        type=words,
        metavar="NAME",
        help="of adam: standard or as_printed (Algorithm 3 to the letter); of sgd: paper or dlib",
    )
    group.add_argument("--learning-rate", type=rate, metavar="X", help="at the beginning")
    group.add_argument(
        "--weight-decay",
        type=decay,
        metavar="X",
        help="X times the weights is added to their gradients (L2)",
    )
    group.add_argument("--seed", type=natural, default=0, metavar="N", help="seed of every random number (default: 0)")


def _add_schedule(group: Group) -> None:
    """Add what an epoch and a run depend on."""
    group.add_argument("--epochs", type=positive, metavar="N", help="how many times every image is seen")
    group.add_argument(
        "--drop-every", type=positive, metavar="N", help="divide the learning rate by 10 after every N epochs"
    )
    group.add_argument(
        "--test-every",
        type=positive,
        default=1,
        metavar="N",
        help="test after every N epochs, and after the last one (default: 1)",
    )
    group.add_argument(
        "--place",
        type=words,
        default="optimizer",
        metavar="hooks|optimizer",
        help="where WC and GC are done: at the hook points (Algorithm 1), or inside the update (Algorithms 2 and 3), "
        "which is the same training, and faster (default: optimizer)",
    )
    group.add_argument(
        "--sync-bn",
        action="store_true",
        help="where several ranks share a batch (mpiexec -n N, see docs/scale.md): let BN, and the normalizations of "
        "errors over a batch, take the batch of all ranks (default: each its own share)",
    )


def add_device(group: Group) -> None:
    """Add what computes."""
    group.add_argument(
        "--device",
        type=words,
        default="auto",
        metavar="auto|cpu|gpu|reference",
        help="auto takes a GPU where there is one; of several the first, or that of CUDA_VISIBLE_DEVICES=N in the "
        "environment; reference computes on the CPU as the equations say, slowly, to be read and debugged (default: "
        "auto)",
    )
    group.add_argument(
        "--precision",
        type=words,
        metavar="fp32|tf32|bf16",
        help="to which a GPU rounds what it multiplies; sums and weights are float32 in any case (default: tf32 "
        "where the GPU has it, else fp32)",
    )
    group.add_argument(
        "--threads", type=workers, metavar="N", help="CPU threads of each process (default: one for each core)"
    )
    group.add_argument(
        "--loops",
        type=words,
        metavar="numba|numpy",
        help="what computes the CPU's innermost loops (default: numba where it is installed)",
    )


def _add_run(group: Group) -> None:
    """Add where the record of a run is, and what is printed."""
    group.add_argument("--out", type=place, metavar="DIR", help="folder of the run (default: a new one under runs/)")
    group.add_argument(
        "--resume",
        type=place,
        metavar="DIR",
        help="go on with the run in DIR, with its settings; --data and --data-root may say where its data are now, "
        "and --crop may be another",
    )
    group.add_argument(
        "--save-every",
        type=rate,
        default=5.0,
        metavar="MINUTES",
        help="save every so many minutes, even within an epoch; the end of an epoch is saved anyway, or of several "
        "where they are very short (default: 5)",
    )
    group.add_argument(
        "--trace",
        nargs="?",
        const=TRACE_EVERY,
        type=positive,
        metavar="K",
        help="write down what every normalization does, in trace.csv, carry.csv and filters.npz: at steps 0, 1, 2, 5, "
        f"10, 20, 50 and every K-th ({TRACE_EVERY} where no number is given); the training stays the same",
    )
    group.add_argument("--quiet", action="store_true", help="print the result alone")
