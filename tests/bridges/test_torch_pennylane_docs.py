"""docs/torch_pennylane.md runs as it says."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the torch extra")
pytest.importorskip("pennylane", reason="needs the pennylane extra")
GUIDE = (Path(__file__).parents[2] / "docs" / "torch_pennylane.md").read_text(encoding="utf-8")


def test_from_a_pennylane_model_to_a_trained_pytorch_network(capsys):
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 2
    assert capsys.readouterr().out.splitlines() == [
        "{'inputs': (3,), 'weights': (2, 3, 3)}",
        "True",
        "{'weights': (2, 3, 3)} True",
    ]
