"""The display of a run: a progress bar during an epoch, and a table line after it."""

import time

from tqdm.auto import tqdm

from minidl.experiment.trainer import Epoch
from minidl.losses import SoftmaxCrossEntropy


class Display:
    """Shows a run of ``epochs`` with ``samples`` images each; shows nothing if it is quiet."""

    HEAD = "epoch  learning rate  train loss  accuracy   test loss  accuracy    seconds"

    def __init__(self, epochs: int, samples: int, quiet: bool) -> None:
        self.epochs, self.samples, self.quiet = epochs, samples, quiet
        self.started, self.first = time.perf_counter(), 0.0
        self.bar: tqdm = None

    def say(self, text: str = "") -> None:
        """Print a line."""
        if not self.quiet:
            print(text, flush=True)

    def begin(self, epoch: int, done: int = 0) -> None:
        """Start the bar of an epoch, at the number of samples already trained."""
        self.first = self.first or epoch + done / self.samples
        self.epoch = epoch
        self.bar = tqdm(
            total=self.samples,
            initial=done,
            desc=f"epoch {epoch}/{self.epochs}",
            unit=" images",
            leave=False,
            disable=True if self.quiet else None,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}{postfix}, epoch {elapsed}<{remaining}",
        )

    def progress(self, samples: int, loss: SoftmaxCrossEntropy) -> None:
        """Move the bar; read the score, which waits for the device, only when the bar is drawn."""
        if self.bar.update(samples - self.bar.n):
            done = self.epoch - self.first + samples / self.samples
            left = (time.perf_counter() - self.started) * ((self.epochs - self.first + 1) / done - 1)
            score = loss.score()
            self.bar.set_postfix_str(
                f"loss {score.loss:.4f}, accuracy {100 * score.accuracy:.2f} %, {_clock(left)} left in all",
                refresh=False,
            )

    def end(self, epoch: Epoch) -> None:
        """Replace the bar by a line of the table."""
        self.bar.close()
        tested = f"{epoch.test_loss:10.4f}  {epoch.test_accuracy:8.2%}" if epoch.tested else f"{'-':>10}  {'-':>8}"
        self.say(
            f"{epoch.epoch:5d}  {epoch.learning_rate:13.1e}  {epoch.train_loss:10.4f}  {epoch.train_accuracy:8.2%}"
            f"  {tested}  {epoch.seconds:9.1f}"
        )


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
