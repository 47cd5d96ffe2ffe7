"""The options of ``minidl train``, in groups that other commands have, too."""

import argparse
from collections.abc import Sequence
from typing import Any

from minidl.experiment.cli import own_code
from minidl.experiment.cli.argument_types import decay, natural, place, positive, rate, side, words, workers

Options = dict[str, Any]
TRACE_EVERY = 50  # steps
Group = Any  # of options; argparse has no public name for it


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
    """Return the command line of some options: those with a value, flags that are true, lists word by word.

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
    """Return all options of a command line, once with the defaults and once with None for those not given."""
    options = vars(cli.parse_args(arguments))
    return options, vars(cli.parse_args(arguments, argparse.Namespace(**dict.fromkeys(options))))


def add_net(group: Group) -> None:
    """Add the options that define a net: its model, its method, its first weights."""
    group.add_argument(
        "--model",
        type=words,
        default="c",
        metavar="a|b|b-cifar|c|d|NAME",
        help="a net of Figure 1: b-cifar is b with a stem for small images, d labels every pixel; or a net of your own "
        "from an --import file (default: c)",
    )
    group.add_argument(
        "--method",
        type=words,
        metavar="TEXT",
        help='what to normalize, see below (default: the best method of the paper for the net: "WC, GC, fully" for a '
        'and c, "WC, GC, BN" for b and d)',
    )
    group.add_argument(
        "--mode",
        type=words,
        default="projection",
        metavar="projection|reparametrization",
        help="projection: the normalized weights replace the weights, as in Algorithm 1; reparametrization: the "
        "gradient goes back through the normalization (default: projection)",
    )
    group.add_argument(
        "--init",
        type=place,
        metavar="RUN|FILE",
        help="begin with the weights of a run, or of a file that minidl export wrote, instead of random weights; if "
        "the number of classes differs, the last layer begins with random weights",
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
    group.add_argument("--data-root", type=place, metavar="DIR", help="folder of the data sets, also for downloads")
    group.add_argument(
        "--image-size",
        type=side,
        metavar="N",
        help="resize the images to N x N pixels (for a folder of images; default: 32)",
    )
    group.add_argument(
        "--fit",
        type=words,
        metavar="stretch|crop|pad",
        help="how to resize an image: stretch changes its aspect ratio, crop keeps only its middle, pad keeps all of "
        "it and adds black borders (for a folder of images; default: stretch)",
    )
    group.add_argument("--train-size", type=positive, metavar="N", help="train on N images (default: all)")
    group.add_argument(
        "--shrink",
        type=positive,
        default=1,
        metavar="N",
        help="make the images N times smaller, which is faster (for voc2012; default: 1)",
    )
    group.add_argument(
        "--crop",
        type=positive,
        metavar="N",
        help="train on random crops of N x N pixels (for voc2012; default: 227)",
    )


def _add_test_size(group: Group) -> None:
    """Add the number of test images."""
    group.add_argument("--test-size", type=positive, metavar="N", help="test on N images (default: all)")


def add_step(group: Group) -> None:
    """Add the options that a training step depends on."""
    group.add_argument("--batch-size", type=positive, metavar="N", help="images in a batch")
    group.add_argument("--optimizer", type=words, metavar="adam|sgd", help="adam: Algorithm 3; sgd: Algorithm 2")
    group.add_argument(
        "--variant",
        type=words,
        metavar="NAME",
        help="form of the optimizer; adam: standard or as_printed (exactly Algorithm 3); sgd: paper or dlib",
    )
    group.add_argument("--learning-rate", type=rate, metavar="X", help="learning rate of the first epochs")
    group.add_argument(
        "--weight-decay",
        type=decay,
        metavar="X",
        help="add X times the weights to their gradients (L2)",
    )
    group.add_argument("--seed", type=natural, default=0, metavar="N", help="seed of every random number (default: 0)")


def _add_schedule(group: Group) -> None:
    """Add the options that an epoch and a run depend on."""
    group.add_argument("--epochs", type=positive, metavar="N", help="number of passes over all training images")
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
        help="where to apply WC and GC: at the hook points (Algorithm 1), or inside the update (Algorithms 2 and 3); "
        "both give the same training, optimizer is faster (default: optimizer)",
    )
    group.add_argument(
        "--sync-bn",
        action="store_true",
        help="with several ranks (mpiexec -n N, see docs/scale.md): compute the means of BN, and of error "
        "normalizations over a batch, from the whole batch (default: each rank uses its own share)",
    )


def add_device(group: Group) -> None:
    """Add the options of the device."""
    group.add_argument(
        "--device",
        type=words,
        default="auto",
        metavar="auto|cpu|gpu|reference",
        help="auto: a GPU if there is one; of several GPUs the first, unless the environment sets "
        "CUDA_VISIBLE_DEVICES=N; reference: on the CPU, each operation straight from its equation, slow, for reading "
        "and debugging (default: auto)",
    )
    group.add_argument(
        "--precision",
        type=words,
        metavar="fp32|tf32|bf16",
        help="precision of a GPU's multiplications; sums and weights are always float32 (default: tf32 if the GPU has "
        "it, otherwise fp32)",
    )
    group.add_argument(
        "--threads", type=workers, metavar="N", help="CPU threads of each process (default: one for each core)"
    )
    group.add_argument(
        "--loops",
        type=words,
        metavar="numba|numpy",
        help="what computes the innermost loops on the CPU (default: numba if it is installed)",
    )


def _add_run(group: Group) -> None:
    """Add the options of a run's record and output."""
    group.add_argument("--out", type=place, metavar="DIR", help="folder of the run (default: a new one under runs/)")
    group.add_argument(
        "--resume",
        type=place,
        metavar="DIR",
        help="continue the run in DIR with its settings; give --data or --data-root if its data have moved; --crop "
        "may change",
    )
    group.add_argument(
        "--save-every",
        type=rate,
        default=5.0,
        metavar="MINUTES",
        help="save at least this often, also within an epoch; minidl also saves after every epoch, or after several "
        "epochs if they are very short (default: 5)",
    )
    group.add_argument(
        "--trace",
        nargs="?",
        const=TRACE_EVERY,
        type=positive,
        metavar="K",
        help="record what every normalization does, in trace.csv, carry.csv and filters.npz, at steps 0, 1, 2, 5, 10, "
        f"20, 50 and every K-th step (K is {TRACE_EVERY} if you give none); the training stays the same",
    )
    group.add_argument("--quiet", action="store_true", help="print only the result")
