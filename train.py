#!/usr/bin/env python3
"""Train a net of the paper on a data set: python train.py --help."""

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any

from minidl import __version__
from minidl.console import decoration, lenient
from minidl.kernels.errors import MinidlError

EXAMPLES = """examples:
  python train.py                                          net (c), "WC, GC, fully", on the built-in shapes
  python train.py --method Baseline                        the same without any normalization
  python train.py --data cifar10 --epochs 10               ten epochs of the paper's recipe on CIFAR-10
  python train.py --model b --data cifar10                 the ResNet-34 with "WC, GC, BN"
  python train.py --model d --data voc2012                 the U-net that labels every pixel
  python train.py --data cifar10 --method "weight channel" a row of Table 2
  python train.py --data photos/                           your own images, one subfolder for each class
  python train.py --resume runs/NAME --epochs 20           go on with an earlier run, up to 20 epochs

A method is written as in the paper's tables: Baseline, or words joined by commas:
  of the weights     WN  WC  WS  "weight global|tensor|channel|instance"
  of the gradients   GC          "gradient global|tensor|channel|instance"
  of the errors      EBN ELN EB EL  "error global|sample|channel|instance"
  of the data        BN LN IN GN    layers between convolutions and their ReLU
  fully              normalize the penultimate fully connected layer too, not the convolutions alone
"""
PLACES = ("hooks", "optimizer")
EXAMPLES_DRAWN = 8  # test images in predictions.png
# What --resume may change.
CHANGEABLE = ("data", "data_root", "epochs", "crop", "test_every", "quiet", "device", "precision", "threads", "loops")


def positive(text: str) -> int:
    """Read a whole number from 1."""
    value = int(text) if text.strip().isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text}")
    return value


def seed(text: str) -> int:
    """Read a whole number from 0."""
    if not text.strip().isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, not {text}")
    return int(text)


def rate(text: str) -> float:
    """Read a number above 0."""
    return _real(text, lambda x: x > 0, "a number above 0")


def decay(text: str) -> float:
    """Read a number from 0."""
    return _real(text, lambda x: x >= 0, "a number of at least 0")


def _real(text: str, fits: Any, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and fits(value)):
        raise argparse.ArgumentTypeError(f"must be {what}, not {text}")
    return value


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    cli = argparse.ArgumentParser(
        description="Train a net of the paper, with normalizations at the hook points of back-propagation.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_argument("--version", action="version", version=f"minidl {__version__}")
    what = cli.add_argument_group("what is trained")
    what.add_argument(
        "--model",
        default="c",
        metavar="a|b|b-cifar|c|d",
        help="a net of Figure 1; b-cifar is b with a stem for small images, d labels every pixel (default: c)",
    )
    what.add_argument(
        "--method",
        metavar="TEXT",
        help='what is normalized (default: the best of the paper\'s for the net, "WC, GC, fully" for a and c, '
        '"WC, GC, BN" for b and d)',
    )
    what.add_argument(
        "--mode",
        default="projection",
        metavar="projection|reparametrization",
        help="whether normalized weights replace the weights, as in Algorithm 1, or the gradient goes back through "
        "the normalization (default: projection)",
    )
    data = cli.add_argument_group("on what")
    data.add_argument(
        "--data",
        default="shapes",
        metavar="shapes|cifar10|cifar100|voc2012|FOLDER",
        help="a data set, or a folder of images with one subfolder for each class (default: shapes, built in)",
    )
    data.add_argument("--data-root", metavar="DIR", help="where data sets lie or are downloaded to")
    data.add_argument("--train-size", type=positive, metavar="N", help="train on N images (default: all)")
    data.add_argument("--test-size", type=positive, metavar="N", help="test on N images (default: all)")
    data.add_argument(
        "--shrink",
        type=positive,
        default=1,
        metavar="N",
        help="train and test on images N times smaller, which is faster (for voc2012; default: 1)",
    )
    data.add_argument(
        "--crop",
        type=positive,
        metavar="N",
        help="train on squares with N pixels a side, cut out of the images; --resume may change it (for voc2012; "
        "default: 227)",
    )
    how = cli.add_argument_group("how (defaults: the paper's recipe for the data set)")
    how.add_argument("--epochs", type=positive, metavar="N", help="how often every image is seen")
    how.add_argument("--batch-size", type=positive, metavar="N", help="images in a step")
    how.add_argument("--optimizer", metavar="adam|sgd", help="Algorithm 3 or Algorithm 2")
    how.add_argument(
        "--variant",
        metavar="NAME",
        help="of adam: standard or as_printed (Algorithm 3 to the letter); of sgd: paper or dlib",
    )
    how.add_argument("--learning-rate", type=rate, metavar="X", help="at the beginning")
    how.add_argument("--drop-every", type=positive, metavar="N", help="divide the learning rate by 10 after N epochs")
    how.add_argument("--weight-decay", type=decay, metavar="X", help="coupled, on weights alone")
    how.add_argument(
        "--test-every",
        type=positive,
        default=1,
        metavar="N",
        help="test after N epochs each and at the end (default: 1)",
    )
    how.add_argument("--seed", type=seed, default=0, metavar="N", help="of all random numbers (default: 0)")
    how.add_argument(
        "--place",
        default="optimizer",
        metavar="hooks|optimizer",
        help="where WC and GC are done: at the hook points (Algorithm 1), or inside the update (Algorithms 2 and 3), "
        "which is the same training, and faster (default: optimizer)",
    )
    run = cli.add_argument_group("where")
    run.add_argument(
        "--device",
        default="auto",
        metavar="auto|cpu|gpu|reference",
        help="auto takes a GPU where there is one; of several the first, or that of CUDA_VISIBLE_DEVICES=N in the "
        "environment; reference computes on the CPU as the equations say, slowly, to be read and debugged (default: "
        "auto)",
    )
    run.add_argument(
        "--precision",
        metavar="fp32|tf32|bf16",
        help="to which a GPU rounds what it multiplies; sums and weights are float32 in any case (default: tf32)",
    )
    run.add_argument("--threads", type=positive, metavar="N", help="of the CPU (default: one for each core)")
    run.add_argument(
        "--loops",
        metavar="numba|numpy",
        help="what computes the CPU's innermost loops (default: numba where it is installed)",
    )
    run.add_argument("--out", metavar="DIR", help="folder of the run (default: a new one under runs/)")
    run.add_argument(
        "--resume",
        metavar="DIR",
        help="go on with the run in DIR, with its settings; --data and --data-root may say where its data are now",
    )
    run.add_argument("--quiet", action="store_true", help="print the result alone")
    return cli


def read_settings(arguments: list[str] | None) -> tuple[dict[str, Any], Path | None]:
    """Return the settings, complete with the recipe's, and the folder to resume.

    Paths of data are absolute. ``batch_is_default`` says that nobody asked for the batch, which may be cut to the set.
    """
    from minidl.models import best_method
    from minidl.recipes import recipe
    from minidl.records import read_settings as settings_of

    cli = parser()
    settings = _with_absolute_paths(vars(cli.parse_args(arguments)))
    resumed = settings.pop("resume")
    if resumed:
        given = vars(cli.parse_args(arguments, argparse.Namespace(**dict.fromkeys(settings))))
        given, earlier = map(_with_absolute_paths, (given, {**settings, **settings_of(Path(resumed))}))
        for name, value in given.items():
            if name in CHANGEABLE and value is not None:
                earlier[name] = value
            elif name in earlier and value is not None and value != earlier[name]:
                raise MinidlError(
                    f"the run in {resumed} has {name.replace('_', '-')} {earlier[name]!r}, which --resume cannot "
                    f"change to {value!r}; start a new run instead"
                )
        return earlier, Path(resumed)
    settings["method"] = settings["method"] or best_method(settings["model"])
    settings["batch_is_default"] = settings["batch_size"] is None
    for name, value in vars(recipe(settings["data"])).items():
        if settings.get(name) is None:
            settings[name] = value
    return settings, None


def _with_absolute_paths(settings: dict[str, Any]) -> dict[str, Any]:
    from minidl.data import absolute, located

    data, root = settings["data"], settings["data_root"]
    return settings | {"data": data and located(data), "data_root": root and str(absolute(root))}


class Display:
    """Shows a run: a bar that moves while an epoch trains, a line of a table when it has ended."""

    HEAD = "epoch  learning rate  train loss  accuracy   test loss  accuracy    seconds"

    def __init__(self, epochs: int, samples: int, quiet: bool) -> None:
        self.epochs, self.samples, self.quiet = epochs, samples, quiet
        self.started, self.first = time.perf_counter(), 0
        self.bar: Any = None

    def say(self, text: str = "") -> None:
        """Print a line."""
        if not self.quiet:
            print(text, flush=True)

    def begin(self, epoch: int) -> None:
        """Start the bar of an epoch."""
        from tqdm.auto import tqdm

        self.first = self.first or epoch
        self.epoch = epoch
        self.bar = tqdm(
            total=self.samples,
            desc=f"epoch {epoch}/{self.epochs}",
            unit=" images",
            leave=False,
            disable=True if self.quiet else None,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}{postfix}, epoch {elapsed}<{remaining}",
        )

    def progress(self, samples: int, loss: Any) -> None:
        """Move the bar; the score, for which the device must be waited for, is only asked for when the bar is drawn."""
        if self.bar.update(samples - self.bar.n):
            done = self.epoch - self.first + samples / self.samples
            left = (time.perf_counter() - self.started) * ((self.epochs - self.first + 1) / done - 1)
            score = loss.score()
            self.bar.set_postfix_str(
                f"loss {score.loss:.4f}, accuracy {100 * score.accuracy:.2f} %, {_clock(left)} left in all",
                refresh=False,
            )

    def end(self, epoch: Any) -> None:
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


def run(settings: dict[str, Any], resumed: Path | None, begin: Callable[[], Path]) -> dict[str, Any]:
    """Train as the settings say, go on with the run in the folder ``resumed``, if any, and return the result.

    begin: called when all is ready, it returns the folder for the record.
    """
    from minidl import checkpoint, data, kernels, models, records
    from minidl.data.batches import DIVISOR, MEAN, Batches
    from minidl.data.pictures import predictions
    from minidl.data.pixel_batches import PixelBatches
    from minidl.fingerprint import describe
    from minidl.kernels.cpu import loops, threads
    from minidl.optimizers import OPTIMIZERS
    from minidl.preprocessing import Preprocessing
    from minidl.resume import resume
    from minidl.trainer import Trainer

    if settings["loops"]:
        loops.use(settings["loops"])
    if settings["threads"]:
        threads.set_workers(settings["threads"])
    net_settings = {name: settings[name] for name in ("method", "mode", "device", "seed")}
    if settings["place"] not in PLACES:
        raise MinidlError(f"the place {settings['place']!r} is unknown; use {' or '.join(PLACES)}")
    if settings["optimizer"] not in OPTIMIZERS:
        raise MinidlError(f"the optimizer {settings['optimizer']!r} is unknown; use {' or '.join(OPTIMIZERS)}")
    operations = kernels.load(settings["device"], settings["precision"])
    models.check(settings["model"], settings["method"], settings["mode"], settings["device"])
    sets = data.load(settings["data"], settings["data_root"], progress=not settings["quiet"])
    train_set, test_set = (
        (part.subset(size) if size else part).shrunk(settings["shrink"]).cropped(settings["crop"])
        for part, size in zip(sets, (settings["train_size"], settings["test_size"]), strict=True)
    )
    recipe_batch = settings["batch_size"]
    if settings.pop("batch_is_default", False):
        settings["batch_size"] = min(recipe_batch, len(train_set))
    source = PixelBatches if models.per_pixel(settings["model"]) else Batches
    batches = source(train_set, settings["batch_size"], operations, "float32")
    tests = source(test_set, min(settings["batch_size"], len(test_set)), operations, "float32")
    net = models.build(settings["model"], classes=len(batches.classes), shape=batches.shape, **net_settings)
    net.check_batches(batches.sizes)
    net.preprocessing = Preprocessing(tuple(map(float, MEAN)), DIVISOR, batches.shape[:2], batches.classes)
    description = describe(batches.classes, train_set, test_set)
    optimizer = OPTIMIZERS[settings["optimizer"]](
        net.parameters,
        net.kernels,
        learning_rate=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        variant=settings["variant"] or "",
    )
    if settings["place"] == "optimizer":
        optimizer.take_over(net.layers)
    trainer = Trainer(net, optimizer, batches, tests, settings["drop_every"], settings["seed"])
    epochs = resume(resumed, net, optimizer, settings["data"], description) if resumed else []
    if len(epochs) >= settings["epochs"]:
        raise MinidlError(
            f"the run in {resumed} has finished its {len(epochs)} epochs; give --epochs with a larger number to go on"
        )
    folder = begin()
    records.write_config(folder, settings)
    display = Display(settings["epochs"], len(train_set), settings["quiet"])
    display.say(f"{net}\n{operations.describe()}")
    if operations.device == "cpu" and loops.warning():
        display.say(loops.warning())
    for note in (*train_set.notes, *test_set.notes):
        display.say(note)
    if settings["batch_size"] < recipe_batch:
        display.say(f"The batch of {recipe_batch} is cut to the {len(train_set)} images that there are to train on.")
    display.say(
        f"{train_set.name}: {len(train_set):,} images to train on, {len(test_set):,} to test on; "
        f"{settings['optimizer']}, batch {settings['batch_size']}, record in {folder}"
    )
    if max(batches.sizes) > settings["batch_size"]:
        display.say("One image would be left for the last batch of an epoch; it joins the batch before.")
    display.say(f"\n{display.HEAD}")
    for number in range(len(epochs) + 1, settings["epochs"] + 1):
        display.begin(number)
        test = number % settings["test_every"] == 0 or number == settings["epochs"]
        epoch = trainer.run_epoch(number, display.progress, test)
        display.end(epoch)
        epochs.append(epoch)
        records.write_log(folder, epochs)  # first: the checkpoint must not know of an epoch that the log does not
        checkpoint.save(folder / checkpoint.NAME, net, optimizer, number, description)
        if not math.isfinite(epoch.train_loss):
            display.say("the loss is not a number any more; the run ends here")
            break
    result = {
        **{name: settings[name] for name in ("model", "method", "mode")},
        "data": train_set.name,
        "seed": settings["seed"],
        "epochs": len(epochs),
        "device": operations.device,
        "precision": operations.precision,
        "machine": operations.describe(),
        "parameters": net.parameter_count,
        "train_loss": epochs[-1].train_loss,
        "test_accuracy": epochs[-1].test_accuracy,
        **({"mean_iou": trainer.confusion.mean_iou} if trainer.confusion else {}),
        "seconds": round(sum(epoch.seconds for epoch in epochs), 2),
        "images_per_second": round(trainer.trained_samples / trainer.train_seconds, 1),
    }
    records.write_result(folder, result)
    title = f"net ({settings['model']}) on {train_set.name}: {settings['method']}"
    with decoration("train.py", records.CURVES):
        records.draw_curves(folder, epochs, title)
    if isinstance(tests, PixelBatches):
        with decoration("train.py", records.PREDICTIONS):
            drawn = predictions(tests.examples(EXAMPLES_DRAWN), lambda data: net.kernels.host(net.forward(data)))
            records.write_whole(folder / records.PREDICTIONS, drawn)
    overlap = f", mean IoU {result['mean_iou']:.2%}," if "mean_iou" in result else ""
    print(
        f"test accuracy {result['test_accuracy']:.2%}{overlap} after {len(epochs)} epochs, "
        f"{result['seconds']:.0f} s, {result['images_per_second']:.0f} images/s: {folder}"
    )
    return result


@lenient("train.py")
def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    folder: Path | None = None

    def begin() -> Path:
        nonlocal folder
        from minidl.records import folder_for

        folder = resumed or folder_for(settings)
        return folder

    try:
        settings, resumed = read_settings(arguments)
        folder = resumed
        run(settings, resumed, begin)
    except (MinidlError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        size = settings["batch_size"]
        print(
            f"train.py: a batch of {size} images needs more memory than is free; use a smaller one, such as "
            f"--batch-size {max(1, size // 2)}, or close what else uses the device",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        begun = folder and (folder / "config.json").exists()
        advice = f"go on with: python train.py --resume {quote(str(folder))}" if begun else "the run had not begun"
        print(f"\ninterrupted; {advice}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
