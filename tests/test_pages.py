"""Pages whose programs run as they say: the README and the site's, each from top to bottom in an empty folder."""

import re
import shlex
import subprocess
import sys

import jax
import pytest
import typer

from docs.make import pages
from qjaxsim.command.app import app
from qjaxsim.command.messages import called

ROOT = pages.DOCS.parent
README = ROOT / "README.md"
WITH_PROGRAMS = pages.pages_with_programs()
HERE = [README, *WITH_PROGRAMS]
# Run with -m slow; every run looks at their commands and compiles their code.
SLOW = (
    "benchmarks.md", "devices.md", "dimod.md", "explanation/adjoint.md", "geometry.md", "jobs.md", "large_states.md",
    "noise.md", "observables.md", "own_models.md", "qiskit.md", "runs.md", "tutorials/noisy_hessian.md",
    "tutorials/own_data.md", "tutorials/read_a_study.md",
)  # fmt: skip

# Libraries that a page needs beside those of the tests; CI installs them.
NEEDS = {
    "curvature.md": ("flax", "equinox"),
    "own_images.md": ("tensorflow_datasets", "PIL"),
    "qiskit.md": ("qiskit_aer", "qiskit_ibm_runtime"),
    "torch_pennylane.md": ("torch", "pennylane"),
}
# Their first line asks for eight devices, which a process has from its beginning or never.
SEVERAL_DEVICES = ("devices.md", "large_states.md")


def by_speed(page):
    marks = [pytest.mark.slow] if page in [pages.DOCS / name for name in SLOW] else []
    return pytest.param(page, marks=marks, id=page.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("page", [by_speed(page) for page in HERE])
def test_a_page_prints_what_it_says_and_makes_its_figures(page, tmp_path):
    for library in NEEDS.get(page.name, ()):
        pytest.importorskip(library, reason=f"needs {library}")
    if page.name in SEVERAL_DEVICES:
        subprocess.run([sys.executable, "-m", "docs.make.record", "--run", page, tmp_path], check=True, cwd=ROOT)
        return
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        pages.run_page(page, tmp_path)
    for name in pages.figures_of(page):
        assert (tmp_path / name).stat().st_size > 5_000, name
        assert (page.parent / "figures" / name).exists(), f"{name}: make pages"


@pytest.mark.parametrize("name", SLOW)
def test_slow_pages_can_be_read(name):
    blocks = pages.read_blocks((pages.DOCS / name).read_text(encoding="utf-8"))
    assert len(blocks) >= 1
    for block in blocks:
        if block.language == "python":
            compile(block.code, name, "exec")
        else:
            for line in block.code.replace("\\\n", " ").splitlines():
                assert_can_be_read(*shlex.split(line))


def assert_can_be_read(program, *words):
    """A command and its options are there."""
    path, command = called(typer.main.get_command(app), words)
    assert program == "qjaxsim" and command.make_context(program, list(words[len(path.split()) :])) is not None


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("```python\nprint(3)\n```\n\n```text\n3\n```\n", "3\n"),
        ("```python\nprint(3)\n```\n\nprints `3`. And so on.\n", "3\n"),
        ("```python\nprint(3)\nprint(4)\n```\n\nprints `3`, then `4`.\n", "3\n4\n"),
        ("```python\nprint(3)\nprint(4)\n```\n\nprints `3` and `4`.\n", "3\n4\n"),
        ("```python\nx = 3\n```\n\nThe number `3`.\n", None),
        ("```\nqjaxsim --version\n```\n\n```text\nqjaxsim ...\n```\n", "qjaxsim ...\n"),
    ],
)
def test_what_a_page_says_is_read(text, printed, tmp_path):
    (block,) = pages.read_blocks(text)
    assert block.printed == printed
    page = tmp_path / "page.md"
    page.write_text(text)
    pages.run_page(page, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(3)\n```\n\n```text\n4\n```\n",
        "```python\nprint(3)\n```\n\nprints `4`.\n",
        "```python\nprint(3)\n```\n\nNothing is said.\n",
        "```\nqjaxsim --version\n```\n\n```text\nqiskit ...\n```\n",
        "```\nqjaxsim no-such-command\n```\n",
    ],
)
def test_what_differs_is_found(text, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(pages.DiffersError):
        pages.run_page(page, tmp_path)


def test_ci_finds_the_test_line():
    text = README.read_text(encoding="utf-8")
    (line,) = re.findall(r"^<!-- test line -->\n```\n(python3 .*pytest.*)\n```$", text, flags=re.MULTILINE)
    assert "constraints.txt" in line
    assert len(text.splitlines()) <= 95


def test_every_page_that_the_readme_names_is_there():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text(encoding="utf-8"))
    assert len(links) > 15
    assert [link for link in links if not (ROOT / link).exists()] == []


def sentences(text):
    """Those of a page's prose, without code, tables, headings, addresses and the names of publications."""
    for pattern in (r"^```.*?^```$", r"<!--.*?-->", r"`[^`]*`"):
        text = re.sub(pattern, "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in text.split("\n") if not line.startswith(("|", "#", "!"))]
    text = re.sub(r"\]\([^)]*\)|arXiv:\S+", "", "\n".join(lines))
    return re.split(r"(?<=[.!?;:])\s+(?=[A-Z*\[])|\n\s*\n|^- ", text, flags=re.MULTILINE)


# Options are a list that is made, with bounds and defaults in it.
PROSE = [README, *(page for page in sorted(pages.DOCS.rglob("*.md")) if page.name != "options.md")]


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_sentence_has_more_than_two_numbers(page):
    number = r"(?<![\w.,/-])-?\d[\d,.]*(?:e-?\d+)?(?!\w)"
    full = [
        sentence for sentence in sentences(page.read_text(encoding="utf-8")) if len(re.findall(number, sentence)) > 2
    ]
    assert full == []
