"""Blocks of code in a page."""

import re
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of Python, and its output as the page shows it: the text block directly after it, if there is one."""

    code: str
    output: str | None


def python_blocks(page: Path) -> list[Block]:
    """Return the blocks of Python of a page."""
    text = page.read_text(encoding="utf-8")
    fences = list(FENCE.finditer(text))
    blocks = []
    for fence, after in zip_longest(fences, fences[1:]):
        if fence[1] == "python":
            follows = after and after[1] == "text" and not text[fence.end() : after.start()].strip()
            blocks.append(Block(fence[2], after[2] if after and follows else None))
    return blocks
