"""One HTML file that holds a whole report: nothing is loaded from anywhere, and no script runs but the page's own."""

import base64
import io
import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from qjaxsim.common import files
from qjaxsim.report.figure import ReportFigure
from qjaxsim.report.headline import Fact
from qjaxsim.report.row import Row
from qjaxsim.report.scripts import Scripts, scripts_of
from qjaxsim.report.tables import KEYS, ReportTable, all_columns, format_value, split_columns
from qjaxsim.report.verdict import CLASSES, Verdict, check_verdicts, tally

# Characters of a table's line that fit the page on paper and on a laptop.
_WIDTH = 110
# Bytes of a picture beyond which a page, which stays below 5 MB, does not hold it as it is.
_LARGE = 250_000
# Lines of a table, over all its parts, beyond which it is folded: more than half a screen.
_OPEN = 12
_COMPARISON = ("quantity", "ours", "published", "difference", "comparable")


class Link(NamedTuple):
    """A link to another page.

    Attributes:
        href: path from the page's own folder, with slashes.
        text: what it is called.
        note: what stands behind it.
    """

    href: str
    text: str
    note: str = ""


def write_report(
    path: str | Path,
    *,
    title: str,
    introduction: str,
    settings: Mapping[str, Any],
    rows: Sequence[Row],
    columns: Mapping[str, str],
    versions: Mapping[str, Any],
    headline: Sequence[Fact] = (),
    command: str = "",
    verdicts: Sequence[Row] = (),
    comparison: Sequence[Row] = (),
    tables: Sequence[ReportTable] = (),
    figures: Sequence[ReportFigure] = (),
    formats: Mapping[str, str] | None = None,
    keys: Sequence[str] = KEYS,
    appendix: Sequence[ReportTable] = (),
    usage: str = "",
    downloads: Sequence[Link] = (),
    links: Sequence[Link] = (),
    links_note: str = "",
) -> Path:
    """The path, now holding the report as one HTML file.

    Args:
        path: file to create or replace.
        title: heading.
        introduction: what was done, in plain text; empty lines separate paragraphs.
        settings: name -> JSON value.
        rows: table of results. As all tables it can be sorted by any column, and is folded if it is long.
        columns: column -> meaning and unit, listed below the tables for those that occur in any.
        versions: name -> version or device.
        headline: what matters most, in large letters below the title; how many of `verdicts` hold is added.
        command: command line that makes the same results again; "" where there is none.
        verdicts: rows with the fields of `qjaxsim.report.verdict.Verdict`, a section right after the first figure.
        comparison: rows with quantity, ours, published, difference (None where it has no meaning) and comparable:
            true, or a string that says why not.
        tables: more tables, a section each after the results.
        figures: as `qjaxsim.report.figure.written` gives them; embedded, as pictures and so that they can be zoomed.
            The first begins the page, the others follow the tables.
        formats: column -> format specification, before those of `qjaxsim.report.tables.FORMATS`.
        keys: columns that tell rows apart, repeated where the table of results is split.
        appendix: tables after the figures, long ones.
        usage: lines of Python that use the results; no section without.
        downloads: files beside the page that hold its numbers; no section without.
        links: to other pages, a section of their own.
        links_note: sentence above them.

    Raises:
        ValueError: if a row of `comparison` lacks a column, or has false for `comparable` instead of a reason; if a row
            of `verdicts` lacks a column or has an unknown verdict.
        OSError: if a figure cannot be read or the page not be written.
    """
    check_verdicts(verdicts)
    _check_comparison(comparison)
    scripts = scripts_of([figure.interactive for figure in figures])
    folder = Path(path).parent
    pictures = [_figure(figure, place, folder) for figure, place in zip(figures, scripts.places, strict=True)]
    parts = pictures[:1]
    if verdicts:
        parts += ["<h2>Published claims</h2>", _records(verdicts, Verdict._fields, formats)]
    if comparison:
        parts += ["<h2>Published numbers beside ours</h2>", _comparison(comparison, formats)]
    parts += ["<h2>Results</h2>", _results(rows, formats, keys)]
    parts += [_section(table, formats) for table in tables]
    parts += pictures[1:]
    parts += [_section(table, formats) for table in appendix]
    shown = [*rows, *(row for table in (*tables, *appendix) for row in table.rows)]
    explained = {name: columns[name] for name in all_columns(shown) if name in columns}
    parts += ["<h2>Columns</h2>", _definitions(explained)] if explained else []
    parts += ["<h2>Settings</h2>", _definitions(settings)]
    parts += ["<h2>Use it in Python</h2>", f"<pre>{escape(usage)}</pre>"] if usage else []
    parts += ["<h2>Download</h2>", _links(downloads, "")] if downloads else []
    parts += ["<h2>Run it again</h2>", f"<pre>{escape(command)}</pre>"] if command else []
    parts += ["<h2>Versions</h2>", _definitions(versions)]
    parts += ["<h2>Other runs</h2>", _links(links, links_note)] if links else []
    top = [f"<h1>{escape(title)}</h1>", *_facts([*headline, *tally(verdicts)])]
    top += [f"<p>{escape(text.strip())}</p>" for text in introduction.split("\n\n") if text.strip()]
    return files.write_text(path, _document(title, "\n".join([*top, *_with_contents(parts)]), scripts))


def _with_contents(parts: Sequence[str]) -> list[str]:
    """A line of links to the sections, and these with places to go to."""
    placed: list[str] = []
    entries: list[str] = []
    for part in parts:
        if part.startswith("<h2>"):
            name = part[4 : part.index("</h2>")]
            entries.append(f'<a href="#section-{len(entries) + 1}">{name}</a>')
            part = part.replace("<h2>", f'<h2 id="section-{len(entries)}">', 1)
        placed.append(part)
    return [f"<nav>{' '.join(entries)}</nav>", *placed]


def _document(title: str, body: str, scripts: Scripts) -> str:
    style = (resources.files("qjaxsim.report") / "page.css").read_text(encoding="utf-8")
    # The policy makes the promise of the module's first line one that browsers keep; it knows scripts by digests.
    policy = f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'{scripts.policy}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
{scripts.html}</body>
</html>
"""


def _section(table: ReportTable, formats: Mapping[str, str] | None) -> str:
    parts = [f"<h2>{escape(table.title)}</h2>"]
    parts += [f"<p>{escape(table.note)}</p>"] if table.note else []
    parts += [_sortable(table.rows, [all_columns(table.rows)], formats)] if table.rows else []
    return "\n".join(parts)


def _results(rows: Sequence[Row], formats: Mapping[str, str] | None, keys: Sequence[str]) -> str:
    blocks = split_columns(rows, _without_cell(rows, keys), width=_WIDTH, keys=keys, formats=formats)
    return _sortable(rows, blocks, formats)


def _sortable(rows: Sequence[Row], blocks: Sequence[Sequence[str]], formats: Mapping[str, str] | None) -> str:
    """A table in parts, which are sorted together; folded where it is long."""
    inside = "\n".join(_table(rows, block, formats) for block in blocks)
    names = {name for block in blocks for name in block}
    size = f"{len(rows)} row{'s' * (len(rows) != 1)}, {len(names)} column{'s' * (len(names) != 1)}"
    unfolded = " open" if len(rows) * len(blocks) <= _OPEN else ""
    return f'<details class="sortable"{unfolded}>\n<summary>{size}</summary>\n{inside}\n</details>'


def _facts(facts: Sequence[Fact]) -> list[str]:
    shown = "".join(f"<div><strong>{escape(one.number)}</strong> {escape(one.meaning)}</div>" for one in facts)
    return [f'<div class="facts">{shown}</div>'] if facts else []


def _without_cell(rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    """All columns but the folder names of cells, where other columns say the same."""
    names = all_columns(rows)
    return [name for name in names if name != "cell"] if set(keys) & set(names) else names


def _table(
    rows: Sequence[Row],
    columns: Sequence[str],
    formats: Mapping[str, str] | None,
    marks: Mapping[str, Mapping[str, str]] | None = None,
    named: bool = False,
) -> str:
    """A table; `marks` gives, by column, the CSS class of a text, and `named` cells the names of their columns."""
    head = "".join(f"<th{_side(rows, name)}>{escape(name.replace('_', ' '))}</th>" for name in columns)
    body = "\n".join(
        "<tr>"
        + "".join(_cell(rows, row, name, formats, (marks or {}).get(name, {}), named) for name in columns)
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _cell(
    rows: Sequence[Row],
    row: Row,
    name: str,
    formats: Mapping[str, str] | None,
    marks: Mapping[str, str],
    named: bool,
) -> str:
    text = format_value(row.get(name), name, formats)
    shown = f'<span class="{marks[text]}">{escape(text)}</span>' if text in marks else escape(text)
    label = f' data-name="{escape(name.replace("_", " "))}"' if named else ""
    return f"<td{_side(rows, name)}{label}>{shown}</td>"


def _side(rows: Sequence[Row], name: str) -> str:
    words = any(isinstance(row.get(name), str) for row in rows)
    return ' class="words"' if words else ""


def _check_comparison(comparison: Sequence[Row]) -> None:
    for row in comparison:
        if missing := [name for name in _COMPARISON if name not in row]:
            raise ValueError(
                f"Rows of `comparison` must have the columns {list(_COMPARISON)}, but one lacks {missing}."
            )
        if row["comparable"] is not True and not (isinstance(row["comparable"], str) and row["comparable"]):
            raise ValueError(
                f"Column `comparable` of `comparison` must be True or the reason why not, but for {row['quantity']!r} "
                f"it is {row['comparable']!r}."
            )


def _comparison(comparison: Sequence[Row], formats: Mapping[str, str] | None) -> str:
    shown = [
        {**row, "comparable": "yes" if row["comparable"] is True else f"not comparable: {row['comparable']}"}
        for row in comparison
    ]
    return _records(shown, _COMPARISON, formats)


def _records(rows: Sequence[Row], columns: Sequence[str], formats: Mapping[str, str] | None) -> str:
    """A table of long texts, which a narrow page sets as lists: every cell knows its column's name."""
    table = _table(rows, columns, formats, {"verdict": CLASSES}, named=True)
    return f'<div class="records">{table}</div>'


def _figure(figure: ReportFigure, place: int | None, folder: Path) -> str:
    """The picture, which stands where scripts do not run and on paper, and the place of the panels that replace it."""
    panels = "" if place is None else f'<div class="panels" data-figure="{place}"></div>\n'
    beside = figure.path.is_relative_to(folder)
    link = _link(Link(figure.path.relative_to(folder).as_posix(), "PNG")) if beside else ""
    return (
        f"<h2>{escape(figure.title)}</h2>\n<figure>\n"
        f'<img src="{_embedded(figure.path)}" alt="{escape(figure.title)}">\n{panels}'
        f"<figcaption>{escape(figure.caption)} {link}</figcaption>\n</figure>"
    )


def _embedded(path: Path) -> str:
    """A PNG as an address, one of many colours and shades as WebP, a tenth as large."""
    kind, picture = "png", path.read_bytes()
    if len(picture) > _LARGE:
        from PIL import Image

        buffer = io.BytesIO()
        Image.open(io.BytesIO(picture)).convert("RGB").save(buffer, "webp", quality=70)
        kind, picture = "webp", buffer.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def _links(links: Sequence[Link], note: str) -> str:
    above = f"<p>{escape(note)}</p>\n" if note else ""
    lines = "\n".join(f"<li>{_link(link)}</li>" for link in links)
    return f"{above}<ul>\n{lines}\n</ul>"


def _link(link: Link) -> str:
    behind = f": {link.note}" if link.note else ""
    return f'<a href="{escape(quote(os.fsencode(link.href)))}">{escape(link.text)}</a>{escape(behind)}'


def _definitions(entries: Mapping[str, Any]) -> str:
    lines = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(_plain(value))}</dd>" for name, value in entries.items())
    return f"<dl>\n{lines}\n</dl>"


def _plain(value: Any) -> str:
    """Settings in full, unlike numbers in tables."""
    return value if isinstance(value, str) else json.dumps(files.to_json(value, nan_as_null=True), ensure_ascii=False)
