"""docs/own_models.md runs as it says."""

import re
from pathlib import Path

GUIDE = (Path(__file__).parents[2] / "docs" / "own_models.md").read_text(encoding="utf-8")


def test_the_guide_prints_what_it_says(capsys):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    said = re.findall(r"^prints (`.*)$", GUIDE, flags=re.MULTILINE)
    assert len(blocks) == len(said) == 3
    names: dict = {}
    for block, text in zip(blocks, said, strict=True):
        exec(block, names)
        sentence = text.split(". ")[0]
        assert capsys.readouterr().out.splitlines() == re.findall(r"`(.*?)`", sentence)
