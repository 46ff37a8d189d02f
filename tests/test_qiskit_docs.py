"""The first part of docs/qiskit.md runs as it says; the part on hardware is run in test_ibm_docs.py."""

import re
from pathlib import Path

import pytest

GUIDE = (Path(__file__).parents[1] / "docs" / "qiskit.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("quick_compiler")
def test_from_an_ansatz_to_its_spectrum_and_a_cross_check(capsys):
    first, _, _ = GUIDE.partition("## From a trained model to a job on hardware")
    blocks = re.findall(r"```python\n(.*?)```", first, flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict = {}
    for block in blocks:
        exec(block, names)
    printed = capsys.readouterr().out
    assert printed.startswith("(12, 12) [")
    assert printed.count("agrees") == 7 and "DIFFERS" not in printed
    assert len(blocks[0].split("import from_qiskit")[1].strip().split("\n")) <= 15
