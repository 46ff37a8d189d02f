"""A report in a browser: no error, no request, nothing over anything else, at both widths, in light and in dark."""

import shutil
from dataclasses import replace

import pytest

from qjaxsim.report import style
from qjaxsim.report.page import write_report
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.hessian import figures
from qjaxsim.studies.shared.study import run_study
from tests.report.test_report import grid
from tests.study_cases import Settings, made_up

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, which drives a browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, of which none is on the path"),
]

# Surfaces are drawn by the processor here, so one test alone has them.
FLAT, SOLID = ["--no-sandbox", "--disable-3d-apis"], ["--no-sandbox", "--enable-unsafe-swiftshader"]
PATIENCE = 120_000  # milliseconds, of a machine with much to do
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
    "h1, h2, main > p, nav, .wide, pre, dl, main > ul, .panels > .legend, .panel, figcaption")));
  return [...plots, ...blocks];
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a run whose figures are of all kinds, beside another run."""
    folder = tmp_path_factory.mktemp("runs")
    drawn = grid((1, 4), (2,), (0,))
    del drawn[1][0]["landscape"]  # one surface is enough for a processor
    study = made_up(figures=lambda settings, rows, out: figures.write_figures(*drawn, out / "figures"))
    small = style.png_bytes(style.new_figure(1, 1))
    with pytest.MonkeyPatch.context() as patch:
        # Drawing takes the time; panels are read all the same.
        patch.setattr(style, "png_bytes", lambda figure: small)
        run_study(replace(study, figures=lambda settings, rows, out: []), Settings(), folder / "earlier")
        run_study(study, Settings(), folder / "out")
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def driver():
    with sync_api.sync_playwright() as found:
        yield found


def open_page(browser, address, width, height):
    """A page opened without a network, and what it has logged and asked for."""
    page = browser.new_context(offline=True, viewport={"width": width, "height": height}).new_page()
    page.set_default_timeout(PATIENCE)
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url) if "//" in request.url[:8] else None)
    page.goto(address)
    page.wait_for_selector(".live")
    return page, heard


@pytest.fixture(scope="module")
def opened(driver, report):
    """The page, so high a window that all of it is in view, and what is heard of it."""
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAT)
    page, heard = open_page(browser, report.as_uri(), 1400, 6000)
    settle(page)
    yield page, heard
    browser.close()


def settle(page):
    """Until all panels are drawn."""
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


def test_figures_answer_zoom_and_hide(opened):
    page, _ = opened
    training = page.query_selector_all(".plot")[-1]
    training.query_selector(".points path").hover(force=True)
    assert "epoch: 7" in training.wait_for_selector(".hovertext").text_content()
    box = training.query_selector(".nsewdrag").bounding_box()
    middle, up = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = training.evaluate("plot => plot.layout.xaxis.range.slice()")
    drag(page, (middle, up), (middle + box["width"] / 4, up))
    after = training.evaluate("plot => plot._fullLayout.xaxis.range.slice()")
    assert before[0] < after[0] < after[1] < before[1]
    lines = len(training.query_selector_all(".js-line"))
    page.query_selector_all("figure")[-1].query_selector(".entry").click()
    assert len(training.query_selector_all(".js-line")) < lines


@pytest.mark.slow
def test_a_surface_turns(driver, report):
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=SOLID)
    page, heard = open_page(browser, report.as_uri(), 400, 400)
    place = page.query_selector_all("figure")[2].query_selector_all(".plot")[1]
    place.scroll_into_view_if_needed()
    place.wait_for_selector("canvas")
    camera = "plot => JSON.stringify(plot._fullLayout.scene._scene.getCamera().eye)"
    seen, box = place.evaluate(camera), place.bounding_box()
    drag(page, (box["x"] + 200, box["y"] + 150), (box["x"] + 260, box["y"] + 170))
    page.wait_for_timeout(300)
    assert place.evaluate(camera) != seen and heard == [page.url]
    # Out of view it is taken down, since browsers keep few of them.
    page.evaluate("scrollTo(0, 0)")
    place.wait_for_selector("canvas", state="detached")
    place.scroll_into_view_if_needed()
    place.wait_for_selector("canvas")
    browser.close()


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=3)
    page.mouse.up()


def test_the_picture_is_what_paper_shows(opened):
    page, _ = opened
    page.emulate_media(media="print")
    shown = page.evaluate(
        "[...document.querySelectorAll('figure')].map((one) => one.querySelector('img').offsetHeight)"
    )
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
    assert bare.query_selector(".sortable td").is_visible() and not bare.query_selector("th button")


# Numbers in one order as texts and in another as such, with missing ones, in a table so wide that it has parts.
UNSORTED = [
    {"run": "4x100", "loss": 1e-12, "steps": 9, "worst": None, **{f"column_{i}": float(i) for i in range(12)}},
    {"run": "4x50", "loss": -2.0, "steps": 10, "worst": float("inf")},
    {"run": "control", "loss": float("nan"), "steps": 11, "worst": 2.5},
    {"run": "9x50", "loss": 15.98, "steps": 1, "worst": -1e9},
]
ORDERS = {
    "run": (["4x50", "4x100", "9x50", "control"], ["control", "9x50", "4x100", "4x50"]),
    "steps": (["9x50", "4x100", "4x50", "control"], ["control", "4x50", "4x100", "9x50"]),
    "loss": (["4x50", "4x100", "9x50", "control"], ["9x50", "4x100", "4x50", "control"]),
    "worst": (["9x50", "control", "4x50", "4x100"], ["4x50", "control", "9x50", "4x100"]),
}


@pytest.fixture(scope="module")
def tables(opened, tmp_path_factory):
    """A page of tables alone: one that is sorted, and one that is folded."""
    path = write_report(
        tmp_path_factory.mktemp("tables") / "report.html", title="Tables", introduction="", settings={}, columns={},
        versions={}, rows=UNSORTED, keys=("run",), tables=[ReportTable("Long", [{"place": i} for i in range(13)])],
    )  # fmt: skip
    page = opened[0].context.browser.new_page()
    page.goto(path.as_uri())
    yield page
    page.close()


@pytest.mark.parametrize("name", ORDERS)
def test_tables_are_sorted_by_the_head_that_is_pressed(tables, name):
    parts = tables.query_selector(".sortable").query_selector_all("table")
    assert len(parts) > 1
    head = next(head for part in parts for head in part.query_selector_all("th") if head.text_content() == name)
    written = [row["run"] for row in UNSORTED]
    for order, said in zip((*ORDERS[name], written), ("ascending", "descending", None), strict=True):
        head.query_selector("button").press("Enter")
        for part in parts:
            cells = part.query_selector_all("tbody td:first-child")
            assert [cell.text_content() for cell in cells] == order
        assert tables.evaluate("[...document.querySelectorAll('th')].map((one) => one.ariaSort).filter(Boolean)") == (
            [said] if said else []
        )
        assert head.get_attribute("aria-sort") == said


def test_long_tables_are_folded_except_on_paper(tables):
    short, long = tables.query_selector_all("details")
    visible = lambda: [one.query_selector("td").is_visible() for one in (short, long)]  # noqa: E731
    assert visible() == [True, False] and long.query_selector("summary").text_content() == "13 rows, 1 column"
    tables.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert visible() == [True, True]
    tables.evaluate("dispatchEvent(new Event('afterprint'))")
    assert visible() == [True, False]
    long.query_selector("summary").click()
    assert visible() == [True, True]
