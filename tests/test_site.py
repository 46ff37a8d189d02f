"""The site: it builds without a warning, asks no other host for anything, and is what its sources say."""

import ast
import json
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from docs.make import pages, results

ROOT = pages.DOCS.parent
NEEDS = 'needs the extra "docs": pip install -c constraints.txt -e ".[docs]"'
# Pages that name what they were run with where a reader of the repository looks, too.
PROSE = [ROOT / "README.md", *sorted(pages.DOCS.rglob("*.md"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    if find_spec("mkdocstrings_handlers") is None or find_spec("material") is None:
        pytest.skip(NEEDS)
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, [line for line in done.stderr.splitlines() if line.startswith(("WARNING", "ERROR"))]
    return folder


def test_every_page_is_built_and_no_page_loads_anything_from_another_host(site):
    built = {page.relative_to(site).with_suffix(".md").as_posix() for page in site.rglob("*.html")}
    assert {pages.relative(page) for page in pages.DOCS.rglob("*.md")} <= built
    loaded = r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"?((?:https?:)?//[^\"> ]+)"
    for page in site.rglob("*.html"):
        assert re.findall(loaded, page.read_text(encoding="utf-8")) == [], page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\(\"?(?:https?:)?//", sheet.read_text(encoding="utf-8")) == [], sheet


def test_the_page_of_a_lost_reader_needs_no_other_file(site):
    # It is shown at any depth, and the site may stand anywhere.
    lost = (site / "404.html").read_text()
    assert "<style>" in lost and "color-scheme: light dark" in lost
    assert not re.search(r"(href|src)=", lost)


def test_the_reference_has_every_public_name(site):
    for init in [
        *ROOT.glob("qjaxsim/*/__init__.py"),
        *ROOT.glob("bridges/*/__init__.py"),
        ROOT / "qjaxsim/__init__.py",
    ]:
        module = ".".join(init.parent.relative_to(ROOT).parts).removeprefix("bridges.")
        tree = ast.parse(init.read_text(encoding="utf-8"))
        names = [
            name
            for node in tree.body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
            for name in ast.literal_eval(node.value)
        ]
        text = "".join(page.read_text(encoding="utf-8") for page in site.glob("reference/*.html"))
        missing = [name for name in names if name != "__version__" and f'{name}"' not in text]
        assert missing == [], module


def test_every_command_and_the_figures_are_there(site):
    text = (site / "reference/command.html").read_text(encoding="utf-8")
    for command in ("crosscheck", "ibm run", "qubo solve", "bench", "data prepare", "study hessian"):
        assert f">qjaxsim {command}<" in text
    assert "--reads" in text and "lambda_max" in (site / "reference/columns.html").read_text(encoding="utf-8")
    assert (site / "gallery.html").read_text(encoding="utf-8").count("<img") >= 10


def test_pages_say_with_which_version_and_how_long_they_ran(site):
    runs = json.loads((pages.DOCS / "make/runs.json").read_text(encoding="utf-8"))
    run_here = {pages.relative(page) for page in pages.pages_with_programs()}
    assert run_here <= set(runs)
    for name in run_here:
        assert f"qjaxsim {runs[name]['qjaxsim']}, JAX" in (site / name).with_suffix(".html").read_text(encoding="utf-8")


def test_notebooks_are_their_pages():
    pytest.importorskip("jupytext", reason=NEEDS)
    from docs.make import notebooks

    assert len(notebooks.tutorials()) == 6
    for page in notebooks.tutorials():
        kept = page.with_suffix(".ipynb").read_text(encoding="utf-8")
        assert kept == notebooks.notebook_of(page), "make pages"
        cells = json.loads(kept)["cells"]
        code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        assert code.startswith("# This notebook") and "%pip install" in code and "savefig" not in code


@pytest.mark.parametrize("page", results.pages_of_results(), ids=lambda page: page.stem)
def test_tables_of_results_are_those_of_the_kept_files(page):
    text = page.read_text(encoding="utf-8")
    assert results.page_with_tables(text) == text, "make pages"
    named = re.findall(r"`(\w+_(?:cpu|h200)|published_\w+)\.json`", text)
    assert all((results.KEPT / f"{name}.json").exists() for name in named)


def test_a_run_that_was_cut_short_is_named_and_only_its_whole_pieces_are_judged(tmp_path, monkeypatch):
    kept = json.loads((results.KEPT / "attention_mnist_cpu.json").read_text(encoding="utf-8"))[0]["rows"]
    of_seed = {seed: [row for row in kept if row["seed"] == seed] for seed in (1, 2)}
    cells = len(of_seed[1])
    pieces = [
        {"name": "1", "finished": cells, "cells": cells, "rows": of_seed[1]},
        {"name": "2", "finished": 1, "cells": cells, "rows": of_seed[2][:1]},
    ]
    run = {"command": "qjaxsim study attention", "note": "Cut short: 1 of 2 pieces whole (1).", "pieces": pieces}
    (tmp_path / "published_some.json").write_text(json.dumps(run), encoding="utf-8")
    monkeypatch.setattr(results, "KEPT", tmp_path)
    page = results.page_with_tables("<!-- verdicts: attention published_some -->\n<!-- end of verdicts -->")
    assert "| seed 1 | Cut short: 1 of 2 pieces whole (1). |" in page
    assert "a single seed" in page and "2 seeds" not in page
    run["pieces"] = pieces[1:]
    (tmp_path / "published_some.json").write_text(json.dumps(run), encoding="utf-8")
    page = results.page_with_tables("<!-- verdicts: attention published_some -->\n<!-- end of verdicts -->")
    assert "Cut short" in page and "| claim |" not in page


def test_a_configuration_that_lacks_seeds_of_the_others_is_not_judged(tmp_path, monkeypatch):
    kept = json.loads((results.KEPT / "attention_mnist_cpu.json").read_text(encoding="utf-8"))[0]["rows"]
    pieces = []
    for attention, seeds in (("softmax", (1, 2)), ("none", (1, 2)), ("qama-v2", (1,))):
        for seed in seeds:
            rows = [row for row in kept if (row["seed"], row["attention"]) == (seed, attention)]
            pieces.append({"name": f"{attention}-{seed}", "finished": 1, "cells": 1, "rows": rows})
    run = {"command": "qjaxsim study attention --attention none,softmax,qama-v2", "note": "", "pieces": pieces}
    (tmp_path / "published_some.json").write_text(json.dumps(run), encoding="utf-8")
    monkeypatch.setattr(results, "KEPT", tmp_path)
    page = results.page_with_tables("<!-- verdicts: attention published_some -->\n<!-- end of verdicts -->")
    assert "| claim |" not in page
    more = [row for row in kept if (row["seed"], row["attention"]) == (2, "qama-v2")]
    pieces.append({"name": "qama-v2-2", "finished": 1, "cells": 1, "rows": more})
    (tmp_path / "published_some.json").write_text(json.dumps(run), encoding="utf-8")
    page = results.page_with_tables("<!-- verdicts: attention published_some -->\n<!-- end of verdicts -->")
    assert "qama-v2" in page and "2 seeds" in page


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_figures_and_pages_that_are_named_exist(page):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        made = (
            (page.parent / link).resolve().relative_to(ROOT).as_posix().startswith(("docs/reference", "docs/gallery"))
        )
        assert made or (page.parent / link).exists(), link
