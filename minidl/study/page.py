"""Page: a walk as one file of HTML that needs nothing else, by the template walk.html beside this file."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from minidl.experiment.files import write_whole
from minidl.kernels.errors import MinidlError
from minidl.study import transcript
from minidl.study.walk import Walk


def check(path: Path) -> None:
    """Raise MinidlError where no page could be written to ``path``, before the work for it begins."""
    _template()
    if path.is_dir() or not path.parent.is_dir():
        raise MinidlError(f"a page cannot be written to {path}; give the name of a file in a folder that is there")


def write(path: Path, walk: Walk) -> None:
    """Write the page of a walk, whole or not at all."""
    layer = next(layer for layer in walk.layers if layer.layer == walk.filter.layer)
    page = _template().render(
        title=transcript.title(walk), sections=transcript.sections(walk), layer=layer, signed=transcript.signed
    )
    write_whole(path, page)


def _template() -> Any:
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise MinidlError("a page needs Jinja2, which the extra study has: pip install 'minidl[study]'") from None
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files("minidl.study").joinpath("walk.html").read_text("utf-8"))
