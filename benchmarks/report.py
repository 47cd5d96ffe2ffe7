"""Measure how long a browser takes for a report: python benchmarks/report.py REPORT.html [--loads 5] [--moves 20]

It prints the size of the page; over several loads, the time from the start of loading until the first screen
(1200 × 900 pixels) is drawn and until all charts of the page are drawn, and the processor time; and, for each section,
the time from a move of the slider until the visible charts are drawn again. Or it saves a picture for our
documentation. It needs Chromium and the extra "browser".
"""

import argparse
import statistics
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

SCREEN: Any = {"width": 1200, "height": 900}
PICTURE: Any = {**SCREEN, "height": 945}  # the first row of a section's charts
DRAWN = """async () => { // looks seldom, and by itself, so that it takes no time from the page
    while (document.documentElement.dataset.left !== "0") await new Promise((resume) => setTimeout(resume, 50));
}"""
MOVE = """async (place) => {
    const slider = document.getElementById("step"), began = performance.now();
    slider.value = place;
    slider.dispatchEvent(new Event("input"));
    while (!document.documentElement.dataset.seen) await new Promise(requestAnimationFrame);
    return performance.now() - began;
}"""


def measure(path: Path, browser: str, loads: int, moves: int) -> None:
    """Open a page, and print its times."""
    from playwright.sync_api import sync_playwright

    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        taken = [_load(chromium, path) for _ in range(loads)]
        for what, times in zip(("first screen", "all charts", "processor"), zip(*taken, strict=True), strict=True):
            median, least = statistics.median(times), min(times)
            print(f"{what}: {median:.2f} s in the median of {loads} loads, {least:.2f} s at least")
        page = chromium.new_page(viewport=SCREEN)
        page.goto(path.absolute().as_uri())
        page.evaluate(DRAWN)
        for section in page.locator("section").all():
            title = section.locator("h2").inner_text()
            section.locator("h2").scroll_into_view_if_needed()
            section.evaluate("(section) => section.scrollIntoView()")
            print(f"{title}: {_moves(page, moves)}")
        chromium.close()


def _load(chromium: Any, path: Path) -> tuple[float, float, float]:
    """Return the seconds until the first screen and until all charts were drawn, and the seconds of processor time."""
    page = chromium.new_page(viewport=SCREEN)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(path.absolute().as_uri())
    page.evaluate(DRAWN)
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    first, whole = page.evaluate("['drawn', 'whole'].map((name) => document.documentElement.dataset[name] / 1000)")
    page.close()
    return first, whole, metrics["TaskDuration"]


def picture(path: Path, browser: str, title: str, file: Path) -> None:
    """Save a picture of the section with a title, at the step in the middle."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport=PICTURE)
        page.goto(path.absolute().as_uri())
        page.evaluate(DRAWN)
        page.evaluate(MOVE, int(page.locator("#step").get_attribute("max") or 0) // 2)
        page.evaluate(DRAWN)
        page.locator("section", has=page.get_by_role("heading", name=title)).evaluate("(it) => it.scrollIntoView()")
        with Image.open(BytesIO(page.screenshot())) as taken:
            taken.convert("RGB").quantize(64).save(file, optimize=True)
        chromium.close()


def _moves(page: Any, moves: int) -> str:
    last = int(page.locator("#step").get_attribute("max") or 0)
    times = []
    for i in range(moves):
        times.append(page.evaluate(MOVE, (7 * i + 1) % (last + 1)))
        page.evaluate(DRAWN)
    return f"a move of the slider takes {statistics.median(times):.0f} ms in the median, {max(times):.0f} ms at most"


if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("report", type=Path)
    cli.add_argument("--browser", default="/usr/bin/chromium", help="(default: /usr/bin/chromium)")
    cli.add_argument("--loads", type=int, default=5, help="of the page (default: 5)")
    cli.add_argument("--moves", type=int, default=20, help="of the slider, at each section (default: 20)")
    cli.add_argument("--picture", type=Path, metavar="FILE", help="take a picture of a section, and measure nothing")
    cli.add_argument("--section", default="Where the means are", help="of the picture (default: Where the means are)")
    options = cli.parse_args()
    if options.picture:
        picture(options.report, options.browser, options.section, options.picture)
    else:
        measure(options.report, options.browser, options.loads, options.moves)
