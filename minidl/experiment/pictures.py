"""The pictures of a run: its curves and, for a net that labels pixels, some predictions."""

from pathlib import Path

from minidl.data.pictures import predictions
from minidl.data.pixel_batches import PixelBatches
from minidl.experiment import plots
from minidl.experiment.cli.command import Command
from minidl.experiment.cli.console import decoration
from minidl.experiment.preparation import Experiment
from minidl.experiment.saving.files import write_whole
from minidl.experiment.trainer import Epoch

CURVES, PREDICTIONS = "curves.png", "predictions.png"
EXAMPLES = 8  # test images in predictions.png


def draw(experiment: Experiment, folder: Path, epochs: list[Epoch], command: Command) -> None:
    """Draw into the folder of the run; if a picture fails, say so and continue."""
    settings, net, test = experiment.settings, experiment.trainer.net, experiment.trainer.test
    title = f"net ({settings['model']}) on {experiment.data}: {settings['method']}"
    with decoration(command.name, CURVES):
        write_whole(folder / CURVES, plots.curves(epochs, title))
    if isinstance(test, PixelBatches) and not net.training:  # a test leaves it so; a net that diverged had no test
        with decoration(command.name, PREDICTIONS):
            drawn = predictions(test.examples(EXAMPLES), lambda data: net.kernels.host(net.forward(data)))
            write_whole(folder / PREDICTIONS, drawn)
