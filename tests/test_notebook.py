"""The notebook about the hook points: it runs, and contains the outputs of one run."""

import json
import re
from pathlib import Path

import pytest
from test_docs import anchors

NOTEBOOK = Path(__file__).parents[1] / "docs" / "story.ipynb"


@pytest.fixture(scope="module")
def cells():
    """Return the cells of the notebook."""
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    """In a separate folder; the first cell that fails ends it with its error."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_it_is_valid_and_each_cell_has_its_own_name(cells):
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert all(re.fullmatch(r"[a-z-]+", cell["id"]) for cell in cells)
    pytest.importorskip("nbformat").validate(json.loads(NOTEBOOK.read_text(encoding="utf-8")))


def test_it_shows_what_one_run_from_the_top_has_printed_and_drawn(cells):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(cell["outputs"] for cell in code)
    assert {output["output_type"] for cell in code for output in cell["outputs"]} == {"stream", "display_data"}
    assert {output.get("name", "stdout") for cell in code for output in cell["outputs"]} == {"stdout"}
    assert NOTEBOOK.stat().st_size < 200_000


def test_its_links_lead_somewhere(cells):
    prose = "".join(line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"])
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = NOTEBOOK.parent / path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
