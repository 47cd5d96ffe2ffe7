"""The report in a real browser: it draws, reacts to chips, slider, layer and clicks, and is accessible."""

import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from report_runs import like, trained

from minidl.__main__ import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = [name for name in ("altair", "vl_convert", "playwright", "axe_playwright_python") if find_spec(name) is None]
MISSING += [] if CHROMIUM else ["Chromium"]
REQUIRED = os.environ.get("MINIDL_BROWSER") == "required"
pytestmark = pytest.mark.skipif(bool(MISSING) and not REQUIRED, reason=f"not installed: {', '.join(MISSING)}")
WAIT = 60_000  # milliseconds, on a busy machine


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return the page about three methods, one of them with two seeds, of which one was not traced."""
    run = trained(tmp_path_factory.mktemp("browser"), "--trace", "1")
    folders = [like(run, "baseline", method="Baseline"), run, like(run, "other", seed=1), like(run, "ws", method="WS")]
    (folders[-1] / "trace.csv").unlink()
    assert main(["report", *map(str, folders)]) == 0
    return folders[0] / "report.html"


@pytest.fixture(scope="module")
def browser():
    """Return Chromium, started once."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page(browser, report):
    """Return the page, drawn; ``said`` has the messages of the console, ``asked`` the addresses of all requests."""
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.said, opened.asked = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(report.as_uri())
    settle(opened)
    return opened


def settle(page):
    """Wait until every chart is drawn."""
    page.wait_for_selector("html[data-left='0']", state="attached", timeout=WAIT)


def svg(page, title):
    """Return the marks that the chart with a title has drawn."""
    settle(page)
    return page.locator("figure", has=page.get_by_role("heading", name=title, exact=True)).locator("svg").inner_html()


def drawing(page, title):
    """Return the shapes that the chart with a title has drawn, sorted."""
    return sorted(re.findall(r' d="[^"]+"| transform="[^"]+"', svg(page, title)))


THROUGH, OVER = (
    "How alike do different images look to a layer?",
    "How alike do different images look to a layer? Over the steps",
)


def test_every_chart_is_drawn_without_a_message_in_the_console(page):
    figures = page.locator("figure.chart")
    assert figures.count() > 40
    for figure in figures.all():
        assert figure.locator("svg path").count(), figure.inner_text()
    assert not page.said


def test_the_page_requests_nothing(page, report):
    assert page.asked == [report.as_uri()]


def test_the_slider_and_the_layer_change_what_is_drawn(page):
    through, over = drawing(page, THROUGH), drawing(page, OVER)
    slider = page.get_by_role("slider")
    slider.press("Home")
    assert page.locator("#now").inner_text() == "0"
    assert slider.get_attribute("aria-valuetext") == "step 0"
    moved = drawing(page, THROUGH)
    assert moved != through
    slider.press("End")
    back = drawing(page, THROUGH)
    assert back != moved
    slider.press("Home")
    assert drawing(page, THROUGH) == moved
    slider.press("End")
    assert drawing(page, THROUGH) == back
    page.locator("#layer").select_option("fc1")
    assert drawing(page, OVER) != over


def test_a_click_in_either_cut_sets_the_other(page):
    page.locator("#layer").select_option("fc1")
    over = drawing(page, OVER)
    figure = page.locator("figure", has=page.get_by_role("heading", name=THROUGH, exact=True))
    box = figure.locator("svg").bounding_box()
    figure.locator("svg").click(position={"x": 0.2 * box["width"], "y": 0.4 * box["height"]})
    assert page.locator("#layer").input_value() == "conv1"
    assert drawing(page, OVER) != over
    page.get_by_role("slider").press("End")
    through = drawing(page, THROUGH)
    figure = page.locator("figure", has=page.get_by_role("heading", name=OVER, exact=True))
    figure.locator("svg").click(position={"x": 60, "y": 0.4 * box["height"]})
    assert page.locator("#now").inner_text() == "0"
    assert drawing(page, THROUGH) != through


def test_a_chip_hides_a_method_everywhere(page):
    through = svg(page, THROUGH)
    chip = page.get_by_role("button", name="Baseline")
    chip.click()
    assert chip.get_attribute("aria-pressed") == "false"
    hidden = svg(page, THROUGH)
    assert "var(--run0)" in through
    assert "var(--run0)" not in hidden
    assert not page.get_by_role("heading", name="Baseline: surest and right").is_visible()
    assert page.get_by_role("heading", name="WS: surest and right").is_visible()
    chip.press("Enter")
    assert "var(--run0)" in svg(page, THROUGH)


def test_a_table_has_the_numbers_that_are_drawn(page):
    figure = page.locator("figure", has=page.get_by_role("heading", name=THROUGH, exact=True))
    figure.locator("summary").click()
    page.get_by_role("slider").press("Home")
    settle(page)
    [head, *lines] = figure.get_by_role("row").all_inner_texts()
    assert head.split("\t") == ["layer", "Baseline", "WC, GC, fully"]
    assert [line.split("\t")[0] for line in lines] == page.locator("#layer option").all_inner_texts()
    page.get_by_role("slider").press("ArrowRight")
    settle(page)
    assert figure.get_by_role("row").all_inner_texts()[1:] != lines
    assert not page.said


FILLED = """() => [...document.querySelectorAll(".drawing")].filter((drawing) => {
  const left = drawing.clientWidth - drawing.querySelector("svg").getAttribute("width");
  return left < 0 || left > 40;
}).length"""


def test_layers_stand_below_their_points(page):
    texts = re.findall(
        r'<text text-anchor="(\w+)" transform="translate\(([\d.]+),[^>]*>(?:conv|fc)', svg(page, THROUGH)
    )
    points = re.findall(r'translate\(([\d.]+),[^>]*fill="var\(--run', svg(page, THROUGH))
    assert len(texts) > 1
    assert {anchor for anchor, _ in texts} == {"middle"}
    assert all(min(abs(float(x) - float(point)) for point in points) <= 0.5 for _, x in texts)


def test_each_chart_is_as_wide_as_its_place(page):
    """The axes of charts of one kind leave room for the widest label so far."""
    settle(page)
    assert page.evaluate(FILLED) == 0


WIDEST = "Math.max(...[...document.querySelectorAll('figure svg')].map((x) => x.clientWidth))"


def test_a_phone_shows_it_without_scrolling_sideways(page):
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth", timeout=WAIT)
    page.wait_for_function(f"{WIDEST} <= 360", timeout=WAIT)
    settle(page)
    page.set_viewport_size({"width": 1200, "height": 900})
    page.wait_for_function(f"{WIDEST} > 360", timeout=WAIT)
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_function(f"{WIDEST} <= 360", timeout=WAIT)


def test_on_paper_there_are_no_controls(page):
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.get_by_role("slider").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.said


PRINTED = """async () => {
  const undrawn = () => document.querySelectorAll(".drawing > div:not(:has(svg))").length;
  while (!document.documentElement.dataset.drawn) await new Promise(requestAnimationFrame);
  const before = undrawn(), next = new Promise((resume) => setTimeout(resume));
  dispatchEvent(new Event("beforeprint"));
  await next;
  return [before, undrawn()];
}"""


def test_a_page_that_is_printed_early_has_every_chart(browser, report):
    """The handler of the event, which a browser waits for, draws everything, although most charts are out of sight."""
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.goto(report.as_uri())
    before, after = opened.evaluate(PRINTED)
    opened.close()
    assert before > 20
    assert after == 0


# The contrast (WCAG 2.2, 1.4.3) of each text in a chart with the page behind it, which axe leaves out as hidden, and of
# each number of a matrix with its square, whose colours axe does not mix.
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const painted = (...colours) => { // one over the other
    for (canvas.fillStyle of colours) canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (x) => (x <= 10.3 ? x / 3294 : ((x / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const paper = getComputedStyle(document.body).backgroundColor;
  return [...document.querySelectorAll(".drawing svg text, .matrix td")].map((text) => {
    const { fill, color, backgroundColor } = getComputedStyle(text), inside = text.matches("td");
    const colours = [painted(paper, backgroundColor), painted(paper, inside ? color : fill)];
    const [light, dark] = colours.map(luminance).sort((a, b) => b - a);
    return { text: text.textContent, inside, contrast: (light + 0.05) / (dark + 0.05), behind: colours[0].join() };
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_in_charts_have_enough_contrast(page, scheme):
    page.emulate_media(media="screen", color_scheme=scheme)
    found = page.evaluate(CONTRASTS)
    assert len(found) > 100
    assert len({one["behind"] for one in found if one["inside"]}) > 1
    assert [one for one in found if one["contrast"] < 4.5] == []


@pytest.mark.parametrize(
    "scheme, rules, passed",
    [
        ("light", {}, {"color-contrast", "image-alt", "label", "button-name", "region"}),
        ("dark", {"runOnly": ["color-contrast"]}, {"color-contrast"}),
    ],
)
def test_axe_finds_nothing(page, scheme, rules, passed):
    import axe_playwright_python

    # Drawings are hidden from screen readers, which get the sentence and the table instead. axe would take long to
    # check this in more than one chart.
    page.evaluate("for (const svg of [...document.querySelectorAll('.drawing svg')].slice(1)) svg.remove()")
    page.emulate_media(media="screen", color_scheme=scheme)
    page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("(rules) => axe.run({ resultTypes: ['violations'], ...rules })", rules)
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
    assert passed <= {one["id"] for one in found["passes"]}
    assert page.locator(".drawing svg").count() == 1
