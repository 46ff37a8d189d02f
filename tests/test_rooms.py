"""Who imports whom: the contracts of pyproject.toml, and what is loaded when circuits are built and planned."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_room_imports_what_its_contract_allows():
    # A process of its own, since import-linter silences every logger that is there, those of JAX among them.
    program = (
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(sys.argv[1], no_cache=True))"
    )
    command = [sys.executable, "-c", program, str(ROOT / "pyproject.toml")]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert found.returncode == 0, found.stdout + found.stderr


def test_circuits_are_built_planned_and_simulated_by_the_reference_without_jax():
    program = """
import sys
import numpy as np
from qjaxsim.circuits import reference
from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Parameter
from qjaxsim.planning.plan import make_plan
w = Parameter("w", (3,))
layer = Circuit(3).ry(w[0], 0).rx(w[1], [1]).rz(w[2], np.int64(2)).cx(0, 1).ccx(0, 1, 2)
circuit = Circuit(3).h(range(3)).repeat(layer, 2).unitary(np.eye(2), 0)
steps = make_plan(circuit).steps
state = reference.statevector(circuit, {"w": np.ones((2, 3))})
assert str(circuit) and len(steps) and np.isclose(np.linalg.norm(state), 1)
assert "jax" not in sys.modules, "JAX was imported"
"""
    subprocess.run([sys.executable, "-c", program], check=True)
