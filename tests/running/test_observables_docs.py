"""docs/observables.md runs as it says."""

import re
from pathlib import Path

import jax

GUIDE = (Path(__file__).parents[2] / "docs" / "observables.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"```python\n(.*?)```\n\nprints (`[^`]*`(?:, then `[^`]*`)*)", GUIDE, flags=re.DOTALL)


def test_the_guide_prints_what_it_says(capsys):
    assert len(SECTIONS) == GUIDE.count("```python") == 4
    names: dict = {}
    for code, said in SECTIONS:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            exec(code, names)
        assert capsys.readouterr().out.splitlines() == re.findall(r"`(.*?)`", said)
