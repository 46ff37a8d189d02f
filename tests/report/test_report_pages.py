"""Tables and the page: whole in any width, escaped, with verdicts marked, and nothing loaded from elsewhere."""

import base64
import html.parser
import io
import re

import pytest
from rich.console import Console

from qjaxsim.report import page, tables
from qjaxsim.report.headline import Fact, facts_of, headline_of
from qjaxsim.report.verdict import CLASSES
from qjaxsim.studies.hessian import figures
from tests.report_rows import PUBLISHED, grid

# --- tables ------------------------------------------------------------------------------------------------------


def printed(rows, columns=None, width=80, terminal=False, **options):
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, legacy_windows=False)
    tables.print_table(rows, columns, console=console, **options)
    return console.file.getvalue()


WIDE = [
    {"patches": p, "layers": 2, "seed": 0} | {f"a_long_quantity_{i}": 1234.5678 * p + i for i in range(20)}
    for p in (4, 9)
]


@pytest.mark.parametrize(("width", "terminal", "limit"), [(80, False, 100), (70, True, 70), (300, True, 100)])
def test_wide_tables_are_split_and_never_cut(width, terminal, limit):
    text = printed(WIDE, width=width, terminal=terminal, formats={f"a_long_quantity_{i}": ".8f" for i in range(20)})
    assert limit - 20 < max(map(len, text.splitlines())) <= limit
    assert "…" not in text
    for row in WIDE:
        for i in range(20):
            assert text.count(f"{row[f'a_long_quantity_{i}']:.8f}") == 1
    blocks = text.count("patches")
    assert blocks > 1
    assert text.count("seed") == blocks


def test_a_column_wider_than_the_line_is_still_whole():
    text = printed([{"patches": 4, "note": "x" * 150}])
    assert "x" * 150 in text


def test_table_of_missing_values_markup_and_title():
    text = printed([{"a": None, "b": "[bold]x[/]", "c": True, "d": [1, 2.5]}], title="Results [of] x")
    assert text.startswith("Results [of] x\n")
    assert "[bold]x[/]" in text
    assert "–" in text
    assert "yes" in text
    assert "1, 2.500" in text


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (0.0228784, "train_loss", "0.02288"),
        (0.99426, "test_accuracy", "0.9943"),
        (15.98712, "lambda_max", "15.99"),
        (-0.0032, "lambda_min", "-0.003200"),
        (1e-12, "lambda_min", "1.000e-12"),
        (10308, "parameters", "10308"),
        (False, "converged", "no"),
        (None, "trace", "–"),
    ],
)
def test_number_formats(value, column, text):
    assert tables.format_value(value, column) == text


def test_formats_can_be_overridden():
    assert tables.format_value(0.5, "train_loss", {"train_loss": ".1%"}) == "50.0%"


# --- page --------------------------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Tags with attributes, and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


EVIL = "<script>alert('x')</script> & \"quoted\""
COMPARISON = [
    {"quantity": "lambda_max", "ours": 15.2, "published": 15.987, "difference": -0.787, "comparable": True},
    {"quantity": EVIL, "ours": None, "published": 22.54, "difference": None, "comparable": f"4 qubits, not 8 {EVIL}"},
]


def write(path, rows, **changes):
    options = {
        "title": "Hessian",
        "introduction": "First.\n\nSecond.",
        "settings": {"layers": [1, 2], "rate": 0.1, "name": "digits"},
        "columns": {"patches": "number of patches", "unused": "never seen"},
        "command": "qjaxsim study hessian --patches 4",
        "versions": {"jax": "0.10.2"},
        "comparison": COMPARISON,
    }
    return page.write_report(path, rows=rows, **(options | changes))


def test_page_is_self_contained_and_complete(tmp_path):
    rows, arrays = grid((4,), (2,), (0,))
    made = figures.write_figures(rows, arrays, tmp_path, published=PUBLISHED)
    text = write(tmp_path / "report.html", rows, figures=made).read_text(encoding="utf-8")
    parsed = Page(text)
    assert not [tag for tag, _ in parsed.tags if tag in ("link", "iframe", "object")]
    assert not [attributes for _, attributes in parsed.tags if "src" in attributes and attributes["src"][:5] != "data:"]
    images = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert [image["alt"] for image in images] == [figure.title for figure in made]
    for image, figure in zip(images, made, strict=True):
        prefix, _, encoded = image["src"].partition(",")
        # A landscape's picture is large: the page has it compressed.
        large = figure.path.stem == "landscape"
        assert prefix == f"data:image/{'webp' if large else 'png'};base64"
        assert large or base64.b64decode(encoded) == figure.path.read_bytes()
    # Nothing that a browser would fetch: no address, no import, no url() in the style.
    without_images = "".join(part.split('"', 1)[-1] for part in re.split("data:image/(?:png|webp);base64,", text))
    assert not any(word in without_images for word in ("http:", "https:", "url(", "@import", 'src="/'))
    for expected in (
        "First.", "Second.", "number of patches", "[1, 2]", "digits", "qjaxsim study hessian --patches 4", "0.10.2",
        made[0].caption, "not comparable: 4 qubits, not 8", "-0.7870",
    ):  # fmt: skip
        assert expected in parsed.text
    assert "never seen" not in parsed.text
    assert "p4-l2-s0" not in parsed.text
    assert str(tmp_path) not in text


def test_page_escapes_everything(tmp_path):
    figure = figures.ReportFigure(tmp_path / "x.png", EVIL, EVIL)
    figure.path.write_bytes(b"png")
    text = write(
        tmp_path / "report.html",
        [{EVIL: 1.0, "name": EVIL}],
        title=EVIL,
        introduction=EVIL,
        settings={EVIL: EVIL, "list": [EVIL]},
        columns={EVIL: EVIL},
        headline=[Fact(EVIL, EVIL)],
        command=EVIL,
        versions={EVIL: EVIL},
        figures=[figure],
    ).read_text()
    parsed = Page(text)
    # The page's own script, which the policy names, and no other.
    assert [attributes for tag, attributes in parsed.tags if tag == "script"] == [{}]
    assert parsed.text.count("<script>alert('x')</script>") >= 16


CLAIMS = [
    {"claim": f"claim {i}", "source": "a paper", "verdict": verdict, "evidence": "40 (38–43)", "tested_by": "seeds"}
    for i, verdict in enumerate(CLASSES)
]


def test_page_marks_the_verdicts(tmp_path):
    rows, arrays = grid((4,), (2,), (0,))
    made = figures.write_figures(rows, arrays, tmp_path, published=PUBLISHED)
    text = write(tmp_path / "report.html", rows, verdicts=CLAIMS, figures=made).read_text(encoding="utf-8")
    parsed = Page(text)
    marked = [attributes["class"] for tag, attributes in parsed.tags if tag == "span"]
    assert marked == list(CLASSES.values())
    for verdict, names in CLASSES.items():
        assert f'<span class="{names}">{verdict}</span>' in text
        # Each has a frame of its own: without colours, too, they differ.
        assert f".{names.split()[1]} {{" in text
    # A picture first, what it says of the claims, and then the tables.
    first = text.index("<figure")
    names = ("Published claims", "Published numbers beside ours", "Results")
    sections = [first, *(text.index(f">{name}</h2>") for name in names)]
    assert sections == sorted(sections)
    assert text.index("<figure", first + 1) > sections[-1]
    for expected in (
        "claim 3", "a paper", "40 (38–43)", "tested by",
        "1 of 4 published claims hold; 1 more with a reservation; 1 not seen; 1 not tested here",
    ):  # fmt: skip
        assert expected in parsed.text


def test_the_headline_comes_first_with_its_meaning(tmp_path):
    rows = [{"loss": 2.0, "rank": 3}, {"loss": 0.123456, "rank": None}, {"loss": None, "rank": 3}]
    for names, expected in {
        ("missing", "loss"): "0.1235 to 2 loss: of training, nats",
        ("rank", "loss"): "3 rank",
    }.items():
        headline = facts_of(headline_of(names, rows), {"loss": "of training, nats"})
        text = write(tmp_path / "r.html", rows, headline=headline, introduction="Words.").read_text(encoding="utf-8")
        body = Page(text[text.index("<h1>") :]).text
        assert body.index("Hessian") < body.index(expected) < body.index("Words.")
    assert headline_of(["missing"], rows) is None and facts_of(None, {}) == []


def test_verdicts_are_escaped_and_only_verdicts_are_marked(tmp_path):
    rows = [{**CLAIMS[0], "claim": EVIL, "source": "holds", "evidence": EVIL, "tested_by": EVIL}]
    text = write(tmp_path / "report.html", [{"a": 1}], verdicts=rows).read_text(encoding="utf-8")
    parsed = Page(text)
    assert [attributes for tag, attributes in parsed.tags if tag == "script"] == [{}]
    assert text.count("<span") == 1
    assert parsed.text.count("<script>alert('x')</script>") >= 3


def test_other_verdicts_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be one of \['holds', .*\], but for 'claim 0' it is 'maybe'"):
        write(tmp_path / "r.html", [], verdicts=[CLAIMS[0] | {"verdict": "maybe"}])
    with pytest.raises(ValueError, match=r"one lacks \['evidence', 'tested_by'\]"):
        write(tmp_path / "r.html", [], verdicts=[{"claim": "c", "source": "s", "verdict": "holds"}])
    assert not (tmp_path / "r.html").exists()


def test_page_without_extras(tmp_path):
    text = write(tmp_path / "r.html", [{"a": 1}], comparison=()).read_text()
    assert "Published" not in text
    assert "<img" not in text


def test_comparison_must_say_why_not(tmp_path):
    with pytest.raises(ValueError, match=r"must be True or the reason why not, but for 'lambda_max' it is False"):
        write(tmp_path / "r.html", [], comparison=[COMPARISON[0] | {"comparable": False}])
    with pytest.raises(ValueError, match=r"one lacks \['difference', 'comparable'\]"):
        write(tmp_path / "r.html", [], comparison=[{"quantity": "q", "ours": 1, "published": 2}])
    assert not (tmp_path / "r.html").exists()
