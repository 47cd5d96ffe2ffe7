"""The recipe of each data set, the defaults of the command line (section 5 of the paper)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; the learning rate is multiplied by 0.1 after each ``drop_every`` epochs."""

    optimizer: str
    learning_rate: float
    weight_decay: float
    batch_size: int
    epochs: int
    drop_every: int


RECIPES = {
    "cifar10": Recipe("adam", 1e-3, 5e-5, batch_size=50, epochs=300, drop_every=50),
    "cifar100": Recipe("sgd", 1e-1, 5e-4, batch_size=50, epochs=300, drop_every=50),
    "voc2012": Recipe("sgd", 1e-1, 1e-4, batch_size=10, epochs=800, drop_every=200),
    "shapes": Recipe("adam", 1e-3, 5e-5, batch_size=50, epochs=4, drop_every=3),
}
FOLDER = Recipe("adam", 1e-3, 5e-5, batch_size=50, epochs=30, drop_every=20)  # for a folder of images


def recipe(data: str) -> Recipe:
    """Return the recipe of a data set, or the one for folders of images."""
    return RECIPES.get(data, FOLDER)
