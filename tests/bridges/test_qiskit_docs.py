"""The first part of docs/qiskit.md runs as it says; the part on hardware is run in test_ibm_docs.py."""

import functools
import re
from pathlib import Path

import numpy as np
from scipy.linalg import expm

from qjaxsim.circuits import gates

GUIDE = (Path(__file__).parents[2] / "docs" / "qiskit.md").read_text(encoding="utf-8")


def test_from_an_ansatz_to_its_spectrum_and_a_cross_check(capsys):
    first, _, _ = GUIDE.partition("## From a trained model to a job on hardware")
    blocks = re.findall(r"```python\n(.*?)```", first, flags=re.DOTALL)
    assert len(blocks) == 4
    names: dict = {}
    for block in blocks:
        exec(block, names)
    printed = capsys.readouterr().out
    assert printed.startswith("(12, 12) [")
    assert printed.count("agrees") == 7 and "DIFFERS" not in printed
    assert "\n(12,)\n" in printed and "\n20 3\n" in printed
    # The states of three qubits by dense exponentials: of the sum, and of its terms one after the other.
    terms = [
        1.5 * weight * gates.pauli_matrix(label) for label, weight in names["chain"][0].operation.operator.to_list()
    ]
    product = functools.reduce(lambda state, term: expm(-1j * term) @ state, terms, np.eye(8)[0])
    for meaning, state in (("synthesis", product), ("exact", expm(-1j * sum(terms))[:, 0])):
        wanted = np.vdot(state, gates.pauli_matrix("IIZ") @ state).real  # Qiskit's qubit 0 is the last
        assert f"{meaning}: {wanted:.5f}" in printed
    assert len(blocks[0].split("import from_qiskit")[1].strip().split("\n")) <= 15
