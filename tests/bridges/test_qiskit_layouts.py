"""Transpiled circuits on the qubits that they were written for, and circuits without their idle qubits."""

import os

import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
from qiskit import QuantumCircuit, qpy, transpile  # noqa: E402
from qiskit.circuit import ParameterVector  # noqa: E402
from qiskit.providers.fake_provider import GenericBackendV2  # noqa: E402
from qiskit.quantum_info import Statevector  # noqa: E402
from qjaxsim_qiskit import from_qasm, from_qiskit, from_qpy  # noqa: E402
from qjaxsim_qiskit.ordering import reverse_state  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim.circuits import reference  # noqa: E402

LINE = [[a, b] for q in range(39) for a, b in ((q, q + 1), (q + 1, q))]


@pytest.fixture(scope="module")
def wide():
    """Forty qubits in a line."""
    return GenericBackendV2(40, coupling_map=LINE, seed=1, noise_info=False)


def written(measure: bool = True) -> QuantumCircuit:
    """Four qubits, all coupled with all, so that routing moves them."""
    v = ParameterVector("v", 4)
    out = QuantumCircuit(4, 4)
    for qubit in range(4):
        out.ry(v[qubit] + 0.2 * qubit, qubit)
    for a, b in ((0, 3), (1, 3), (0, 2), (1, 2), (0, 1), (3, 2)):
        out.cx(a, b)
        out.ry(0.3 * a - 0.1, b)
    if measure:
        out.barrier()
        out.measure([3, 1, 0, 2], [0, 1, 2, 3])
    return out


VALUES = np.array([0.4, 1.2, -0.7, 2.0])


@pytest.mark.parametrize(
    ("level", "layout"), [(0, None), (1, None), (3, None), (0, [20, 22, 18, 19]), (1, [9, 5, 8, 6])]
)
def test_layouts_are_undone_and_idle_qubits_dropped(level, layout, wide):
    given = written()
    isa = transpile(given, wide, optimization_level=level, seed_transpiler=2, initial_layout=layout)
    imported = from_qiskit(isa)
    assert imported.circuit.n_qubits <= 6
    assert imported.notes[0].startswith("of 40 qubits taken, in this order: ")
    bits = {m.clbit: m.qubit for m in imported.measurements}
    assert bits == {0: 3, 1: 1, 2: 0, 3: 2}
    n = imported.circuit.n_qubits
    found = qj.statevector(imported.circuit)(imported.params(VALUES))
    # Qubits that routing went through come last, and are 0 at the end.
    found = np.asarray(found).reshape(16, -1)
    wanted = reverse_state(
        Statevector(written(False).assign_parameters(VALUES).remove_final_measurements(inplace=False)).data, 4
    )
    assert np.abs(found[:, 1:]).max(initial=0) < 1e-9 and n >= 4
    assert abs(np.vdot(found[:, 0], wanted)) == pytest.approx(1, abs=1e-9)


def test_layouts_survive_files(wide, tmp_path):
    isa = transpile(written(), wide, optimization_level=1, seed_transpiler=3)
    with (tmp_path / "isa.qpy").open("wb") as file:
        qpy.dump(isa, file)
    assert from_qpy(tmp_path / "isa.qpy").circuit == from_qiskit(isa).circuit


def test_idle_qubits_that_were_written_stay(wide):
    given = QuantumCircuit(3)
    given.h(2)
    imported = from_qiskit(transpile(given, wide, optimization_level=1, seed_transpiler=1))
    assert imported.circuit.n_qubits == 3
    state = reference.statevector(imported.circuit, {})
    np.testing.assert_allclose(np.abs(state[:2]), 2**-0.5, atol=1e-12)


def test_qubits_as_they_stand():
    backend = GenericBackendV2(5, coupling_map=LINE[:8], seed=1, noise_info=False)
    isa = transpile(written(False), backend, optimization_level=1, seed_transpiler=2)
    imported = from_qiskit(isa, qubits="all")
    assert imported.circuit.n_qubits == 5 and imported.qubits == (0, 1, 2, 3, 4) and not imported.notes
    bound = isa.assign_parameters(VALUES).remove_final_measurements(inplace=False)
    ours = reverse_state(reference.statevector(imported.circuit, imported.params(VALUES)), 5)
    np.testing.assert_allclose(ours, Statevector(bound).data, atol=1e-10)


def test_circuits_without_a_layout_keep_idle_qubits_unless_told():
    circuit = QuantumCircuit(127, 1)
    circuit.h(100)
    circuit.barrier()
    circuit.cx(100, 126)
    circuit.delay(10, 50)
    circuit.measure(126, 0)
    with pytest.raises(MemoryError, match=r'use fewer qubits, or qubits="used" for the 2 that anything acts on\.'):
        from_qiskit(circuit)
    imported = from_qiskit(circuit, qubits="used")
    assert imported.circuit == qj.Circuit(2).h(0).cx(0, 1) and imported.qubits == (100, 126)
    assert [(m.qubit, m.clbit) for m in imported.measurements] == [(1, 0)]
    program = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[127];\nh q[100];\ncx q[100],q[126];\n'
    assert from_qasm(program, qubits="used").circuit == imported.circuit
    assert from_qiskit(QuantumCircuit(3)).circuit.n_qubits == 3
    with pytest.raises(ValueError, match="`qubits` must be one of 'auto', 'all', 'used', but is 'some'"):
        from_qiskit(circuit, qubits="some")
