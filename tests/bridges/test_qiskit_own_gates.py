"""Gates that OpenQASM programs define themselves, under names that Qiskit's have, and powers, against NumPy."""

import os

import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
from qiskit import QuantumCircuit  # noqa: E402
from qiskit.circuit import AnnotatedOperation, ControlModifier, Gate, InverseModifier, PowerModifier  # noqa: E402
from qiskit.circuit.library import HGate, PhaseGate, RXGate, RYGate  # noqa: E402
from qiskit.quantum_info import Operator  # noqa: E402
from qjaxsim_qiskit import crosscheck, from_qasm, from_qiskit  # noqa: E402
from qjaxsim_qiskit.meaning.definitions import inlined  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim.circuits import reference  # noqa: E402

START = "U(0.3,0.1,0.2) q[0]; U(0.5,0,0.7) q[1]; U(1.1,0.4,0) q[2];"
HALF = "gate h a { U(pi/2,0,pi) a; } gate z a { U(0,0,pi) a; } "
OWN = {
    "reversed": ("gate cx a,b { CX b,a; } ", "cx q[0],q[2];", lambda c: c.cx(2, 0)),
    "tilted": ("gate h a { U(0.3,0,0) a; } ", "h q[1];", lambda c: c.ry(0.3, 1)),
    "phase": ("gate rz(x) a { U(0,0,x) a; } ", "rz(0.3) q[0];", lambda c: c.p(0.3, 0)),
    "twice": (
        "gate u1(x) a { U(0,0,x) a; } gate cu1(x) a,b { u1(x) a; u1(x) b; CX a,b; u1(-x) b; CX a,b; } ",
        "cu1(0.3) q[1],q[2];",
        lambda c: c.cp(0.6, 1, 2),
    ),
    "within": (HALF + "gate own a { h a; z a; h a; } ", "own q[0];", lambda c: c.x(0)),
    "as usual": (HALF + "gate cz a,b { h b; CX a,b; h b; } ", "h q[0]; cz q[2],q[0];", lambda c: c.h(0).cz(2, 0)),
}


def started():
    return qj.Circuit(3).u(0.3, 0.1, 0.2, 0).u(0.5, 0, 0.7, 1).u(1.1, 0.4, 0, 2)


@pytest.mark.parametrize("name", OWN)
def test_a_programs_own_gates_are_what_it_defines(name):
    defined, used, by_hand = OWN[name]
    imported = from_qasm(f"OPENQASM 2.0; {defined}qreg q[3]; {START} {used}")
    wanted = reference.unitary(by_hand(started()))
    np.testing.assert_allclose(reference.unitary(imported.circuit), wanted, rtol=0, atol=1e-12)


def test_included_definitions_count_and_aer_runs_them_too(tmp_path):
    (tmp_path / "native.inc").write_text("gate cx a,b { CX b,a; } gate rz(x) a { U(0,0,2*x) a; }")
    (tmp_path / "main.qasm").write_text(
        f'OPENQASM 2.0; include "native.inc"; qreg q[3]; {START} cx q[0],q[1]; rz(0.2) q[1];'
    )
    imported = from_qasm(tmp_path / "main.qasm")
    wanted = reference.unitary(started().cx(1, 0).p(0.4, 1))
    np.testing.assert_allclose(reference.unitary(imported.circuit), wanted, rtol=0, atol=1e-12)
    assert crosscheck(imported.source).agrees


@pytest.mark.parametrize(
    "defined, used, power, base",
    [
        ("", "pow(1/2) @ x", 0.5, "x"),
        ("", "pow( 3 / 4 ) @ x", 0.75, "x"),
        ("", "pow(1/2/2) @ z", 0.25, "z"),
        ("", "pow(6/2) @ s", 1.5, "z"),
        ("gate root a { pow(1/2) @ x a; }", "root", 0.5, "x"),
        ("const int n = 2;", "pow(1/n) @ x", 0.5, "x"),
        ("const int n = 2; gate root a { inv @ pow(-3/(n*2)) @ x a; }", "root", 0.75, "x"),
    ],
)
def test_powers_by_fractions_of_whole_numbers_are_roots(defined, used, power, base):
    """The language's own stdgates.inc has sx as pow(1/2) @ x."""
    imported = from_qasm(f'OPENQASM 3.0; include "stdgates.inc"; {defined} qubit[3] q; {used} q[0]; h q[1];')
    values, vectors = np.linalg.eigh({"x": [[0, 1], [1, 0]], "z": [[1, 0], [0, -1]]}[base])
    gate = (vectors * np.where(values < 0, np.exp(1j * np.pi * power), 1)) @ vectors.T  # the principal power
    wanted = np.kron(np.kron(gate, np.array([[1, 1], [1, -1]]) / np.sqrt(2)), np.eye(2))
    np.testing.assert_allclose(reference.unitary(imported.circuit), wanted, rtol=0, atol=1e-12)


def own(name, params, *gates):
    """A gate of a name, defined by gates of one qubit."""
    gate, definition = Gate(name, 1, params), QuantumCircuit(1)
    for each in gates:
        definition.append(each, [0])
    gate.definition = definition
    return gate


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("modifier", [ControlModifier(1), PowerModifier(2), InverseModifier(), ControlModifier(2, 1)])
def test_modifiers_act_on_what_gates_of_standard_names_are_defined_as(modifier, depth):
    """Qiskit's synthesis goes by the names of gates within gates."""
    gate = own("mine", [], own("h", [], RYGate(0.3)), own("rz", [0.3], PhaseGate(0.4)), own("x", [], RXGate(0.7)))
    gate = own("outer", [], gate, HGate()) if depth else gate
    matrix = reference.unitary(qj.Circuit(1).ry(0.3, 0).p(0.4, 0).rx(0.7, 0))
    matrix = np.array([[1, 1], [1, -1]]) / np.sqrt(2) @ matrix if depth else matrix
    wanted = {PowerModifier: matrix @ matrix, InverseModifier: matrix.conj().T}.get(type(modifier))
    operation = AnnotatedOperation(gate, modifier)
    circuit = QuantumCircuit(3)
    circuit.append(operation, range(operation.num_qubits)[::-1])
    if wanted is None:  # the target is qubit 0, most significant
        controls = {1: np.diag([0, 1]), 2: np.diag([0, 1, 0, 0])}[modifier.num_ctrl_qubits]
        wanted = np.kron(matrix - np.eye(2), controls) + np.eye(2 * len(controls))
    wanted = np.kron(wanted, np.eye(8 // len(wanted)))
    imported = from_qiskit(circuit)
    np.testing.assert_allclose(reference.unitary(imported.circuit), wanted, rtol=0, atol=1e-10)


def test_a_branchs_own_gates_are_those_that_aer_runs_too():
    """Aer and the transpiler would run the block's "x" as Qiskit's."""
    circuit = QuantumCircuit(3, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.append(own("x", [], RYGate(0.8)), [1])
        circuit.cx(1, 2)
    imported = from_qiskit(circuit)
    turned = np.sin(0.4) ** 2 / 2  # where the measurement gave 1
    np.testing.assert_allclose(
        qj.probabilities(imported.circuit, [1, 2])(), [1 - turned, 0, 0, turned], rtol=0, atol=1e-12
    )
    assert crosscheck(circuit).agrees
    (branch,) = [each.operation for each in inlined(circuit).data if each.operation.name == "if_else"]
    assert [each.operation.name for each in branch.blocks[0].data] == ["ry", "cx"]


def held(gate, depth):
    """The gate itself, or one gate more around it."""
    return own("mine", [], gate, HGate()) if depth else gate


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("state", [0, 2])
def test_controls_act_on_what_gates_of_standard_names_are_defined_as(state, depth):
    """Qiskit makes controls by the names of gates."""
    gate = held(own("h", [], RYGate(0.3), PhaseGate(0.4)), depth).control(2, ctrl_state=state)
    circuit = QuantumCircuit(3)
    circuit.append(gate, [0, 1, 2])
    matrix = reference.unitary(qj.Circuit(1).ry(0.3, 0).p(0.4, 0))
    matrix = np.array([[1, 1], [1, -1]]) / np.sqrt(2) @ matrix if depth else matrix
    controls = np.zeros((4, 4))
    index = {0: 0, 2: 1}[state]  # bit 1 of the state is qubit 1's, the less significant one here
    controls[index, index] = 1
    wanted = np.kron(controls, matrix - np.eye(2)) + np.eye(8)
    found = from_qiskit(circuit)
    np.testing.assert_allclose(reference.unitary(found.circuit), wanted, rtol=0, atol=1e-10)
    run = Operator(inlined(found.source)).reverse_qargs().data  # what Aer is given
    np.testing.assert_allclose(run, wanted, rtol=0, atol=1e-10)


def test_controls_of_a_matrix_under_a_standard_name():
    class Turn(Gate):
        def __init__(self):
            super().__init__("h", 1, [])

        def to_matrix(self):
            return RYGate(0.3).to_matrix()

        def __array__(self, dtype=None, copy=None):
            return self.to_matrix()

    circuit = QuantumCircuit(3)
    circuit.append(Turn().control(1), [0, 2])
    turn = reference.unitary(qj.Circuit(1).ry(0.3, 0))
    wanted = np.kron(np.diag([0, 1]), np.kron(np.eye(2), turn - np.eye(2))) + np.eye(8)
    np.testing.assert_allclose(reference.unitary(from_qiskit(circuit).circuit), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("used", ["ctrl @ h q[0], q[2];", "outer q[0], q[2];", "negctrl @ twice q[0], q[2];"])
def test_controls_in_programs_act_on_the_programs_own_gates(used):
    """Without the include file a program may call its own gates what it likes."""
    gates = "gate h a { U(0.3, 0.1, 0.2) a; } gate twice a { h a; h a; } gate outer a, b { ctrl @ h a, b; }"
    imported = from_qasm(f"OPENQASM 3.0; {gates} qubit[3] q; {used}")
    matrix = reference.unitary(qj.Circuit(1).u(0.3, 0.1, 0.2, 0))
    on, matrix = ([1, 0], matrix @ matrix) if "neg" in used else ([0, 1], matrix)
    wanted = np.kron(np.diag(on), np.kron(np.eye(2), matrix - np.eye(2))) + np.eye(8)
    np.testing.assert_allclose(reference.unitary(imported.circuit), wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name, n_qubits", [("h", 1), ("ccx", 3)])
@pytest.mark.parametrize("controls", [0, 1])
def test_opaque_gates_are_no_gates_of_qiskits_whatever_their_names(name, n_qubits, controls):
    gate = Gate(name, n_qubits, [])
    gate = gate.control(controls) if controls else gate
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(gate, range(gate.num_qubits))
    with pytest.raises(ValueError, match=f"operation 0 .{gate.name}. has neither a matrix nor a definition"):
        from_qiskit(circuit)
    if not controls:
        program = f"opaque {name} {', '.join('abc'[:n_qubits])}; qreg a[1]; qreg b[1]; qreg c[1];"
        with pytest.raises(ValueError, match="has neither a matrix nor a definition"):
            from_qasm(f"OPENQASM 2.0; {program} {name} {', '.join('abc'[:n_qubits])};")


# Bodies of gates with parameters in no alphabetical order, calls, and what they are by hand at these values.
TH, PH = 0.7, -0.4
CALLS = {
    "order": ("gate g(b,a) p,r { rx(a) p; rz(b) r; }", "g(th,ph) q[0],q[2];", lambda c: c.rx(PH, 0).rz(TH, 2)),
    "tenth": (
        "gate g(t2,t10) p { ry(t2) p; rz(t10) p; } gate k(z,y) p { g(z,2*y) p; }",
        "k(th,ph) q[1];",
        lambda c: c.ry(TH, 1).rz(2 * PH, 1),
    ),
    "unused": ("gate g(b,a) p { rx(b) p; }", "g(th,ph) q[1];", lambda c: c.rx(TH, 1)),
    "product": (
        "gate g(b,a) p { rx(a*b) p; ry(1+2*b) p; rz(2/a) p; }",
        "g(th,ph) q[0];",
        lambda c: c.rx(TH * PH, 0).ry(1 + 2 * TH, 0).rz(2 / PH, 0),
    ),
    "zero": ("gate g(b) p { rx(b) p; }", "g(0*th) q[0]; ctrl @ g(0*ph-0.3) q[2],q[1];", lambda c: c.crx(-0.3, 2, 1)),
    "power": (
        "gate g(b,a) p,r { rx(a) p; cx p,r; rz(b) r; }",
        "pow(2) @ inv @ g(th,ph) q[0],q[2];",
        lambda c: c.rz(-TH, 2).cx(0, 2).rx(-PH, 0).rz(-TH, 2).cx(0, 2).rx(-PH, 0),
    ),
    "power of controls": (
        "gate g(b) p { ry(b) p; }",
        "pow(2) @ ctrl @ g(th) q[1],q[0];",
        lambda c: c.cry(2 * TH, 1, 0),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_own_gates_of_openqasm_3_have_their_angles_in_the_order_of_the_definition(name):
    defined, used, by_hand = CALLS[name]
    start = f'OPENQASM 3.0; include "stdgates.inc"; input float th; input float ph; {defined} qubit[3] q; {START}'
    imported = from_qasm(f"{start} {used}")
    wanted = by_hand(started())
    ours = qj.statevector(imported.circuit)(imported.params({"th": TH, "ph": PH}))
    np.testing.assert_allclose(ours, reference.unitary(wanted)[:, 0], rtol=0, atol=1e-12)
    assert crosscheck(imported.source, {"th": TH, "ph": PH}).agrees


def test_inputs_that_are_angles_multiply_as_floats_do():
    start = 'OPENQASM 3.0; include "stdgates.inc"; input angle b; input angle a; qubit[3] q; h q;'
    imported = from_qasm(f"{start} rz(a*b+1) q[1];")
    wanted = reference.unitary(qj.Circuit(3).h(range(3)).rz(PH * TH + 1, 1))[:, 0]
    ours = qj.statevector(imported.circuit)(imported.params({"a": PH, "b": TH}))
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-12)


def test_calls_of_own_gates_that_do_not_fit_are_named():
    start = 'OPENQASM 3.0; include "stdgates.inc"; gate g(b,a) p { rx(a*b) p; } qubit[3] q;'
    with pytest.raises(ValueError, match="'g' takes 2 angles, but is given 1"):
        from_qasm(f"{start} g(0.3) q[0];")
    with pytest.raises(ValueError, match=r"line 2: Undefined symbol 'c'\."):
        from_qasm(f"{start}\n gate never(b) p {{ rx(c) p; }}")


@pytest.mark.parametrize("version", [2, 3])
def test_a_gate_may_have_the_name_of_qiskits_rotation_about_a_pauli_string(version):
    """As Qiskit writes its own; its readers ask such a gate for the string."""
    start = "OPENQASM 2.0;" if version == 2 else 'OPENQASM 3.0; include "stdgates.inc";'
    start += ' include "qelib1.inc"; qreg q[3];' if version == 2 else " qubit[3] q;"
    body = "gate pauli_product_rotation(t) a,b { h a; cx a,b; rz(t) b; cx a,b; h a; }"
    imported = from_qasm(f"{start} {body} pauli_product_rotation(0.3) q[0],q[2];")
    string = np.kron(np.kron([[0, 1], [1, 0]], np.eye(2)), np.diag([1, -1]))
    wanted = np.cos(0.15) * np.eye(8) - 1j * np.sin(0.15) * string
    np.testing.assert_allclose(reference.unitary(imported.circuit), wanted, rtol=0, atol=1e-12)
