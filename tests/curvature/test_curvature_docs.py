"""docs/curvature.md runs as it says."""

import re
from pathlib import Path

import jax
import pytest

GUIDE = (Path(__file__).parents[2] / "docs" / "curvature.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"```python\n(.*?)```\n\nprints (`[^`]*`(?:, then `[^`]*`)*)", GUIDE, flags=re.DOTALL)
# Libraries that are no extra of ours; CI installs them for the tests of their recipes.
OTHERS = ("flax", "equinox")


def library_of(code):
    return next((name for name in OTHERS if re.search(rf"^(?:from|import) {name}", code, flags=re.MULTILINE)), None)


@pytest.fixture
def executed(capsys, tmp_path, monkeypatch):
    """Executes a section and compares what it prints; sections share their names."""
    monkeypatch.chdir(tmp_path)
    names: dict = {}

    def section(code, said):
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            exec(code, names)
        assert capsys.readouterr().out.splitlines() == re.findall(r"`(.*?)`", said)

    return section


def test_the_guide_prints_what_it_says(executed):
    assert len(SECTIONS) == GUIDE.count("```python") == 6
    for code, said in SECTIONS:
        if library_of(code) is None:
            executed(code, said)
    assert Path("springs.html").stat().st_size > 50_000 and Path("springs.png").stat().st_size > 10_000


@pytest.mark.parametrize("library", OTHERS)
def test_recipes_of_other_libraries(executed, library):
    pytest.importorskip(library, reason=f"needs {library}")
    first, second, *_ = SECTIONS
    (recipe,) = (section for section in SECTIONS if library_of(section[0]) == library)
    for code, said in (first, second, recipe):
        executed(code, said)
