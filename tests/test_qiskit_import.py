"""Qiskit circuits in our form: dense matrices of the reference against Qiskit's operators, and every refusal."""

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import (
    AnnotatedOperation,
    ControlModifier,
    Gate,
    Instruction,
    InverseModifier,
    Parameter,
    ParameterVector,
    PowerModifier,
)
from qiskit.circuit.library import (
    C3XGate,
    CRXGate,
    CUGate,
    CXGate,
    DiagonalGate,
    HGate,
    MCPhaseGate,
    PauliEvolutionGate,
    PermutationGate,
    QFTGate,
    RXGate,
    RZZGate,
    SwapGate,
    UGate,
    UnitaryGate,
    efficient_su2,
    get_standard_gate_name_mapping,
    zz_feature_map,
)
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import Operator, SparsePauliOp, random_unitary
from qjaxsim_qiskit import from_qiskit, importing
from qjaxsim_qiskit.ordering import reverse_state

import qjaxsim as qj
from qjaxsim import reference

UNITARY = {n: g for n, g in get_standard_gate_name_mapping().items() if n not in ("delay", "measure", "reset")}


def matrix(circuit: qj.Circuit, params: dict | None = None) -> np.ndarray:
    """Our dense matrix in Qiskit's order."""
    dense = reference.unitary(circuit, params or {})
    n = circuit.n_qubits
    return reverse_state(reverse_state(dense, n).T, n).T


def assert_same(circuit: QuantumCircuit, seed: int = 0) -> None:
    """The imported circuit is the same operator, phase included, at random values of its parameters."""
    values = np.random.default_rng(seed).uniform(0.2, 1.3, circuit.num_parameters)
    imported = from_qiskit(circuit)
    wanted = Operator(circuit.assign_parameters(values)).data
    np.testing.assert_allclose(matrix(imported.circuit, imported.params(values)), wanted, atol=1e-10)


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
        assert_same(dressed(gate.base_class(*angles), qubits, n))


@pytest.mark.parametrize("state", range(4))
def test_open_controls(state):
    a = Parameter("a")
    n_controls = {CXGate: 1, CRXGate: 1, CUGate: 1}
    for kind, angles in ((CXGate, ()), (CRXGate, (a,)), (CUGate, (a, 0.2, 2 * a, 0.4))):
        assert_same(dressed(kind(*angles, ctrl_state=state % 2 ** n_controls[kind]), [2, 0], 4))
    for base in (RXGate(a), RXGate(0.7), HGate(), RZZGate(a), SwapGate()):
        for annotated in (False, True):
            controlled = base.control(2, ctrl_state=state, annotated=annotated)
            assert_same(dressed(controlled, [3, 1, 0, 2][: controlled.num_qubits], 5))


def test_names_do_not_count():
    liar = Gate("x", 1, [])
    inner = QuantumCircuit(1, global_phase=0.3)
    inner.h(0)
    liar.definition = inner
    assert_same(dressed(liar, [1], 3))
    other = Gate("cx", 2, [])
    other.definition = QuantumCircuit(2)
    other.definition.cy(1, 0)
    assert_same(dressed(other.control(1, annotated=False), [2, 0, 1], 3))


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
    assert_same(circuit)


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
    ]
    for seed, operation in enumerate(operations):
        n = operation.num_qubits + 1
        qubits = np.random.default_rng(seed).permutation(n)[: operation.num_qubits].tolist()
        assert_same(dressed(operation, qubits, n), seed)


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


@pytest.mark.parametrize("block", range(10))
def test_random_circuits(block):
    for seed in range(20 * block, 20 * block + 20):
        circuit = random_circuit(3 + seed % 4, 4, max_operands=4, seed=seed)
        imported = from_qiskit(circuit)
        np.testing.assert_allclose(matrix(imported.circuit), Operator(circuit).data, atol=1e-10)


# --- parameters --------------------------------------------------------------------------------------------------


def test_expressions():
    a, b, v = Parameter("a"), Parameter("b"), ParameterVector("v", 12)
    angles = [
        2 * a + 0.3, -a, a - b + 1, (a + b) / 4, a - a, 0 * b + 0.2, a * b, a**2, 1 / a, a**b, b.sin() * a,
        a.cos().exp(), (a / 2).arcsin(), (a / 2).arccos(), a.arctan(), a.tan(), a.log(), (a - 2).abs(), (b - 1).sign(),
        a.conjugate() * b, v[10] * v[2], 2 * (v[11] - np.pi) * (v[0] - np.pi),
    ]  # fmt: skip
    circuit = QuantumCircuit(3, global_phase=a * v[3])
    for number, angle in enumerate(angles):
        circuit.rx(angle, number % 3)
        circuit.ry(0.1 * number, (number + 1) % 3)
        circuit.cx(number % 3, (number + 1) % 3)
    assert_same(circuit, 7)


def test_vectors_go_by_index_not_by_name_or_appearance():
    x = ParameterVector("x", 12)
    circuit = QuantumCircuit(3)
    for index in (10, 2, 11, 0, 9, 1):
        circuit.ry(x[index], index % 3)
        circuit.cx(index % 3, (index + 1) % 3)
    imported = from_qiskit(circuit)
    assert imported.circuit.parameters == {"x": (12,)}
    used = [0, 1, 2, 9, 10, 11]
    values = np.linspace(0.1, 2, 6)
    wanted = np.zeros(12)
    wanted[used] = values
    np.testing.assert_array_equal(imported.params(values)["x"], wanted)
    full = np.arange(12) / 7.0
    for key in (x, "x"):
        chosen = imported.params({key: full})["x"]
        np.testing.assert_array_equal(chosen[used], full[used])
    one_by_one = imported.params({"x[10]": 1.0, x[2]: 2.0, "x[11]": [3.0, 4.0], x[0]: 0, x[9]: 0, x[1]: 0})["x"]
    assert one_by_one.shape == (2, 12)
    np.testing.assert_array_equal(one_by_one[:, [10, 2, 11]], [[1, 2, 3], [1, 2, 4]])
    assert_same(circuit)
    shaped = from_qiskit(circuit, shapes={"x": (3, 4)})
    assert shaped.circuit.parameters == {"x": (3, 4)}
    np.testing.assert_allclose(
        matrix(shaped.circuit, shaped.params(values)), matrix(imported.circuit, imported.params(values)), atol=1e-14
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], r"must have 3 numbers in its last axis \(for a, v\[0\], v\[1\]\), but has shape \(2,\)"),
        ({"a": 1.0, "nope": 2.0}, "names 'nope', but the circuit has a, v"),
        ({"a": 1.0, "v": [1.0]}, r"must give 'v' 2 numbers in the last axis, but has shape \(1,\)"),
        ({"v": [1.0, 2.0]}, "Argument `values` lacks a"),
    ],
)
def test_wrong_values(values, message):
    a, v = Parameter("a"), ParameterVector("v", 2)
    circuit = QuantumCircuit(3)
    circuit.rx(a, 0)
    circuit.rx(v[0] * v[1], 2)
    with pytest.raises(ValueError, match=message):
        from_qiskit(circuit).params(values)


def test_gradients_and_hessians_of_a_library_circuit_are_differences():
    imported = from_qiskit(zz_feature_map(3, reps=1).compose(efficient_su2(3, reps=1)))
    energy = qj.expectation(imported.circuit, qj.Z(0) @ qj.Y(1) + 0.5 * qj.X(2))
    values = np.random.default_rng(4).uniform(-1, 1, imported.source.num_parameters)
    hessian = np.asarray(qj.hessian(energy, imported.params(values)))
    assert len(hessian) == imported.circuit.n_parameters == 3 + 12
    names, step = list(imported.circuit.parameters), 1e-4
    flat = np.concatenate([imported.params(values)[name].reshape(-1) for name in sorted(names)])
    sizes = np.cumsum([imported.params(values)[name].size for name in sorted(names)])[:-1]

    def at(vector):
        parts = np.split(vector, sizes)
        return float(energy({name: part for name, part in zip(sorted(names), parts, strict=True)}))

    for i, j in ((0, 0), (0, 5), (2, 14), (7, 9)):
        e, f = step * np.eye(15)[i], step * np.eye(15)[j]
        second = (at(flat + e + f) - at(flat + e - f) - at(flat - e + f) + at(flat - e - f)) / (4 * step**2)
        assert hessian[i, j] == pytest.approx(second, abs=1e-5, rel=1e-6)


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


# --- refusals ----------------------------------------------------------------------------------------------------


def _middle(circuit):
    circuit.measure(0, 0)
    circuit.h(0)


def _if(circuit):
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)


def _hidden(circuit):
    inner = QuantumCircuit(1, 1)
    inner.measure(0, 0)
    circuit.append(inner.to_instruction(), [2], [0])


REFUSED = [
    (_middle, r"operation 0 \(measure\) measures a qubit that is used afterwards"),
    (lambda c: (c.h(0), c.reset(0)), r"operation 1 \(reset\) resets a qubit that is in use"),
    (lambda c: (c.h(0), c.initialize([0, 1], 0)), r"operation 1\.0 \(reset\) resets a qubit that is in use"),
    (_if, r"operation 0 \(if_else\) is control flow"),
    (lambda c: c.for_loop(range(2), None, QuantumCircuit(1), [0], []), r"operation 0 \(for_loop\) is control flow"),
    (lambda c: c.add_var("flag", True), "Classical variables cannot be imported, but the circuit has flag"),
    (_hidden, r"operation 0\.0 \(measure\) measures"),
    (lambda c: c.append(Gate("oracle", 2, []), [0, 1]), r"operation 0 \(oracle\) has neither a matrix"),
    (lambda c: c.append(Instruction("thing", 1, 0, []), [1]), r"operation 0 \(thing\) has neither a matrix"),
    (lambda c: c.rx(float("nan"), 1), r"Angles must be finite real numbers, but operation 0 \(rx\) has nan"),
    (lambda c: c.rx(float("inf"), 1), r"Angles must be finite real numbers, but operation 0 \(rx\) has inf"),
    (lambda c: c.rx(1j * Parameter("a"), 1), r"Angles must be finite real numbers, but operation 0 \(rx\), with the"),
    (lambda c: c.rx((1j * Parameter("a")).sin(), 1), r"cannot be imported: it holds the complex or infinite number I"),
    (lambda c: c.rx(2 ** Parameter("a"), 1), r"angle 2\*\*a of operation 0 \(rx\) cannot be imported: Qiskit does not"),
    (lambda c: (c.rx(Parameter("x"), 0), c.rx(ParameterVector("x", 2)[1], 0)), "must have names of their own"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "message"), REFUSED)
def test_refusals_name_operation_and_place(build, message):
    circuit = QuantumCircuit(3, 1)
    build(circuit)
    with pytest.raises(ValueError, match=message):
        from_qiskit(circuit)


def test_other_refusals():
    with pytest.raises(TypeError, match="must be a qiskit.QuantumCircuit, but is str"):
        from_qiskit("h q[0];")
    with pytest.raises(ValueError, match="at least one qubit"):
        from_qiskit(QuantumCircuit())
    with pytest.raises(MemoryError, match=r"A state of 60 qubits in single precision needs 8589934592.0 GiB"):
        from_qiskit(QuantumCircuit(60))
    with pytest.raises(MemoryError, match=r"A state of 2000 qubits has 2\*\*2000 amplitudes"):
        from_qiskit(QuantumCircuit(2000))
    circuit = QuantumCircuit(3)
    circuit.rx(ParameterVector("v", 4)[1], 0)
    with pytest.raises(ValueError, match=r"gives 'v' the shape \(3,\), but .* \{'v': 4\}"):
        from_qiskit(circuit, shapes={"v": (3,)})


def test_sympy_is_named_where_it_is_missing(monkeypatch):
    a = Parameter("a")

    def missing(*_):
        raise ImportError("no sympy")

    class Angle:
        parameters = {a}
        gradient = staticmethod(lambda p: a)
        sympify = missing

        def __str__(self):
            return "a*a"

    with pytest.raises(ImportError, match=r"angle a\*a of here is not affine .* pip install 'qjaxsim\[qiskit\]'"):
        importing.angle_of(Angle(), {}, "here")


def test_many_gates_in_seconds_and_the_state_of_aer():
    from qjaxsim_qiskit import aer

    rng = np.random.default_rng(11)
    circuit = QuantumCircuit(14)
    for _ in range(2500):
        circuit.u(*rng.uniform(-3, 3, 3), int(rng.integers(14)))
        circuit.cx(*rng.permutation(14)[:2].tolist())
    imported = from_qiskit(circuit)
    assert len(imported.circuit) == 5000
    theirs = reverse_state(aer.states(circuit, [{}])[0], 14)
    import jax.numpy as jnp

    scaled = imported.circuit.copy().rz(0.0 * qj.Parameter("t"), 0)
    ours = np.asarray(qj.statevector(scaled)({"t": jnp.float64(0)}))
    np.testing.assert_allclose(ours, theirs, atol=1e-10)
