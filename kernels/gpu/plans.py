"""Plans of cuDNN that were the fastest when they were timed, by the products that they are for.

Others may sum in another order, and which is the fastest may change from run to run: what was chosen once is kept in
CuPy's folder for compiled kernels, so that equal seeds give equal runs on one machine.
"""

import json
import os
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

from minidl.kernels.gpu import products


class Plans:
    """The names of the plans in a file; a process that cannot write it keeps them for itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, str] = {}

    def get(self, product: str) -> str | None:
        """Return the name of the plan that was chosen for a product, if any."""
        if product not in self.known:
            self._read()
        return self.known.get(product)

    def keep(self, product: str, plan: str) -> str:
        """Remember a plan, and return it, or the one that another process has chosen meanwhile."""
        self._read()
        plan = self.known.setdefault(product, plan)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=self.path.parent, delete=False, encoding="utf-8") as part:
                json.dump(self.known, part, indent=1)
            os.replace(part.name, self.path)
        except OSError as error:
            products.say_once(f"the plans that cuDNN was found to be fastest by cannot be kept: {error}")
        return plan

    def _read(self) -> None:
        try:
            found = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):  # not there yet, or of somebody else
            return
        if isinstance(found, dict):
            self.known |= {str(product): str(plan) for product, plan in found.items()}


@cache
def plans(card: str, version: str) -> Plans:
    """Return the plans for a card, by its name, and a version of cuDNN."""
    folder = os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache"
    name = "".join(letter if letter.isalnum() else "-" for letter in f"{card}-{version}")
    return Plans(Path(folder) / f"minidl-plans-{name}.json")
