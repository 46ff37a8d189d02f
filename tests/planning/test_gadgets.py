"""Rotations and phases seen through the gates around them: what a circuit becomes, against dense products."""

import functools
import itertools

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits.dense import pauli_matrix
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.operations import Gate
from qjaxsim.circuits.reference import embed
from qjaxsim.planning.factors import factors, phases_of
from qjaxsim.planning.gadgets import Gadgets
from qjaxsim.planning.leaves import PauliRotation, Phases
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.steps import Dense, Diagonal, Rotations
from tests.circuits_with_gadgets import BASES, random_gadgets, string_rotation

THETA = qj.Parameter("theta")


def opened(circuit):
    """The circuit's gates after opening, as (factor, wires)."""
    gates = Gadgets()
    for operation in circuit.operations:
        for factor, qubits in factors(operation):
            gates.add(factor, qubits)
    return gates.finish()


def matrix_of(factor, values):
    """The dense matrix of a factor, angles evaluated."""
    if isinstance(factor, np.ndarray):
        return factor
    angles = [a.evaluate(lambda name, i: values[name][i], np) if hasattr(a, "evaluate") else a for a in factor.angles]
    if isinstance(factor, Gate):
        return GATES[factor.name].matrix(np, *(np.float64(a) for a in angles))
    if isinstance(factor, PauliRotation):
        pauli = pauli_matrix(factor.letters)
        return np.cos(angles[0] / 2) * np.eye(len(pauli)) - 1j * np.sin(angles[0] / 2) * pauli
    phases = phases_of(factor)
    return np.diag(np.exp(1j * (phases.offset + phases.table @ np.array(angles))))


def product(gates, n_qubits, values):
    return functools.reduce(
        lambda total, gate: embed(matrix_of(gate[0], values), gate[1], n_qubits) @ total, gates, np.eye(2**n_qubits)
    )


@pytest.mark.parametrize("seed", range(60))
def test_opening_changes_nothing(seed):
    circuit, _ = random_gadgets(seed, repeats=False, swaps=False)
    rng = np.random.default_rng(seed)
    values = {name: rng.normal(size=shape).reshape(-1) for name, shape in circuit.parameters.items()}
    given = [pair for operation in circuit.operations for pair in factors(operation)]
    n = circuit.n_qubits
    np.testing.assert_allclose(product(opened(circuit), n, values), product(given, n, values), atol=1e-13)


@pytest.mark.parametrize("letters", ["".join(letters) for letters in itertools.product("XYZ", repeat=3)])
def test_a_string_written_with_ladders_is_one_rotation(letters):
    circuit = string_rotation(qj.Circuit(4), dict(zip((3, 0, 2), letters, strict=True)), THETA)
    ((factor, wires),) = opened(circuit)
    assert wires == (0, 2, 3) and isinstance(factor, PauliRotation)
    assert factor.letters == letters[1] + letters[2] + letters[0]


def test_nested_and_crossed_ladders_open():
    star = qj.Circuit(5)
    for q in range(4):
        star.cx(q, 4)
    star.rz(THETA, 4)
    for q in (2, 0, 3, 1):  # not the mirrored order: CX with a common target commute
        star.cx(q, 4)
    assert [factor.letters for factor, _ in opened(star)] == ["ZZZZZ"]
    toffoli = qj.Circuit(3).ccx(0, 1, 2).p(THETA, 2).ccx(0, 1, 2)
    ((factor, wires),) = opened(toffoli)
    assert isinstance(factor, Phases) and wires == (0, 1, 2)
    # The phase falls on the basis states that the Toffoli gate gives a last bit of 1.
    assert factor.table[:, 0].tolist() == [0, 1, 0, 1, 0, 1, 1, 0]


def test_phases_become_narrow_again():
    circuit = qj.Circuit(2).cx(0, 1).cx(0, 1).p(THETA, 1)
    circuit = qj.Circuit(2).x(0).cx(0, 1).cx(1, 0).p(THETA, 0).cx(1, 0).cx(0, 1).x(0)
    ((factor, wires),) = opened(circuit)
    assert wires == (1,) and isinstance(factor, Phases)


def test_several_rotations_are_left_between_their_gates():
    circuit = qj.Circuit(3).cx(0, 1).ry(THETA, 0).ry(THETA, 1).cx(0, 1)
    assert [wires for _, wires in opened(circuit)] == [(0, 1), (0,), (1,), (0, 1)]
    between = qj.Circuit(3).h(0).rzz(THETA, 0, 1).rzz(THETA, 0, 2).h(0)
    assert [getattr(factor, "name", "h") for factor, _ in opened(between)] == ["h", "rzz", "rzz", "h"]


def test_a_gate_in_between_that_turns_the_qubit_keeps_the_pair():
    circuit = qj.Circuit(2).cx(0, 1).rz(THETA, 1).h(1).cx(0, 1)
    assert len(opened(circuit)) == 4


def ways_to_write_a_pair():
    """exp(i phi) on the basis states of a pair that differ, written in seven ways."""
    yield lambda c, phi, i, j: c.cx(i, j).p(phi, j).cx(i, j)
    yield lambda c, phi, i, j: c.cx(j, i).p(phi, i).cx(j, i)
    yield lambda c, phi, i, j: c.cx(i, j).u1(phi, j).cx(i, j)
    yield lambda c, phi, i, j: c.rzz(phi, i, j)
    yield lambda c, phi, i, j: c.h(j).cz(i, j).h(j).rz(phi, j).h(j).cz(i, j).h(j)
    yield lambda c, phi, i, j: c.p(phi, i).p(phi, j).cp(-2 * phi, i, j)
    yield lambda c, phi, i, j: c.x(i).cx(i, j).p(-phi, j).cx(i, j).x(i)


@pytest.mark.parametrize("way", list(ways_to_write_a_pair()))
@pytest.mark.parametrize("n_qubits", [3, 6, 8])
def test_a_zz_feature_map_has_one_diagonal_a_repetition(way, n_qubits):
    x = qj.Parameter("x", (n_qubits,))
    circuit = qj.Circuit(n_qubits)
    for _ in range(2):
        for i in range(n_qubits):
            circuit.h(i).p(2 * x[i], i)
        for i, j in itertools.combinations(range(n_qubits), 2):
            way(circuit, 2 * (np.pi - x[i]) * (np.pi - x[j]), i, j)
    for options in (None, qj.PlanOptions(collapse=False)):
        steps = make_plan(circuit, {"x"}, 300, options).steps
        assert [type(step) for step in steps if step.data and isinstance(step, Dense | Diagonal | Rotations)] == [
            Diagonal,
            Diagonal,
        ]


def test_the_librarys_feature_map_has_two_data_diagonals():
    steps = make_plan(qj.zz_feature_map(8), {"x"}, 300).steps
    assert sum(isinstance(step, Diagonal) and step.data for step in steps) == 2
    assert not any(isinstance(step, Dense) and step.data for step in steps)


def test_long_strings_are_one_loop_and_explained():
    circuit = qj.Circuit(12)
    for q in range(4, 11):
        letters = {0: "X", **dict.fromkeys(range(1, q), "Z"), q: "Y"}
        string_rotation(circuit, letters, 0.3 * THETA)
    (rotations,) = [step for step in make_plan(circuit).steps if isinstance(step, Rotations)]
    assert rotations.strings[0] == "X0 Z1 Z2 Z3 Y4" and len(rotations.angles) == 7
    text = str(qj.explain(circuit))
    assert "rotations" in text and "7 Pauli strings, first X0 Z1" in text


def test_tables_of_scattered_phases_stay_small():
    rng = np.random.default_rng(0)
    circuit = qj.Circuit(24).h(range(24))
    for _ in range(40):
        letters = dict.fromkeys(rng.permutation(24)[:5].tolist(), "Z")
        string_rotation(circuit, letters, THETA).ccz(*list(letters)[:3])
    tables = [table for step in make_plan(circuit).steps if isinstance(step, Diagonal) for table in step.tables]
    assert sum(len(table.angles) for table in tables) == 40
    assert all(len(table.offset) <= 2**12 for table in tables)


def test_short_strings_stay_in_dense_blocks():
    circuit = qj.Circuit(4)
    for q in range(3):
        circuit.rxx(THETA, q, q + 1).ryy(THETA, q, q + 1)
    assert not any(isinstance(step, Rotations) for step in make_plan(circuit).steps)


def test_bases_are_those_of_their_letters():
    for letter, names in BASES.items():
        before, after = (
            functools.reduce(lambda m, name: GATES[name].matrix(np) @ m, part, np.eye(2)) for part in names
        )
        np.testing.assert_allclose(after @ pauli_matrix("Z") @ before, pauli_matrix(letter), atol=1e-15)
