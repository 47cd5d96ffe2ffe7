"""Plans of cuDNN that were the fastest when they were timed, by the products that they are for.

Others may sum in another order, and which is the fastest may change from run to run: what was chosen once is kept in
CuPy's folder for compiled kernels, so that equal seeds give equal runs on one machine, and a run saves its own choices
and takes them again when it goes on, wherever that is.
"""

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

from minidl.kernels.gpu import products

_made: dict[str, str] = {}  # choices of this process
_taken: dict[str, str] = {}  # of a run that goes on


def choices() -> dict[str, str]:
    """Return the names of the plans that this process has chosen, by their products."""
    return dict(_made)


def choose(known: Mapping[str, str]) -> None:
    """Take these plans for products that are planned from now on, before those of the machine."""
    _taken.clear()
    _taken.update(known)


class Plans:
    """The names of a machine's plans in a file; a process that cannot write it keeps them for itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, str] = {}
        self.useless: set[tuple[str, str]] = set()

    def get(self, product: str) -> str | None:
        """Return the name of the plan that was chosen for a product, if any."""
        if product not in self.known:
            self._read()
        plan = _taken.get(product) or self.known.get(product)
        if plan:
            _made[product] = plan
        return plan

    def keep(self, product: str, plan: str) -> str:
        """Remember a plan, and return it, or the one that another process has chosen meanwhile."""
        self._read()
        plan = _made[product] = self.known.setdefault(product, plan)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=self.path.parent, delete=False, encoding="utf-8") as part:
                json.dump(self.known, part, indent=1)
            os.replace(part.name, self.path)
        except OSError as error:
            products.say_once(f"the plans that cuDNN was found to be fastest by cannot be kept: {error}")
        return plan

    def forget(self, product: str, plan: str) -> None:
        """Let another plan take the place of one that cannot be used, as after an update of the driver."""
        self.useless.add((product, plan))
        for plans in (_taken, self.known):
            if plans.get(product) == plan:
                del plans[product]

    def _read(self) -> None:
        try:
            found = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):  # not there yet, or of somebody else
            return
        if isinstance(found, dict):
            pairs = {(str(product), str(plan)) for product, plan in found.items()}
            self.known |= dict(pairs - self.useless)


@cache
def plans(card: str, version: str) -> Plans:
    """Return the plans for a card, by its name, and a version of cuDNN."""
    folder = os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache"
    name = "".join(letter if letter.isalnum() else "-" for letter in f"{card}-{version}")
    return Plans(Path(folder) / f"minidl-plans-{name}.json")
