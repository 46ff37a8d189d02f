"""Pages of docs/ whose programs run as they say."""

import re
from pathlib import Path

import jax
import pytest

DOCS = Path(__file__).parents[2] / "docs"
PROGRAM = re.compile(r"```python\n(.*?)```\n\nprints (`[^`]*`(?:, then `[^`]*`)*)", flags=re.DOTALL)


@pytest.mark.parametrize(("page", "count"), [("observables.md", 4), ("noise.md", 5), ("geometry.md", 4)])
def test_a_page_prints_what_it_says(page, count, capsys):
    text = (DOCS / page).read_text(encoding="utf-8")
    programs = PROGRAM.findall(text)
    assert len(programs) == text.count("```python") == count
    names: dict = {}
    for code, said in programs:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            exec(code, names)
        assert capsys.readouterr().out.splitlines() == re.findall(r"`(.*?)`", said)
