"""A report in a browser: no error, no request, nothing over anything else, at both widths, in light and in dark."""

import shutil
from dataclasses import replace

import pytest

from qjaxsim.studies.hessian import figures
from qjaxsim.studies.shared.study import run_study
from tests.report.test_report import grid
from tests.study_cases import Settings, made_up

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, which drives a browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, of which none is on the path")

# Without a graphics card surfaces are drawn by the processor.
OPTIONS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
# Boxes of text within each plot, and of the blocks of the page, that lie over each other by more than a hair.
OVERLAPS = """() => {
  const over = (boxes) => {
    const found = [];
    for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
      const [a, b] = [boxes[i].box, boxes[j].box];
      const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (width > 1.5 && height > 1.5) found.push(`${boxes[i].text} | ${boxes[j].text}`);
    }
    return found;
  };
  const boxes = (elements) => [...elements].map((one) => ({ box: one.getBoundingClientRect(),
    text: one.textContent.slice(0, 40) })).filter(({ box, text }) => box.width && box.height && text);
  const plots = [...document.querySelectorAll(".plot")].flatMap((plot) => over(boxes(plot.querySelectorAll(
    ".xtick text, .ytick text, .g-xtitle text, .g-ytitle text, .annotation-text-g text"))));
  const blocks = over(boxes(document.querySelectorAll(
    "h1, h2, main > p, nav, .wide, pre, dl, main > ul, .legend, .panel, figcaption")));
  return [...plots, ...blocks];
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a run whose figures are of all kinds, beside another run."""
    folder = tmp_path_factory.mktemp("runs")
    drawn = grid((1, 4), (2,), (0,))
    study = made_up(figures=lambda settings, rows, out: figures.write_figures(*drawn, out / "figures"))
    run_study(replace(study, figures=lambda settings, rows, out: []), Settings(), folder / "earlier")
    run_study(study, Settings(), folder / "out")
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def opened(report):
    """The page, opened once without a network, and what it has logged and asked for."""
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_context(offline=True, viewport={"width": 1400, "height": 6000}).new_page()
        heard: list[str] = []
        page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url) if "//" in request.url[:8] else None)
        page.goto(report.as_uri())
        settle(page)
        yield page, heard
        browser.close()


def settle(page):
    """Until all panels are drawn."""
    page.wait_for_selector(".live")
    for plot in page.query_selector_all(".plot"):
        plot.wait_for_selector(".main-svg", state="attached")
    page.wait_for_timeout(300)


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_lies_over_anything_and_colours_follow_the_page(opened, width, scheme):
    page, heard = opened
    page.set_viewport_size({"width": width, "height": 9000})
    page.emulate_media(color_scheme=scheme)
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERLAPS) == []
    ink, paper, tick = page.evaluate(
        """() => [document.body, document.body, document.querySelector(".xtick text")].map((one, i) =>
        getComputedStyle(one)[["color", "backgroundColor", "fill"][i]])"""
    )
    assert tick == ink and (sum(brightness(ink)) > sum(brightness(paper))) == (scheme == "dark")
    assert heard == [page.url]


def brightness(colour):
    return [int(part) for part in colour.strip("rgb()").split(",")]


def test_figures_answer_hide_zoom_and_turn(opened):
    page, _ = opened
    page.set_viewport_size({"width": 1400, "height": 6000})
    settle(page)
    plots = page.query_selector_all(".plot")
    training, solid = plots[-1], next(plot for plot in plots if plot.query_selector("canvas"))
    training.query_selector(".points path").hover(force=True)
    assert "epoch: 7" in training.wait_for_selector(".hovertext").text_content()
    box = training.query_selector(".nsewdrag").bounding_box()
    middle, up = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = training.evaluate("plot => plot.layout.xaxis.range.slice()")
    page.mouse.move(middle, up)
    page.mouse.down()
    page.mouse.move(middle + box["width"] / 4, up, steps=3)
    page.mouse.up()
    after = training.evaluate("plot => plot._fullLayout.xaxis.range.slice()")
    assert before[0] < after[0] < after[1] < before[1]
    figure = page.query_selector_all("figure")[-1]
    lines = len(training.query_selector_all(".js-line"))
    figure.query_selector(".entry").click()
    assert len(training.query_selector_all(".js-line")) < lines
    camera = "plot => JSON.stringify(plot._fullLayout.scene._scene.getCamera().eye)"
    seen, box = solid.evaluate(camera), solid.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 280, box["y"] + 220, steps=4)
    page.mouse.up()
    page.wait_for_timeout(300)
    assert solid.evaluate(camera) != seen


def test_the_picture_is_what_paper_shows(opened):
    page, _ = opened
    page.emulate_media(media="print")
    shown = page.evaluate("[...document.querySelectorAll('figure')].map((one) => one.querySelector('img').offsetHeight)")
    assert len(shown) == 4 and min(shown) > 0 and not page.query_selector(".panels").is_visible()
    page.emulate_media(media="screen")


def test_links_lead_to_files(opened, report):
    page, _ = opened
    links = page.evaluate("[...document.querySelectorAll('a')].map((one) => one.getAttribute('href'))")
    files = [link for link in links if not link.startswith("#")]
    assert {"summary.csv", "summary.json", "cells/b2/arrays.npz", "../earlier/report.html"} <= set(files)
    assert all((report.parent / link).is_file() for link in files)
    assert all(page.query_selector(link) for link in links if link.startswith("#"))


def test_without_scripts_the_pictures_stand(opened):
    page, _ = opened
    bare = page.context.browser.new_context(java_script_enabled=False).new_page()
    bare.goto(page.url)
    assert bare.query_selector("figure img").is_visible() and not bare.query_selector(".panels").is_visible()
