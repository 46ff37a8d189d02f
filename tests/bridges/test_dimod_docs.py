"""docs/dimod.md runs as it says."""

import re
from pathlib import Path

import jax

GUIDE = (Path(__file__).parents[2] / "docs" / "dimod.md").read_text(encoding="utf-8")


def test_the_guide_runs(capsys):
    names: dict = {}
    with jax.enable_x64(False):
        for block in re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL):
            exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["True", "True"]
    exact = lines[5]
    assert [line.split()[1] for line in lines[2:5]] == [exact] * 3
    assert lines[6:] == ["5", "8 (16, 20)", "(3, 10) 64 (3, 4, 16)"]
