"""What tests of the Qiskit bridge share; import it after the check that Qiskit is there."""

from collections.abc import Sequence

import numpy as np
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator
from qjaxsim_qiskit import from_qiskit
from qjaxsim_qiskit.importing.imported import ImportedCircuit
from qjaxsim_qiskit.ordering import reverse_state

import qjaxsim as qj
from qjaxsim.circuits import reference


def reversed_matrix(dense: np.ndarray) -> np.ndarray:
    """A dense matrix in the other order of qubits."""
    n = len(dense).bit_length() - 1
    return reverse_state(reverse_state(dense, n).T, n).T


def matrix(circuit: qj.Circuit, params: dict | None = None) -> np.ndarray:
    """Our dense matrix in Qiskit's order."""
    return reversed_matrix(reference.unitary(circuit, params or {}))


def state(imported: ImportedCircuit, values: Sequence[float] = ()) -> np.ndarray:
    """Ours in Qiskit's order."""
    found = reference.statevector(imported.circuit, imported.params(list(values)))
    return reverse_state(found, imported.circuit.n_qubits)


def circuit_of_everything() -> qj.Circuit:
    """Four qubits: array, scalar and shared parameters, layers in layers, matrices, phases, expressions."""
    x, w, s = qj.Parameter("x", (2, 3)), qj.Parameter("w", (2,)), qj.Parameter("s")
    inner = qj.Circuit(4).ry(w[0] * s, 1).crx(w[1], 1, 0)
    layer = qj.Circuit(4).repeat(inner, 2, shared=("s",)).rz(s / 2, 3).global_phase(0.1)
    out = qj.Circuit(4).h(0).u(x[0, 1], x[1, 2] ** 2, 0.3, 1).cu(x[0, 0], 0.1, -x[0, 2], x[1, 0].sin(), 3, 1)
    random = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4, 2)) @ [1, 1j])[0]
    out.unitary(random, (3, 0), "mine").repeat(layer, 3, shared=("s",)).rzx(abs(x[1, 1]), 0, 2)
    return out.global_phase(s + 0.2)


def params_of(circuit: qj.Circuit, seed: int = 0) -> dict:
    """Random values of its parameters."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.2, 1.4, shape) for name, shape in circuit.parameters.items()}


def assert_imported_alike(circuit: QuantumCircuit, seed: int = 0) -> None:
    """The imported circuit is the same operator, phase included, at random values of its parameters."""
    values = np.random.default_rng(seed).uniform(0.2, 1.3, circuit.num_parameters)
    imported = from_qiskit(circuit)
    wanted = Operator(circuit.assign_parameters(values)).data
    np.testing.assert_allclose(matrix(imported.circuit, imported.params(values)), wanted, atol=1e-10)
