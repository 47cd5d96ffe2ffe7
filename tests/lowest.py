"""Prints the lowest version of each dependency that setup.cfg admits, as constraints for pip: make floors."""

from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

EXTRAS = ("fast", "study", "test", "export")  # in addition to the requirements of every installation


def lowest(path: Path) -> Iterator[str]:
    """Return the requirements in setup.cfg with ``==`` in place of each ``>=``."""
    setup = ConfigParser()
    setup.read(path)
    for text in (setup["options"]["install_requires"], *(setup["options.extras_require"][name] for name in EXTRAS)):
        for requirement in text.split():
            yield requirement.replace(">=", "==").partition(",")[0]  # without an upper bound


if __name__ == "__main__":
    print(*lowest(Path(__file__).parents[1] / "setup.cfg"), sep="\n")
