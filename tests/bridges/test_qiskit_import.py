"""Gates and circuits of Qiskit in our form: dense matrices of the reference against Qiskit's operators."""

import os
import time

import jax
import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister  # noqa: E402
from qiskit.circuit import (  # noqa: E402
    AnnotatedOperation,
    ControlModifier,
    Gate,
    InverseModifier,
    Parameter,
    ParameterVector,
    PowerModifier,
    library,
)
from qiskit.circuit.library import (  # noqa: E402
    C3XGate,
    CRXGate,
    CUGate,
    CXGate,
    DiagonalGate,
    GlobalPhaseGate,
    HGate,
    LinearFunction,
    MCPhaseGate,
    PauliEvolutionGate,
    PermutationGate,
    QFTGate,
    RCCXGate,
    RXGate,
    RYGate,
    RZZGate,
    SwapGate,
    UCRYGate,
    UGate,
    UnitaryGate,
    get_standard_gate_name_mapping,
)
from qiskit.circuit.random import random_circuit  # noqa: E402
from qiskit.quantum_info import Operator, Pauli, SparsePauliOp, random_unitary  # noqa: E402
from qjaxsim_qiskit import assignment, from_qiskit, to_qiskit  # noqa: E402
from qjaxsim_qiskit.ordering import reverse_state  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim.circuits import reference  # noqa: E402
from tests.cases import mostly_slow
from tests.qiskit_cases import assert_imported_alike, matrix  # noqa: E402

UNITARY = {n: g for n, g in get_standard_gate_name_mapping().items() if n not in ("delay", "measure", "reset")}


def dressed(operation, qubits, n_qubits: int) -> QuantumCircuit:
    """An operation among gates that tell every qubit, and every order of them, apart."""
    out = QuantumCircuit(n_qubits)
    for qubit in range(n_qubits):
        out.ry(0.3 + 0.4 * qubit, qubit)
    out.append(operation, qubits)
    for qubit in range(n_qubits - 1):
        out.cx(qubit, qubit + 1)
    return out


# --- gates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNITARY)
def test_standard_gates_with_numbers_and_with_parameters(name):
    gate = UNITARY[name]
    rng = np.random.default_rng(len(name))
    n = max(gate.num_qubits, 3) + 1
    qubits = rng.permutation(n)[: gate.num_qubits].tolist()
    vector = ParameterVector("a", max(1, len(gate.params)))
    for angles in (rng.uniform(-3, 3, len(gate.params)).tolist(), list(vector)[: len(gate.params)]):
        assert_imported_alike(dressed(gate.base_class(*angles), qubits, n))


@pytest.mark.parametrize("state", range(4))
def test_open_controls(state):
    a = Parameter("a")
    n_controls = {CXGate: 1, CRXGate: 1, CUGate: 1}
    for kind, angles in ((CXGate, ()), (CRXGate, (a,)), (CUGate, (a, 0.2, 2 * a, 0.4))):
        assert_imported_alike(dressed(kind(*angles, ctrl_state=state % 2 ** n_controls[kind]), [2, 0], 4))
    for base in (RXGate(a), RXGate(0.7), HGate(), RZZGate(a), SwapGate()):
        for annotated in (False, True):
            controlled = base.control(2, ctrl_state=state, annotated=annotated)
            assert_imported_alike(dressed(controlled, [3, 1, 0, 2][: controlled.num_qubits], 5))


@pytest.mark.parametrize("name", ["ccx", "ccz", "cswap", "c3sx", "mcx"])
def test_every_pattern_of_open_controls(name):
    gate = C3XGate() if name == "mcx" else UNITARY[name]
    for state in range(2**gate.num_ctrl_qubits):
        assert_imported_alike(dressed(gate.base_class(ctrl_state=state), [3, 1, 0, 2][: gate.num_qubits], 4))


def test_names_do_not_count():
    liar = Gate("x", 1, [])
    inner = QuantumCircuit(1, global_phase=0.3)
    inner.h(0)
    liar.definition = inner
    assert_imported_alike(dressed(liar, [1], 3))


def test_subclasses_of_standard_gates_are_taken_by_what_they_are():
    class Twice(RXGate):
        def _define(self):
            inner = QuantumCircuit(1)
            inner.rx(2 * self.params[0], 0)
            self.definition = inner

        def __array__(self, dtype=None, copy=None):
            return np.asarray(RXGate(2 * self.params[0]).to_matrix())

        @property
        def base_class(self):
            return Twice

    circuit = dressed(Twice(0.4), [1], 3)
    assert_imported_alike(circuit)


@pytest.mark.filterwarnings("ignore:.*CSC")  # Qiskit's own matrix exponential
def test_matrices_definitions_and_annotations():
    a, b = Parameter("a"), Parameter("b")
    nested = QuantumCircuit(2, name="inner", global_phase=a / 3)
    nested.rx(a, 1)
    nested.cx(1, 0)
    middle = QuantumCircuit(3, name="middle", global_phase=0.2)
    middle.append(nested.to_gate({a: b + 0.1}), [2, 0])
    middle.append(nested.to_instruction(), [0, 1])
    operations = [
        UnitaryGate(random_unitary(8, seed=3)),
        PermutationGate([2, 0, 1]),
        QFTGate(3),
        DiagonalGate(np.exp(1j * np.arange(8))),
        C3XGate(ctrl_state=5),
        MCPhaseGate(a, 3, ctrl_state=2),
        middle.to_instruction(),
        UnitaryGate(random_unitary(4, seed=4)).control(1, ctrl_state=0, annotated=False),
        AnnotatedOperation(UGate(a, 0.2, b), [InverseModifier(), ControlModifier(2, ctrl_state=1)]),
        AnnotatedOperation(RXGate(0.4), [PowerModifier(3)]),
        PauliEvolutionGate(SparsePauliOp(["XYZ", "IZX"], [0.5, 1.5]), time=a),
        HGate().control(3, annotated=True),
        GlobalPhaseGate(0.9).power(1 / 3),
        UnitaryGate([[1j]]).repeat(3),
    ]
    for seed, operation in enumerate(operations):
        n = operation.num_qubits + 1
        qubits = np.random.default_rng(seed).permutation(n)[: operation.num_qubits].tolist()
        assert_imported_alike(dressed(operation, qubits, n), seed)


@pytest.mark.skipif(not hasattr(library, "PauliProductRotationGate"), reason="this Qiskit has none")
@pytest.mark.parametrize("label", ["II", "-II", "-XZ"])
def test_rotations_about_products_of_paulis_keep_their_phase(label):
    rotation = library.PauliProductRotationGate(Pauli(label), Parameter("a"))
    assert_imported_alike(dressed(rotation, [0, 1], 2))


def _with_modifiers_inside() -> Gate:
    inner = QuantumCircuit(3)
    inner.append(RYGate(0.3).control(1, ctrl_state=0, annotated=True), [2, 0])
    inner.append(PermutationGate([2, 0, 1]), [0, 1, 2])
    return inner.to_gate()


# Taken apart with a qubit to spare in zero, which none of the gate's own is, all of these were other matrices or none.
UNDER_CONTROLS = [
    RCCXGate(),
    PermutationGate([2, 0, 1]),
    LinearFunction([[1, 1, 0], [0, 1, 0], [1, 0, 1]]),
    UCRYGate([0.1, 0.2]),
    Pauli("-iXY"),
    _with_modifiers_inside(),
]


@pytest.mark.parametrize("base", UNDER_CONTROLS, ids=lambda base: base.name if hasattr(base, "name") else repr(base))
def test_gates_under_several_controls_are_right_on_every_state(base):
    alone = QuantumCircuit(base.num_qubits)
    alone.append(base, alone.qubits)
    inverse = Operator(alone).data.conj().T
    wanted = np.eye(4 * len(inverse), dtype=complex)
    wanted[1::4, 1::4] = inverse  # the controls are the last bits, and the second one is open
    controlled = AnnotatedOperation(base, [InverseModifier(), ControlModifier(2, ctrl_state=1)])
    circuit = QuantumCircuit(controlled.num_qubits)
    circuit.append(controlled, circuit.qubits)
    np.testing.assert_allclose(matrix(from_qiskit(circuit).circuit), wanted, atol=1e-10)


def test_barriers_delays_and_resets_of_fresh_qubits_are_skipped_and_initial_states_prepared():
    circuit = QuantumCircuit(3)
    circuit.reset(1)
    circuit.initialize([0.6, 0, 0, 0.8j], [2, 0])
    circuit.barrier()
    circuit.delay(100, 1)
    circuit.h(1)
    imported = from_qiskit(circuit)
    state = reference.statevector(imported.circuit, {})
    plain = QuantumCircuit(3)
    plain.prepare_state([0.6, 0, 0, 0.8j], [2, 0])
    plain.h(1)
    np.testing.assert_allclose(reverse_state(state, 3), Operator(plain).data[:, 0], atol=1e-12)


def test_wide_matrices_stay_matrices():
    wide = random_unitary(2**7, seed=5)
    circuit = QuantumCircuit(8)
    circuit.append(UnitaryGate(wide, label="wide"), [7, 2, 0, 1, 3, 5, 4])
    imported = from_qiskit(circuit).circuit
    assert [operation.label for operation in imported.operations] == ["wide"]
    state = reverse_state(reference.statevector(imported, {}), 8)
    np.testing.assert_allclose(state, Operator(circuit).data[:, 0], atol=1e-12)


# --- random circuits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", mostly_slow(range(10), keep=1))
def test_random_circuits_of_qiskit_there_and_back(block):
    for seed in range(20 * block, 20 * block + 20):
        circuit = random_circuit(3 + seed % 4, 4, max_operands=4, seed=seed)
        wanted = Operator(circuit).data
        imported = from_qiskit(circuit)
        np.testing.assert_allclose(matrix(imported.circuit), wanted, atol=1e-10)
        np.testing.assert_allclose(Operator(to_qiskit(imported.circuit)).data, wanted, atol=1e-10)


PARAMETERISED = [name for name, gate in UNITARY.items() if gate.params and gate.num_qubits]


X, Y, S = ParameterVector("x", 12), ParameterVector("y", 2), Parameter("s")


def random_program(rng: np.random.Generator, n_qubits: int, depth: int = 0) -> QuantumCircuit:
    """Parameters of two vectors and a scalar; open controls, matrices, gates in gates with phases, barriers."""
    out = QuantumCircuit(n_qubits, global_phase=float(rng.uniform(-3, 3)))

    def angle():
        p, q = rng.choice(np.array([*X, *Y, S], dtype=object), 2)
        return [p, -p / 3 + 0.2, p * q, 2 * p - q, (p + q).sin(), float(rng.uniform(-3, 3))][rng.integers(6)]

    def place(gate):
        out.append(gate, rng.permutation(n_qubits)[: gate.num_qubits].tolist())

    for _ in range(6):
        kind = UNITARY[rng.choice(PARAMETERISED)]
        kind = RXGate(0) if kind.num_qubits > n_qubits else kind
        place(kind.base_class(*(angle() for _ in kind.params)))
        choice = rng.integers(5)
        if choice == 0 and n_qubits > 1:
            place(UnitaryGate(random_unitary(4, seed=int(rng.integers(1000)))))
        elif choice == 1 and n_qubits > 2:
            place(RZZGate(angle()).control(1, ctrl_state=int(rng.integers(2)), annotated=False))
        elif choice == 2 and n_qubits > 1:
            place(UGate(angle(), angle(), angle()).control(1, ctrl_state=0, annotated=False))
        elif choice == 3 and depth < 2:
            inner = random_program(rng, int(rng.integers(1, n_qubits + 1)), depth + 1)
            as_gate = depth or rng.integers(2)  # gates hold gates alone
            place(inner.to_gate({p: p / 2 for p in inner.parameters}) if as_gate else inner.to_instruction())
        elif not depth:
            out.barrier()
    return out


@pytest.mark.parametrize("seed", mostly_slow(range(30), keep=6))
def test_random_programs_there_and_back(seed):
    rng = np.random.default_rng(seed)
    circuit = random_program(rng, 3 + seed % 3)
    imported = from_qiskit(circuit)
    values = rng.uniform(0.2, 1.3, circuit.num_parameters)
    wanted = Operator(circuit.assign_parameters(values)).data
    params = imported.params(values)
    np.testing.assert_allclose(matrix(imported.circuit, params), wanted, atol=1e-10)
    back = to_qiskit(imported.circuit)
    np.testing.assert_allclose(Operator(back.assign_parameters(assignment(back, params))).data, wanted, atol=1e-10)


@pytest.mark.parametrize("seed", mostly_slow(range(100, 103), keep=2))
def test_random_programs_in_the_engine(seed):
    circuit = random_program(np.random.default_rng(seed), 4)
    imported = from_qiskit(circuit)
    batch = np.random.default_rng(seed).uniform(0.2, 1.3, (3, circuit.num_parameters))
    states = reverse_state(qj.statevector(imported.circuit)(imported.params(batch)), 4)
    for state, values in zip(states, batch, strict=True):
        np.testing.assert_allclose(state, Operator(circuit.assign_parameters(values)).data[:, 0], atol=1e-10)


# --- measurements ------------------------------------------------------------------------------------------------


def test_final_measurements_are_reported():
    q, c, d = QuantumRegister(4, "q"), ClassicalRegister(2, "c"), ClassicalRegister(3, "d")
    circuit = QuantumCircuit(q, c, d)
    circuit.h(0)
    circuit.measure(0, d[2])
    circuit.cx(1, 2)
    circuit.barrier()
    circuit.measure([2, 1], [c[0], d[0]])
    imported = from_qiskit(circuit)
    found = [(m.qubit, m.clbit, m.register, m.index) for m in imported.measurements]
    assert found == [(2, 0, "c", 0), (1, 2, "d", 0), (0, 4, "d", 2)]
    assert imported.circuit == qj.Circuit(4).h(0).cx(1, 2)
    assert imported.source.count_ops() == {"h": 1, "cx": 1, "barrier": 1}


def test_many_gates_in_seconds_and_the_state_of_aer():
    if "CI" not in os.environ:
        pytest.importorskip("qiskit_aer")
    from qiskit_aer import AerSimulator

    rng = np.random.default_rng(11)
    circuit = QuantumCircuit(14)
    for _ in range(2500):
        circuit.u(*rng.uniform(-3, 3, 3), int(rng.integers(14)))
        circuit.cx(*rng.permutation(14)[:2].tolist())
    start = time.process_time()
    imported = from_qiskit(circuit)
    assert time.process_time() - start < 5
    assert len(imported.circuit) == 5000
    saved = circuit.copy()
    saved.save_statevector()
    theirs = reverse_state(AerSimulator(method="statevector").run(saved).result().get_statevector().data, 14)
    # A parameter in double precision makes the run one in double precision.
    scaled = imported.circuit.copy().rz(0 * qj.Parameter("t"), 0)
    ours = qj.statevector(scaled)({"t": jax.numpy.float64(0)})
    np.testing.assert_allclose(ours, theirs, atol=1e-10)
