"""The page: one HTML file with all that it needs, Vega inlined once, which opens without a network."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import altair as alt
import vl_convert
from markupsafe import Markup

from minidl import __version__
from minidl.study.report import charts
from minidl.study.report.blocks import Chart, Section
from minidl.study.report.runs import Group
from minidl.study.template import template
from minidl.words import counted

VEGA_LITE = alt.SCHEMA_VERSION.rpartition(".")[0]


def page(groups: Sequence[Group], warnings: Sequence[str], sections: Sequence[Section], trace: dict[str, Any]) -> str:
    """Return the page; trace: the cube of the traced runs, see cube.py, or nothing where no run was traced."""
    found = [block for section in sections for block in section.blocks if isinstance(block, Chart)]
    for number, chart in enumerate(found):
        chart.key = f"chart{number}"
    own = files(__package__)
    labels = [group.label for group in groups]
    specs = list({json.dumps(chart.spec): chart.spec for chart in found}.values())
    data = {
        "runs": labels,
        "trace": trace,
        "specs": [compiled(spec) for spec in specs],
        "charts": {chart.key: _described(chart, specs) for chart in found},
    }
    return template(__package__, "page.html").render(
        version=__version__,
        groups=groups,
        runs=counted(sum(len(group.runs) for group in groups), "run"),
        look_of=dict(zip(labels, charts.looks(len(labels)), strict=True)),
        shapes=charts.SHAPES,
        warnings=warnings,
        sections=sections,
        trace=trace,
        data=in_script(data),
        style=Markup((own / "page.css").read_text("utf-8")),
        script=Markup((own / "page.js").read_text("utf-8")),
        libraries=Markup(bundle()),
    )


def compiled(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what Vega-Lite makes of a specification for Vega; the page gives it rows, unit, chosen step and layer."""
    params = [{"name": "step", "value": 0}, {"name": "layer", "value": ""}, {"name": "unit", "value": ""}]
    given = {"datasets": {"rows": []}, "params": params}
    made: dict[str, Any] = vl_convert.vegalite_to_vega(spec | given, vl_version=VEGA_LITE, config=charts.CONFIG)
    return made


@cache
def bundle() -> str:
    """Return the script of Vega, which imports nothing; making it takes seconds.

    Vega-Lite and Vega-Embed are left out, as nothing is compiled in the page.
    """
    kept = f"/npm/vega@{vl_convert.get_vega_version()}/+esm"  # by this name
    snippet = f'import {{ parse, View }} from "{kept}"; window.vega = {{ parse, View }};'
    script: str = vl_convert.javascript_bundle(snippet)
    return script.replace("</script", "<\\/script")


def in_script(data: Any) -> Markup:
    """Return JSON that may stand in an element "script", whatever the texts in it are."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _described(chart: Chart, specs: list[dict[str, Any]]) -> dict[str, Any]:
    table = {"line": chart.line, "columns": list(chart.columns), "values": chart.values}
    names = ("rows", "cube", "at", "picks", "unit")
    return {name: getattr(chart, name) for name in names} | {"spec": specs.index(chart.spec), "table": table}
