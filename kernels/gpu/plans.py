"""Plans of cuDNN that were the fastest in a trial, one for each product.

Plans differ in the order of their sums, and so in the last bits of their results. The fastest may change from run to
run. So choices are kept in CuPy's folder for compiled kernels, and equal seeds give equal runs on one machine. A run
also saves its choices, and uses them again when it is resumed, on any machine.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

from minidl.kernels.gpu import products

_made: dict[str, str] = {}  # choices of this process
_taken: dict[str, str] = {}  # choices of the run that is resumed


def choices() -> dict[str, str]:
    """Return the names of the plans that this process has chosen, by their products."""
    return dict(_made)


def choose(known: Mapping[str, str]) -> None:
    """Use these plans for products planned from now on, in preference to those of the machine."""
    _taken.clear()
    _taken.update(known)


class Plans:
    """The names of a machine's plans, in one file for each product, which only one process writes.

    A process that cannot write files keeps its choices in memory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, product: str) -> str | None:
        """Return the name of the plan that was chosen for a product, or None."""
        plan = _taken.get(product) or _made.get(product) or self._read(product)
        if plan:
            _made[product] = plan
        return plan

    def keep(self, product: str, plan: str) -> str:
        """Keep a plan and return it, or return the one that another process has chosen in the meantime."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=self.folder, encoding="utf-8", delete=False) as part:
                json.dump({product: plan}, part)
            try:
                os.link(part.name, self._file(product))  # the complete file, and only if there is none yet
            except OSError:  # there is one already, or this file system has no links
                if self._read(product) is None:
                    os.replace(part.name, self._file(product))
            finally:
                Path(part.name).unlink(missing_ok=True)
        except OSError as error:
            products.say_once(f"the plans that cuDNN was found to be fastest by cannot be kept: {error}")
        plan = _made[product] = self._read(product) or plan
        return plan

    def forget(self, product: str, plan: str) -> None:
        """Forget a plan that cannot be used, for example after an update of the driver."""
        for known in (_taken, _made):
            if known.get(product) == plan:
                del known[product]
        if self._read(product) == plan:
            with suppress(OSError):
                self._file(product).unlink()

    def _file(self, product: str) -> Path:
        return self.folder / f"{sha256(product.encode()).hexdigest()[:32]}.json"

    def _read(self, product: str) -> str | None:
        try:
            found = json.loads(self._file(product).read_text("utf-8"))
        except (OSError, ValueError):  # missing, unreadable or damaged
            return None
        plan = found.get(product) if isinstance(found, dict) else None
        return str(plan) if plan else None


@cache
def plans(card: str, version: str) -> Plans:
    """Return the plans for a GPU, given by its name, and a version of cuDNN."""
    folder = os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache"
    name = "".join(letter if letter.isalnum() else "-" for letter in f"{card}-{version}")
    return Plans(Path(folder) / f"minidl-plans-{name}")
