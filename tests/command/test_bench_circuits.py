"""The circuits of the benchmark do what they are called after."""

import numpy as np
from qjaxsim_bench import circuits, families

from qjaxsim.circuits.dense import applied, pauli_matrix
from qjaxsim.circuits.gates import GATES


def run_small(ops, n_qubits):
    """The state that gates make, by this engine's table of gates alone."""
    state = np.zeros(2**n_qubits, complex)
    state[0] = 1
    for name, qubits, angle in ops:
        spec = GATES[name]
        angles = () if angle is None else (np.asarray(angle),)
        state = applied(spec.matrix(np, *angles), qubits, state)
    return state


def bits(index, qubits, n_qubits):
    """A number, first qubit most significant."""
    return int("".join(str((index >> (n_qubits - 1 - q)) & 1) for q in qubits), 2)


def test_the_adder_adds_and_the_multiplier_multiplies():
    n, ops = circuits.adder(3)
    a, b = [6, 4, 2], [5, 3, 1]
    state = run_small(ops, n)
    numbers = set()
    for index in np.flatnonzero(np.abs(state) > 1e-9):
        numbers.add(bits(index, a, n))
        assert bits(index, [7, *b], n) == bits(index, a, n) + 5 and not bits(index, [0], n)
    assert numbers == set(range(8))
    n, ops = circuits.multiplier(2)
    state = run_small(ops, n)
    seen = np.flatnonzero(np.abs(state) > 1e-9)
    assert {bits(i, [0, 1], n) for i in seen} == set(range(4))
    for index in seen:
        assert bits(index, range(4, 8), n) == bits(index, [0, 1], n) * bits(index, [2, 3], n)


def test_textbook_circuits_make_their_states():
    n, ops = circuits.w_state(4)
    assert sorted(np.flatnonzero(np.abs(run_small(ops, n)) > 1e-9)) == [1, 2, 4, 8]
    np.testing.assert_allclose(np.abs(run_small(ops, n)[[1, 2, 4, 8]]), 0.5)
    n, ops = circuits.cat(4)
    np.testing.assert_allclose(run_small(ops, n)[[0, -1]], np.sqrt(0.5))
    n, ops = circuits.bernstein_vazirani(5)
    found = np.flatnonzero(np.abs(run_small(ops, n)) > 1e-9)
    assert {bits(i, range(4), n) for i in found} == {0b1011}
    n, ops = circuits.simon(3)
    outcomes_of_simon = {bits(i, range(3), n) for i in np.flatnonzero(np.abs(run_small(ops, n)) > 1e-9)}
    assert outcomes_of_simon == {0b000, 0b011, 0b101, 0b110}  # orthogonal to the period
    n, ops = circuits.phase_estimation(4)
    best = int(np.abs(run_small(ops, n)).argmax())
    assert bits(best, range(4), n) == round(0.3141 * 16)
    n, ops = circuits.qft(3)
    start = np.zeros(8)
    start[0b100] = 1
    np.testing.assert_allclose(run_small(ops, n), np.fft.ifft(start, norm="ortho"), atol=1e-14)


def test_a_string_of_the_evolution_is_its_rotation():
    word, qubits, angle = "XZY", (0, 1, 2), 0.7
    ops = [(name, q, angle if isinstance(a, int) else a) for name, q, a in families._rotation(word, qubits, 0)]
    columns = []
    for index in range(8):
        flips = [("x", (q,), None) for q in range(3) if (index >> (2 - q)) & 1]
        columns.append(run_small([*flips, *ops], 3))
    want = np.cos(angle / 2) * np.eye(8) - 1j * np.sin(angle / 2) * pauli_matrix(word)
    np.testing.assert_allclose(np.array(columns).T, want, atol=1e-14)


def test_the_molecule_conserves_its_electrons():
    terms = families.molecule(4)

    def dense(word, qubits):
        return pauli_matrix("".join(dict(zip(qubits, word, strict=True)).get(i, "I") for i in range(4)))

    energy = sum(value * dense(word, qubits) for word, qubits, value in terms)
    number = sum(dense("Z", (q,)) for q in range(4))
    np.testing.assert_allclose(energy @ number, number @ energy, atol=1e-14)
    assert len({(w, q) for w, q, _ in terms}) > 20
