"""Page: a walk as one self-contained HTML file, made with the template walk.html beside this file."""

from pathlib import Path

from minidl.experiment.saving.files import check_ending, write_whole
from minidl.kernels.errors import MinidlError
from minidl.study import transcript
from minidl.study.template import PAGES, template
from minidl.study.walk import Walk

TEMPLATE = "walk.html"


def check(path: Path) -> None:
    """Raise MinidlError if no page can be written to ``path``, before the walk begins."""
    template(__package__, TEMPLATE)
    check_ending(path, *PAGES)
    if path.is_dir() or not path.parent.is_dir():
        raise MinidlError(f"a page cannot be written to {path}; give the name of a file in a folder that is there")


def write(path: Path, walk: Walk) -> None:
    """Write the page of a walk, completely or not at all."""
    layer = next(layer for layer in walk.layers if layer.layer == walk.filter.layer)
    page = template(__package__, TEMPLATE).render(
        title=transcript.title(walk), sections=transcript.sections(walk), layer=layer, signed=transcript.signed
    )
    write_whole(path, page)
