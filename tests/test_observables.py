"""The algebra of Pauli sums against dense matrices, their text, and what they refuse."""

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.observables import pauli_sums
from qjaxsim.reference import pauli_sum_matrix

LETTERS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def dense(terms, n_qubits=3):
    """Sum of coefficient * kron of a label's letters, by this file's own means."""
    total = np.zeros((2**n_qubits, 2**n_qubits), dtype=complex)
    for label, coefficient in terms.items():
        matrix = np.eye(1)
        for letter in label:
            matrix = np.kron(matrix, LETTERS[letter])
        total += coefficient * matrix
    return total


def random_sum(rng, n_terms=5):
    labels = ["".join(rng.choice(list("IXYZ"), 3)) for _ in range(n_terms)]
    coefficients = rng.normal(size=n_terms) + 1j * rng.normal(size=n_terms)
    total, matrix = 0, np.zeros((8, 8), dtype=complex)
    for label, coefficient in zip(labels, coefficients, strict=True):
        total = qj.PauliSum.from_label(label, coefficient) + total
        matrix = matrix + dense({label: coefficient})
    return total, matrix


def test_single_letters_act_on_their_qubit():
    for make, letter in ((qj.X, "X"), (qj.Y, "Y"), (qj.Z, "Z")):
        for q in range(3):
            label = "I" * q + letter + "I" * (2 - q)
            np.testing.assert_array_equal(pauli_sum_matrix(make(q), 3), dense({label: 1}))
            assert make(q) == qj.PauliSum.from_label(label)
    np.testing.assert_array_equal(pauli_sum_matrix(qj.I(), 3), np.eye(8))


@pytest.mark.parametrize("seed", range(6))
def test_the_algebra_is_that_of_the_matrices(seed):
    rng = np.random.default_rng(seed)
    (left, a), (right, b) = random_sum(rng), random_sum(rng)
    results = {
        "sum": (left + right, a + b),
        "difference": (left - right, a - b),
        "product": (left @ right, a @ b),
        "scaled": (2.5j * left, 2.5j * a),
        "scaled behind": (left * np.float64(0.3), 0.3 * a),
        "divided": (left / 4, a / 4),
        "negative": (-left, -a),
        "plus number": (left + 2, a + 2 * np.eye(8)),
        "number minus": (1.5 - left, 1.5 * np.eye(8) - a),
        "minus number": (left - 1j, a - 1j * np.eye(8)),
        "commutator": (left @ right - right @ left, a @ b - b @ a),
    }
    for name, (result, matrix) in results.items():
        np.testing.assert_allclose(pauli_sum_matrix(result, 3), matrix, atol=1e-13, err_msg=name)


def test_products_of_letters_follow_the_cyclic_rule():
    for a, b, c in ((qj.X, qj.Y, qj.Z), (qj.Y, qj.Z, qj.X), (qj.Z, qj.X, qj.Y)):
        assert a(1) @ b(1) == 1j * c(1)
        assert b(1) @ a(1) == -1j * c(1)
        assert a(1) @ a(1) == qj.I()
        assert a(1) @ b(0) == b(0) @ a(1)


def test_terms_collect_and_cancel():
    total = qj.X(0) @ qj.Z(2) + 2 * qj.Z(2) @ qj.X(0) + qj.Y(1) - qj.Y(1)
    assert dict(total.terms) == {((0, "X"), (2, "Z")): 3}
    assert total.n_qubits == 3 and (qj.X(0) - qj.X(0)).n_qubits == 0
    assert total == qj.PauliSum({((2, "Z"), (0, "X")): 3})
    assert hash(total) == hash(3 * qj.X(0) @ qj.Z(2))
    assert qj.PauliSum({((0, "X"), (1, "Z")): 1, ((1, "Z"), (0, "X")): -1}).terms == {}
    assert total != "3 X0 Z2" and qj.X(0) != qj.X(1)
    with pytest.raises(TypeError):
        total.terms[()] = 1


def test_hermitian_means_real_coefficients():
    assert (qj.X(0) @ qj.Z(1) - 0.5).is_hermitian
    assert not (qj.X(0) @ qj.Z(0)).is_hermitian
    assert (1j * qj.X(0) @ qj.Z(0)).is_hermitian


def test_text():
    assert str(qj.X(0) - qj.X(0)) == "0"
    assert str(-qj.Z(3)) == "-1 Z3"
    assert str(qj.I() * 2 - 0.25 * qj.X(1) @ qj.Y(0)) == "2 - 0.25 Y0 X1"
    assert str(1j * qj.X(0)) == "(0+1j) X0"
    assert repr(qj.Z(0)) == "<PauliSum: 1 Z0>"


def test_observables_are_checked_against_the_width():
    assert pauli_sums(qj.Z(1), 2) == (qj.Z(1),)
    assert pauli_sums((qj.Z(q) for q in range(2)), 2) == (qj.Z(0), qj.Z(1))
    assert pauli_sums([qj.I()], 1) == (qj.I(),)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: qj.X(-1), ValueError, "Qubits of a Pauli term must be integers from 0 on, but got -1"),
        (lambda: qj.Z(0.0), ValueError, "integers from 0 on, but got 0.0"),
        (lambda: qj.Z(True), ValueError, "integers from 0 on, but got True"),
        (lambda: qj.PauliSum({((0, "A"),): 1}), ValueError, "Pauli letters are X, Y and Z, but got 'A'"),
        (
            lambda: qj.PauliSum({((0, "X"), (0, "Z")): 1}),
            ValueError,
            "must name each qubit once, .* use @ for products",
        ),
        (lambda: qj.PauliSum({(): np.nan}), ValueError, r"must be finite, but \(\) has nan"),
        (lambda: qj.PauliSum.from_label("XQ"), ValueError, "made of the letters I, X, Y, Z, but is 'XQ'"),
        (lambda: qj.PauliSum.from_label(""), ValueError, "made of the letters I, X, Y, Z, but is ''"),
        (lambda: qj.X(0) * qj.Y(1), TypeError, "multiplied with @; \\* is for scaling"),
        (lambda: qj.X(0) * "a", TypeError, "unsupported|can't multiply"),
        (lambda: qj.X(0) @ 2, TypeError, "unsupported operand"),
        (lambda: qj.X(0) + "a", TypeError, "unsupported operand"),
        (lambda: np.inf * qj.X(0), ValueError, "must be finite"),
        (lambda: qj.X(0) / 0, ZeroDivisionError, "division by zero"),
        (lambda: pauli_sums([], 2), ValueError, "at least one PauliSum"),
        (lambda: pauli_sums([qj.X(0), None], 2), TypeError, "Observable 1 must be a PauliSum, but is NoneType"),
        (lambda: pauli_sums([qj.X(2)], 2), ValueError, "Observable 0 acts on qubit 2, but the circuit has 2 qubits"),
        (lambda: pauli_sums(qj.X(0) @ qj.Z(0), 2), ValueError, "Observable 0 must have real coefficients, but is"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
