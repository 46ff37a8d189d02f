"""What the site has beside the pages in docs/: reference, commands, columns, gallery, a line below each title."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from docs.make import reference, results
from docs.make.pages import DOCS
from docs.make.prose import with_brackets

ROOT = DOCS.parent
RUNS = Path(__file__).with_name("runs.json")
_INCLUDE = re.compile(r"^<!-- include: (\S+) -->$", flags=re.MULTILINE)
_TITLE = re.compile(r"\A\s*# [^\n]+\n")
_PICTURE = re.compile(r'<p>(?P<image><img alt="(?P<words>[^"]+)" src="(?P<file>[^"]+)"[^>]*>)</p>')
_FIGURE = re.compile(r"!\[([^]]+)\]\(\.\./([^)/]+\.png)\)")


def on_files(files: Files, config: Any) -> Files:
    """The site's files, with those that are made here."""
    made = {
        **reference.pages_of_modules(),
        "reference/command.md": reference.page_of_commands(),
        "reference/columns.md": reference.page_of_columns(),
        "gallery.md": gallery(Path(config.docs_dir)),
    }
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    return files


def gallery(docs: Path) -> str:
    """Every figure of the pages of results, as a card that leads to its page."""
    cards = []
    for page in sorted(docs.glob("results/*.md")):
        text = page.read_text(encoding="utf-8")
        title = text.split("\n", 1)[0].removeprefix("# ")
        for caption, figure in _FIGURE.findall(text):
            cards.append(f"-   [![{caption}]({figure})](results/{page.name})\n\n    **{title}.** {caption}.\n")
    return f'{_GALLERY}\n<div class="cards wide" markdown>\n\n{chr(10).join(cards)}\n</div>\n'


_GALLERY = """# Gallery

Figures of the studies. A figure leads to the page with its numbers, controls and command, and the file that keeps its
rows where one does.
"""


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with what it includes, and with its version and time below its title."""
    included = _INCLUDE.sub(lambda place: _below_its_title(ROOT / place[1]), markdown)
    return _with_run(with_brackets(included), page)


def on_page_content(html: str, **_: Any) -> str:
    """The page with its figures leading to their files, which a phone can enlarge, and their words below them."""
    return _PICTURE.sub(_with_caption, html)


def on_post_template(output_content: str, template_name: str, **_: Any) -> str:
    """The page for addresses that lead nowhere, with a style of its own."""
    return _LOST if template_name == "404.html" else output_content


# A server shows it at any depth, where no relative address of a style or a page is right, and the site knows no other.
_LOST = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>No such page - qjaxsim</title>
<style>
:root { color-scheme: light dark; }
body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem; }
button { font: inherit; padding: 0.3rem 0.8rem; cursor: pointer; }
</style>
</head>
<body>
<h1>No such page</h1>
<p>The page has moved, or the address has a slip.</p>
<button type="button" onclick="history.back()">Back</button>
</body>
</html>
"""


def _with_caption(found: re.Match[str]) -> str:
    return f'<figure><a href="{found["file"]}">{found["image"]}</a><figcaption>{found["words"]}.</figcaption></figure>'


def _below_its_title(source: Path) -> str:
    """A page that stands beside the code, without its title."""
    return _TITLE.sub("", source.read_text(encoding="utf-8"))


def _with_run(markdown: str, page: Any) -> str:
    run = json.loads(RUNS.read_text(encoding="utf-8")).get(page.file.src_uri)
    line = _of_program(run, page) if run else _of_kept(markdown)
    return _TITLE.sub(lambda title: f"{title[0]}\n{line}\n{{ .ran }}\n", markdown, count=1) if line else markdown


def _of_program(run: dict[str, Any], page: Any) -> str:
    versions = f"qjaxsim {run['qjaxsim']}, JAX {run['jax']}, Python {run['python']}"
    line = f"Run with {versions}: {run['seconds']} s of processor time on two cores, mostly compiling."
    notebook = Path(page.file.abs_src_path).with_suffix(".ipynb")
    return f"{line} [As a notebook]({notebook.name})." if notebook.exists() else line


def _of_kept(markdown: str) -> str:
    versions = results.versions_of_kept(markdown)
    if versions:
        return f"Kept runs with {' and with '.join(versions)}."
    return "The kept files do not say with which versions they were made." if "<!-- verdicts:" in markdown else ""
