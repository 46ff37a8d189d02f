"""The table of gates against generators, structure and Qiskit's matrices."""

import numpy as np
import pytest
from scipy.linalg import expm

from qjaxsim.circuits.dense import PAULI, controlled, kron, monomial, pauli_matrix
from qjaxsim.circuits.gates import GATES

NAMES = sorted(GATES)
ANGLES = (0.7, -1.3, 2.1, 0.4)
X, Y, Z, I2 = (PAULI[letter] for letter in "XYZI")
ONE = np.diag([0, 1])  # |1><1|


def matrix(name, angles=ANGLES):
    spec = GATES[name]
    return spec.matrix(np, *(np.float64(a) for a in angles[: spec.n_angles]))


def reverse_bits(square):
    """The same operator with the order of the qubits turned round."""
    n = len(square).bit_length() - 1
    axes = [*range(n)[::-1], *range(2 * n)[: n - 1 : -1]]
    return square.reshape((2,) * (2 * n)).transpose(axes).reshape(square.shape)


def test_names_are_those_of_qiskits_standard_mapping():
    library = pytest.importorskip("qiskit.circuit.library.standard_gates", reason="compares with Qiskit")
    mapping = library.get_standard_gate_name_mapping()
    assert GATES.keys() - {"delay_dt"} == mapping.keys() - {"measure", "reset"}
    for name in mapping.keys() - {"measure", "reset"}:
        spec = GATES[name]
        assert (spec.name, spec.n_qubits) == (name, mapping[name].num_qubits)
        assert spec.n_angles == len(mapping[name].params)


@pytest.mark.parametrize("name", sorted(GATES.keys() - {"delay", "delay_dt"}))
def test_matrices_are_qiskits(name):
    library = pytest.importorskip("qiskit.circuit.library.standard_gates", reason="compares with Qiskit")
    gate = library.get_standard_gate_name_mapping()[name].base_class(*ANGLES[: GATES[name].n_angles])
    theirs = reverse_bits(np.asarray(gate.to_matrix()))
    np.testing.assert_allclose(matrix(name), theirs, atol=1e-14)


# Generators G of exp(-i theta G), written down from each gate's definition.
_UP = np.array([[0, 1], [0, 0]])  # |0><1|
GENERATORS = {
    "rx": X / 2, "ry": Y / 2, "rz": Z / 2, "p": -ONE, "u1": -ONE,
    "rxx": kron(X, X) / 2, "ryy": kron(Y, Y) / 2, "rzz": kron(Z, Z) / 2, "rzx": kron(Z, X) / 2,
    "crx": kron(ONE, X) / 2, "cry": kron(ONE, Y) / 2, "crz": kron(ONE, Z) / 2,
    "cp": -kron(ONE, ONE), "cu1": -kron(ONE, ONE), "global_phase": -np.eye(1), "delay": np.zeros((2, 2)),
    "delay_dt": np.zeros((2, 2)),
}  # fmt: skip


def test_every_gate_with_one_angle_has_its_generator_here():
    assert set(GENERATORS) == {name for name, spec in GATES.items() if spec.n_angles == 1}


@pytest.mark.parametrize("name", sorted(GENERATORS))
@pytest.mark.parametrize("theta", [-2.3, 0.0, 0.9, 7.0])
def test_one_angle_gates_are_exponentials_of_their_generators(name, theta):
    np.testing.assert_allclose(matrix(name, [theta]), expm(-1j * theta * GENERATORS[name]), atol=1e-14)


def test_gates_with_several_angles_are_products_of_rotations():
    t, p, la, g = ANGLES
    rx, ry, rz = (lambda a, P=P: expm(-0.5j * a * P) for P in (X, Y, Z))
    u = np.exp(0.5j * (p + la)) * rz(p) @ ry(t) @ rz(la)
    np.testing.assert_allclose(matrix("u"), u, atol=1e-14)
    np.testing.assert_allclose(matrix("u3"), u, atol=1e-14)
    u2 = np.exp(0.5j * (t + p)) * rz(t) @ ry(np.pi / 2) @ rz(p)
    np.testing.assert_allclose(matrix("u2"), u2, atol=1e-14)
    np.testing.assert_allclose(matrix("r"), rz(p) @ rx(t) @ rz(-p), atol=1e-14)
    np.testing.assert_allclose(matrix("cu3"), controlled(u), atol=1e-14)
    np.testing.assert_allclose(matrix("cu"), controlled(np.exp(1j * g) * u), atol=1e-14)
    # (XX + YY) / 2 moves an excitation, (XX - YY) / 2 makes or removes a pair; beta turns one of the qubits about Z.
    exchange, pair = (kron(X, X) + kron(Y, Y)) / 4, (kron(X, X) - kron(Y, Y)) / 4
    first, second = kron(rz(p), I2), kron(I2, rz(p))
    plus = first.conj() @ expm(-1j * t * exchange) @ first
    np.testing.assert_allclose(matrix("xx_plus_yy"), plus, atol=1e-14)
    minus = second @ expm(-1j * t * pair) @ second.conj()
    np.testing.assert_allclose(matrix("xx_minus_yy"), minus, atol=1e-14)


def test_roots_and_controlled_gates_from_their_definitions():
    power = {"sx": ("x", 2), "s": ("z", 2), "t": ("s", 2), "cs": ("cz", 2), "csx": ("cx", 2), "c3sx": (None, 2)}
    for name, (whole, n) in power.items():
        expected = controlled(X, 3) if whole is None else matrix(whole)
        np.testing.assert_allclose(np.linalg.matrix_power(matrix(name), n), expected, atol=1e-14)
    for name, base, controls in [("cx", X, 1), ("cy", Y, 1), ("cz", Z, 1), ("ccx", X, 2), ("ccz", Z, 2)]:
        bits = [np.array([int(b) for b in f"{i:0{controls + 1}b}"]) for i in range(2 ** (controls + 1))]
        rows = [[base[r[-1], c[-1]] if r[:-1].all() else r[-1] == c[-1] for c in bits] for r in bits]
        same_controls = [[(r[:-1] == c[:-1]).all() for c in bits] for r in bits]
        np.testing.assert_allclose(matrix(name), np.where(same_controls, rows, 0), atol=1e-15)
    np.testing.assert_allclose(matrix("h"), (X + Z) / np.sqrt(2), atol=1e-15)
    swap = (np.eye(4) + kron(X, X) + kron(Y, Y) + kron(Z, Z)) / 2
    np.testing.assert_allclose(matrix("swap"), swap, atol=1e-15)
    np.testing.assert_allclose(matrix("iswap"), expm(0.25j * np.pi * (kron(X, X) + kron(Y, Y))), atol=1e-14)
    np.testing.assert_allclose(matrix("dcx"), swap @ matrix("cx") @ swap @ matrix("cx"), atol=1e-15)


@pytest.mark.parametrize("name", ["rccx", "rcccx"])
def test_relative_phase_toffolis_flip_like_toffolis(name):
    np.testing.assert_allclose(np.abs(matrix(name)), controlled(X, GATES[name].n_qubits - 1).real, atol=1e-14)
    assert not np.allclose(matrix(name), np.abs(matrix(name)))  # that would be a true Toffoli


@pytest.mark.parametrize("name", NAMES)
def test_matrices_are_unitary_and_inverses_undo_them(name):
    spec, square = GATES[name], matrix(name)
    assert square.dtype == complex
    identity = np.eye(2**spec.n_qubits)
    np.testing.assert_allclose(square @ square.conj().T, identity, atol=1e-14)
    if spec.inverse is None:
        assert not spec.n_angles and not np.allclose(square @ square, identity)
        return
    undo, angles = spec.inverse(ANGLES[: spec.n_angles])
    np.testing.assert_allclose(matrix(undo, angles) @ square, identity, atol=1e-14)


@pytest.mark.parametrize("name", [name for name in NAMES if GATES[name].n_angles])
def test_stacks_of_angles_give_stacks_of_matrices_in_their_precision(name):
    spec = GATES[name]
    rng = np.random.default_rng(5)
    stack = [rng.normal(size=(2, 3)) for _ in range(spec.n_angles)]
    out = spec.matrix(np, *stack)
    assert out.shape == (2**spec.n_qubits,) * 2 + (2, 3)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(out[:, :, i, j], matrix(name, [a[i, j] for a in stack]), atol=1e-14)
    single = spec.matrix(np, *(a.astype(np.float32) for a in stack))
    assert single.dtype == np.complex64
    np.testing.assert_allclose(single, out, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if GATES[name].n_angles])
def test_phase_tables_belong_to_the_diagonal_gates(name):
    spec = GATES[name]
    square = matrix(name)
    diagonal = np.allclose(square, np.diag(np.diag(square)))
    if name in ("delay", "delay_dt"):  # an identity, which the planner drops
        assert diagonal and spec.phases is None
        return
    assert (spec.phases is not None) == diagonal
    if diagonal:
        table = np.exp(1j * spec.phases @ np.array(ANGLES[: spec.n_angles]))
        np.testing.assert_allclose(table, np.diag(square), atol=1e-14)


@pytest.mark.parametrize("name", [name for name in NAMES if GATES[name].n_angles == 0])
def test_monomial_split_rebuilds_the_matrix(name):
    square = matrix(name)
    one_per_row = ((np.abs(square) > 1e-9).sum(0) == 1).all()
    split = monomial(square)
    assert (split is not None) == one_per_row
    if split is not None:
        source, phase = split
        rebuilt = np.zeros_like(square)
        rebuilt[np.arange(len(square)), source] = phase
        np.testing.assert_allclose(rebuilt, square, atol=1e-15)


def test_monomial_refuses_what_only_looks_like_a_permutation():
    assert monomial(np.array([[1, 1], [0, 0]])) is None
    assert monomial(np.array([[1, 0], [1, 0]])) is None
    assert monomial(matrix("h")) is None
    source, phase = monomial(np.array([[0, 1], [1 + 1e-16j, 0]]))
    assert source.tolist() == [1, 0] and (phase == 1).all()


def test_pauli_strings_put_the_first_letter_first():
    ket = np.zeros(8)
    ket[0b001] = 1
    np.testing.assert_allclose(pauli_matrix("IZX") @ ket, np.eye(8)[0b000])
    np.testing.assert_allclose(pauli_matrix("XIZ") @ ket, -np.eye(8)[0b101])
    np.testing.assert_allclose(pauli_matrix("IIY") @ ket, -1j * np.eye(8)[0b000])


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        GATES["x"] = None
