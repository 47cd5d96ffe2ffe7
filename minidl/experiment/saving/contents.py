"""Contents of a run's files: the schema of each value, as files may have been edited or come from elsewhere."""

from minidl.experiment.cli.argument_types import SIDE, WORKERS
from minidl.experiment.saving.schema import (
    ABOVE,
    COUNT,
    FLAG,
    FROM,
    LIST,
    LOSS,
    NAN,
    NOTHING,
    PERCENT,
    SHARE,
    TEXT,
    whole,
)

SETTINGS = {  # of config.json
    **dict.fromkeys(("model", "method", "mode", "data", "optimizer", "place", "device"), TEXT),
    **dict.fromkeys(("data_root", "variant", "precision", "loops", "out", "init", "fit"), TEXT | NOTHING),
    **dict.fromkeys(("epochs", "batch_size", "drop_every", "test_every", "shrink"), whole(1)),
    **dict.fromkeys(("train_size", "test_size", "crop", "trace"), whole(1) | NOTHING),
    "image_size": whole(1, SIDE) | NOTHING,
    "threads": whole(1, WORKERS) | NOTHING,
    **dict.fromkeys(("learning_rate", "save_every"), ABOVE),
    "weight_decay": FROM,
    "seed": whole(0),
    **dict.fromkeys(("quiet", "batch_is_default", "sync_bn"), FLAG),
    "import": LIST,
}
LOG = {  # a line of log.csv, for one epoch; a loss is infinite or nan if the net has diverged
    "epoch": COUNT,
    "learning_rate": FROM,
    "train_loss": LOSS | NAN,
    "train_accuracy": SHARE | NAN,
    "test_loss": LOSS | NAN,
    "test_accuracy": SHARE | NAN,
    "seconds": FROM,
}
RESULT = {  # of result.json, see result.py
    **dict.fromkeys(("model", "method", "mode", "data", "device", "precision", "machine", "minidl"), TEXT),
    **dict.fromkeys(("commit", "diverged"), TEXT),
    **dict.fromkeys(("epochs", "parameters"), whole(1)),
    "seed": whole(0),
    "train_loss": LOSS | NOTHING,
    **dict.fromkeys(("test_accuracy", "mean_iou"), SHARE | NOTHING),
    "seconds": FROM,
    "images_per_second": FROM | NOTHING,
}
RESULTS = {  # a line of results.csv, for one run of a row; its other columns are texts
    **dict.fromkeys(("table", "seed", "epochs"), COUNT),
    **dict.fromkeys(("paper", "test_accuracy"), PERCENT | NAN),
    "seconds": FROM,
}
