"""The command ``minidl gradcheck``: compares gradients with central differences."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from minidl.experiment.cli import own_code
from minidl.experiment.cli.argument_types import words
from minidl.experiment.cli.command import Command, command_line
from minidl.experiment.cli.console import printed_result

EXAMPLES = """examples:
  {call}                                       every kind of layer, and the adjoint of every normalization
  {call} --layer conv                          only the convolutions; or: "conv 3x3", fc, bn, residual ...
  {call} --method "WC, GC, EB"                 layers with these hooks
  {call} --method WS --mode reparametrization  the gradient through the normalization of the weights
  {call} --model c --method "WC, GC"           each parameter of a net, with its loss
  {call} --import my_own.py --layer leaky      your own layer, see docs/your-own.md
  {call} --device reference                    with the definitions of all operations

f is a random weighted sum of the outputs. For each number x that f depends on, the gradient is compared with
(f(x + h) - f(x - h))/2h in double precision. For a gradient that fails, minidl looks for a cause: a factor, an axis, a
missing term. The exit status is 0 if all pass, 1 if one fails.
"""


def parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = command.parser("Check gradients against their definition, and explain those that are wrong.", EXAMPLES)
    what = cli.add_mutually_exclusive_group()
    what.add_argument(
        "--layer",
        type=words,
        metavar="NAME",
        help="a kind of layer, by its first words, or your own layer, by its kind or its class (default: all)",
    )
    what.add_argument(
        "--model",
        type=words,
        metavar="a|b|b-cifar|c|d|NAME",
        help="check a whole net instead of layers: one of Figure 1, or your own",
    )
    cli.add_argument(
        "--method",
        type=words,
        metavar="TEXT",
        help="hooks to check, written as for minidl train (default: none for layers, the paper's best for a net)",
    )
    cli.add_argument(
        "--mode",
        type=words,
        default="projection",
        metavar="projection|reparametrization",
        help="how weights are normalized, as for minidl train (default: projection)",
    )
    cli.add_argument(
        "--device", type=words, default="cpu", metavar="cpu|gpu|reference", help="what computes (default: cpu)"
    )
    cli.add_argument(
        "--loops",
        type=words,
        metavar="numpy|numba",
        help="what computes the innermost loops on the CPU; numba compiles them first (default: numpy)",
    )
    own_code.add_option(cli)
    return cli


@command_line
@printed_result
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Check as the arguments say; the exit status is 1 if a gradient is wrong or a user-defined layer was not tried."""
    options = parser(command).parse_args(arguments)

    from tqdm.auto import tqdm  # from here on, as --help does not wait for NumPy

    from minidl import kernels
    from minidl.experiment.idle import idle_loops, idle_mode
    from minidl.kernels.cpu import loops
    from minidl.layer import Layer
    from minidl.method import parse
    from minidl.models import best_method
    from minidl.study.checking import check_layers, check_model
    from minidl.study.verdict import verdict

    files = own_code.import_files(vars(options)["import"])
    loops.use(options.loops or "numpy")
    shelf = kernels.load(options.device)
    method = parse(options.method or (best_method(options.model) if options.model else "Baseline"))
    for note in (*idle_mode(options.mode, method), *idle_loops(options.loops, shelf.device)):
        print(f"{command.name}: {note}", file=sys.stderr)
    progress = partial(tqdm, desc="gradients", leave=False, disable=None)
    if options.model:
        print(f"{command.name}: checking net ({options.model}); deep nets take some minutes", file=sys.stderr)
        findings = check_model(options.model, options.method, options.mode, shelf, progress)
    else:
        own = [kind for file in files for kind in file.classes(Layer)]
        findings = check_layers(options.layer, options.method, options.mode, shelf, own, progress)
    print(verdict(findings, shelf))
    return 1 if findings.failed or findings.untried else 0
