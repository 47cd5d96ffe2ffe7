"""Writing the report of runs: reads them, lets each section be drawn, and writes the page."""

from collections.abc import Sequence
from pathlib import Path

from minidl.experiment.cli.own_code import Record
from minidl.experiment.saving.files import check_ending, write_whole
from minidl.kernels.arguments import path_of, shown
from minidl.kernels.errors import MinidlError
from minidl.study.report.blocks import Section
from minidl.study.report.cards import cards
from minidl.study.report.carry import carries
from minidl.study.report.cube import Cube
from minidl.study.report.cube import read as read_cube
from minidl.study.report.diagram import diagram
from minidl.study.report.fan import fans
from minidl.study.report.filters import first_filters
from minidl.study.report.outcome import curves, outcome
from minidl.study.report.page import page
from minidl.study.report.predictions import predictions
from minidl.study.report.runs import Group, grouped, read, strange_code, warnings
from minidl.study.report.traced import means, traced
from minidl.study.template import PAGES

NAME = "report.html"


def report(
    folders: Sequence[str | Path],
    out: str | Path | None,
    root: str | None,
    images: int | None,
    imported: Sequence[Record] = (),
) -> Path:
    """Write the report of the runs in the folders and return its path: ``out``, or NAME in the first folder.

    root: where the data sets lie, or None for where the runs had them; images: how many test images the nets look at;
    imported: the user's files that have been imported. Raises MinidlError for a folder without a run, and where
    the page cannot be written. What cannot be drawn for other reasons is said on the page.
    """
    if not folders or isinstance(folders, str | Path):
        raise MinidlError(f"a report takes a list of the folders of runs, at least of one, not {shown(folders)}")
    paths = [path_of("each folder of a report", folder) for folder in folders]
    if out is None and (pages := [path for path in paths if path.suffix in PAGES and not path.is_dir()]):
        raise MinidlError(f"{pages[0]} is not a run; to name the page, write --out {pages[0]}")
    written = paths[0] / NAME if out is None else path_of("out of a report", out)
    check_ending(written, *PAGES)
    runs = [read(folder) for folder in distinct(paths)]
    groups = grouped(runs)
    cube = read_cube(groups)
    sections = _sections(groups, cube, root, images)
    said = [*warnings(groups), *strange_code(groups, imported)]
    write_whole(written, page(groups, said, sections, cube.for_page() if cube.groups else {}))
    return written


def distinct(folders: Sequence[Path]) -> list[Path]:
    """Return the folders without those that were given before, also by another path."""
    found: dict[Path, Path] = {}
    for folder in folders:
        found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _sections(groups: Sequence[Group], cube: Cube, root: str | None, images: int | None) -> list[Section]:
    return [
        outcome(groups),
        curves(groups),
        diagram(groups),
        *_of_trace(cube),
        first_filters(groups),
        predictions(groups, root, images),
        cards(groups),
    ]


def _of_trace(cube: Cube) -> list[Section]:
    if cube.groups:
        return [*traced(cube), carries(cube), fans(cube)]
    return [means(cube)] if cube.notes else []
