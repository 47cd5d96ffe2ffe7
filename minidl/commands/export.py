"""The command ``minidl export``: a trained net for other programs."""

import argparse
import sys
from collections.abc import Sequence

from minidl.experiment.cli import own_code
from minidl.experiment.cli.argument_types import path, words
from minidl.experiment.cli.command import Command, command_line

EXAMPLES = """examples:
  {call} runs/NAME                              the weights, in runs/NAME/NAME.safetensors
  {call} runs/NAME --format pytorch             with PyTorch's names and axes, in runs/NAME/NAME-pytorch.safetensors
  {call} runs/NAME --format onnx                the whole net, in runs/NAME/model.onnx
  {call} runs/NAME --format onnx --to net.onnx  the file somewhere else

safetensors: the weights with our names and axes (conv1.weights: out, y, x, in). pytorch: the weights with PyTorch's
names and axes (conv1.weight: out, in, y, x), for load_state_dict. Both can be read by minidl train --init FILE. No file
is a pickle. onnx: the whole net, with BN folded into the convolutions and WC already applied; it takes float32 images
(samples, channels, y, x), prepared as for the net, and returns logits. Each file also says how to prepare images, and
has the names of the classes. docs/use.md lists the names and axes. Writing onnx needs: pip install -e '.[export]'
"""


def parser(command: Command) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = command.parser("Write a trained net as a file that other programs read.", EXAMPLES)
    cli.add_argument("run", type=path, metavar="RUN", help="folder of a run, or its checkpoint")
    cli.add_argument(
        "--format",
        type=words,
        default="safetensors",
        metavar="safetensors|pytorch|onnx",
        help="kind of file (default: safetensors)",
    )
    cli.add_argument(
        "--to",
        type=path,
        metavar="FILE",
        help="the file (default: NAME.safetensors, NAME-pytorch.safetensors or model.onnx in the folder of RUN)",
    )
    own_code.add_option(cli)
    return cli


@command_line
def main(arguments: Sequence[str] | None, command: Command) -> int:
    """Export as the arguments say, and say where the file is."""
    options = parser(command).parse_args(arguments)

    from minidl.experiment.saving.records import divergence_of
    from minidl.experiment.use.export import export  # from here on, as --help does not wait for NumPy

    own_code.import_files(vars(options)["import"])
    file, net = export(options.run, options.format, options.to)
    if note := divergence_of(options.run):
        print(f"{command.name}: {note}", file=sys.stderr)
    print(f"{file}: {net.parameter_count:,} parameters of net ({net.name}), {file.stat().st_size / 1e6:.1f} MB")
    return 0
