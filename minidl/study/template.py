"""Template: an HTML page with fields to fill in; texts are escaped, and a missing name is an error."""

from typing import Any

from minidl.kernels.errors import MinidlError

PAGES = (".html", ".htm")  # the endings of a page


def template(package: str, name: str) -> Any:
    """Return the template of that name among a package's files; raise MinidlError if Jinja2 is not installed."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise MinidlError("a page needs Jinja2, which the extra study has: pip install -e '.[study]'") from None
    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
