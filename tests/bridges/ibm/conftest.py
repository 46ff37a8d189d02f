"""Backends, circuits and values of the tests of jobs."""

import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def line():
    """Five qubits in a line, no noise."""
    from qiskit.providers.fake_provider import GenericBackendV2

    coupling = [[a, b] for q in range(4) for a, b in ((q, q + 1), (q + 1, q))]
    return GenericBackendV2(5, noise_info=False, coupling_map=coupling, seed=1)


@pytest.fixture(scope="module")
def theirs():
    """Four qubits, no two alike, with couplings that a line does not have and more than ten parameters."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter, ParameterVector

    v, a = ParameterVector("v", 11), Parameter("a")
    made = QuantumCircuit(4)
    for qubit in range(4):
        made.ry(v[qubit], qubit)
        made.rx(2 * v[qubit + 4] + a, qubit)
    made.cx(0, 3)
    made.cx(0, 2)
    made.cx(2, 3)
    for qubit in range(3):
        made.ry(v[qubit + 8] * a, qubit)
    return made


@pytest.fixture(scope="module")
def params():
    """Three samples: as many as there are observables."""
    rng = np.random.default_rng(3)
    return {"v": rng.uniform(-np.pi, np.pi, (3, 11)), "a": np.array(0.7)}


@pytest.fixture
def old_runtime(monkeypatch):
    """As before qiskit-ibm-runtime 0.50."""
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime.executor_estimator", None)
