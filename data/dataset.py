"""A labelled set of images, held in memory."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from minidl.kernels.errors import MinidlError


@dataclass(frozen=True, eq=False)
class Dataset:
    """One part (training or test) of a data set.

    ``images`` is uint8 ``(n, y, x, 3)``, C-contiguous, red first; ``labels`` is int64 ``(n,)``, an index into
    ``classes``; ``masks``, where the set has them, is uint8 ``(n, y, x)`` with one label a pixel.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    masks: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def subset(self, count: int) -> "Dataset":
        """Return ``count`` images drawn at random without replacement, the same ones in every run.

        A smaller subset is the beginning of a larger one. Raises MinidlError if ``count`` is not between 1
        and the number of images.
        """
        if not 1 <= count <= len(self):
            raise MinidlError(
                f"{count:,} images were asked for, but this part of {self.name} has {len(self):,}; "
                f"ask for 1 to {len(self):,}"
            )
        # Sorted raw bits, not Generator.choice: only the raw stream stays the same in all versions of NumPy.
        keys = np.random.PCG64(0).random_raw(len(self))
        chosen = np.argsort(keys, kind="stable")[:count]
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            masks=None if self.masks is None else self.masks[chosen],
        )
