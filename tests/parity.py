"""Compares the logits of a net in minidl, ONNX Runtime and PyTorch: python tests/parity.py RUN ...

For each run, a line of a table: the largest logit for some images of its test set, how far those of ONNX Runtime and of
PyTorch are from ours, and how far all three are from what PyTorch computes in float64 with the same weights.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors.numpy import load_file

from minidl import checkpoint
from minidl.experiment import sources
from minidl.experiment.saving.records import read_settings
from minidl.experiment.use.export import export

HEAD = """
| net | method | mode | largest logit | onnxruntime | PyTorch | ours, exact | onnxruntime, exact | PyTorch, exact |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"""
IMAGES = 16


def as_theirs(data):
    """Return images in the layout of other programs."""
    return np.ascontiguousarray(data.transpose(0, 3, 1, 2))


def as_ours(logits):
    """Return logits of other programs in our layout."""
    return logits if logits.ndim == 2 else logits.transpose(0, 2, 3, 1)


def by_onnx(path, data):
    """Return the logits of ONNX Runtime, in our order."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    [entry] = session.get_inputs()
    assert (entry.name, entry.type, entry.shape[0]) == ("data", "tensor(float)", "samples")
    return as_ours(session.run(["logits"], {"data": data})[0])


def by_torch(net, path, data):
    """Return the logits of PyTorch's layers with the weights of an export, in our order and in the type of the data."""
    import torch
    from torch_module import Module

    module = Module(net)
    state = {name: torch.tensor(array) for name, array in load_file(path).items()}
    module.load_state_dict(state)  # strict: the names must be exactly these
    data = torch.tensor(data)
    with torch.no_grad():
        return as_ours(module.to(data.dtype)(data).numpy())


class Parity:
    """The logits of the net of a run for the same data: ours, those of the other programs, and those in float64."""

    def __init__(self, run, data, place):
        model, _ = export(run, "onnx", place / "model.onnx")
        state, self.net = export(run, "pytorch", place / "net.safetensors")
        self.ours, theirs = checkpoint.load(run, "cpu").predict(data), as_theirs(data)
        self.exact = by_torch(self.net, state, theirs.astype(np.float64))
        self.others = by_onnx(model, theirs), by_torch(self.net, state, theirs)

    @property
    def largest(self):
        """The largest logit."""
        return np.abs(self.exact).max()

    @property
    def differences(self):
        """How far ONNX Runtime and PyTorch are from ours, then ours, ONNX Runtime and PyTorch from float64."""
        pairs = [(self.ours, other) for other in self.others]
        pairs += [(self.exact, one) for one in (self.ours, *self.others)]
        return [np.abs(one - other).max() for one, other in pairs]

    def row(self, *names):
        """Return a line of the table."""
        return f"| {' | '.join([*names, f'{self.largest:.2f}', *(f'{d:.1e}' for d in self.differences)])} |"


def main():
    """Print a line for each run."""
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run")
    print(HEAD)
    for run in cli.parse_args().runs:
        settings = read_settings(run)
        _, test = sources.load(settings)
        net = checkpoint.load(run, "cpu")
        y, x, _ = net.shape
        corners = [image[:y, :x] for image in test.images[:IMAGES]]  # an ONNX model is for one size
        data = net.preprocessing.prepare(np.stack([image for image in corners if image.shape == net.shape]))
        with TemporaryDirectory() as place:
            row = Parity(run, data, Path(place)).row
            print(row(f"({settings['model']})", settings["method"], settings["mode"]))


if __name__ == "__main__":
    main()
