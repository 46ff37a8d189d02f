"""The algebra of Pauli sums against dense matrices, their text, and what they refuse."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse

import qjaxsim as qj
from qjaxsim.circuits import sums
from qjaxsim.circuits.observables import pauli_sums
from qjaxsim.circuits.reference import pauli_sum_matrix

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
        (lambda: (qj.X(0) + qj.Z(1)) ** 2, TypeError, r"no powers by \*\*; multiply it with itself by @"),
        (lambda: (qj.Parameter("a") * qj.X(0)) ** 2, TypeError, r"no powers by \*\*; multiply it with itself by @"),
        (lambda: qj.PauliSum({"XZ": 1}), ValueError, r"must be a tuple of pairs .*, but is 'XZ'; .*from_label"),
        (lambda: qj.PauliSum({(0, "X"): 1}), ValueError, r"must be a tuple of pairs .*, but is \(0, 'X'\); "),
        (lambda: qj.PauliSum([("XZ", 1)]), TypeError, r"must be a dictionary of terms .*, but is \[\('XZ', 1\)\]; "),
        (lambda: qj.X(0) * "a", TypeError, "unsupported|can't multiply"),
        (lambda: qj.X(0) @ 2, TypeError, "unsupported operand"),
        (lambda: qj.X(0) + "a", TypeError, "unsupported operand"),
        (lambda: np.inf * qj.X(0), ValueError, "must be finite"),
        (lambda: qj.X(0) / 0, ZeroDivisionError, "divisor of a Pauli sum must not be zero, but is"),
        (lambda: pauli_sums([], 2), ValueError, "at least one PauliSum"),
        (lambda: pauli_sums([qj.X(0), None], 2), TypeError, "Observable 1 must be a PauliSum, but is NoneType"),
        (
            lambda: qj.expectation(qj.Circuit(3), np.eye(8)),
            TypeError,
            r"Argument `observables` must be .*, but is of shape \(8, 8\) .ndarray.; write a matrix as `qj.Hermitian",
        ),
        (
            lambda: qj.expectation(qj.Circuit(3), [qj.Z(0), scipy.sparse.eye_array(8)]),
            TypeError,
            r"Observable 1 must be a PauliSum, but is dia_array; write a sparse matrix as `qj.SparseHerm",
        ),
        (lambda: pauli_sums([("XIZ", 0.5)], 3), TypeError, r"is tuple; .*, a label as `qj.PauliSum.from_label\("),
        (lambda: pauli_sums([qj.X(2)], 2), ValueError, "Observable 0 acts on qubit 2, but the circuit has 2 qubits"),
        (
            lambda: pauli_sums(qj.X(0) @ qj.Z(0), 2),
            ValueError,
            "Observable 0 must have real coefficients, but has .0-1j. Y0",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
def test_rounding_in_products_does_not_make_a_sum_complex(scale):
    """Squares, powers and commutators of Hermitian sums, whose imaginary parts cancel up to rounding only."""
    rng = np.random.default_rng(7)
    energy = scale * (0.9 * qj.Z(0) @ qj.Y(1) + 0.7 * qj.Z(0) @ qj.Z(1) @ qj.Y(2) + 0.8 * qj.X(0) @ qj.Z(2))
    energy += 1.1 * scale * qj.X(0) @ qj.X(1) @ qj.X(2)
    labels = ["".join(rng.choice(list("IXYZ"), 3)) for _ in range(40)]
    other = sum(
        scale * value * qj.PauliSum.from_label(label) for label, value in zip(labels, rng.normal(size=40), strict=True)
    )
    shifted, square = other - 0.3 * scale, other @ other
    results = [
        energy @ energy,
        square,
        shifted @ shifted,
        square @ square,
        1j * (energy @ other - other @ energy),
        square @ other - other @ square,  # nothing but rounding
    ]
    for result in results:
        assert result.is_hermitian
        (real,) = pauli_sums(result, 3)
        assert all(value.imag == 0 for value in real.terms.values())
        matrix = pauli_sum_matrix(result, 3)
        np.testing.assert_allclose(pauli_sum_matrix(real, 3), matrix, atol=1e-12 * max(np.abs(matrix).max(), scale**3))
    np.testing.assert_allclose(pauli_sum_matrix(energy @ energy, 3)[0, 0], 3.15 * scale**2)
    for small in (1e-6, 1e-9):
        assert not (energy + small * scale * 1j * qj.Z(0)).is_hermitian


def test_the_variance_of_a_hamiltonian_is_the_expectation_of_its_square():
    energy = 0.9 * qj.Z(0) @ qj.Y(1) + 0.7 * qj.Z(0) @ qj.Z(1) @ qj.Y(2) + 0.8 * qj.X(0) @ qj.Z(2)
    energy += 1.1 * qj.X(0) @ qj.X(1) @ qj.X(2)
    np.testing.assert_allclose(qj.expectation(qj.Circuit(3), energy @ energy)({}), 3.15, atol=1e-12)


WAYS = {
    "+=": lambda total, term: total + term,
    "in front": lambda total, term: term + total,
    "-=": lambda total, term: total - term,
    "from": lambda total, term: term - total,
    "negative": lambda total, term: -total + term,
    "scaled": lambda total, term: 0.5 * (total + term),
    "divided": lambda total, term: (total + term) / 2,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_sum_built_term_by_term_visits_each_term_once(way, monkeypatch):
    """And gives what the matrices give; collecting at every step would visit half a million."""
    visited = 0
    nonzero = sums.nonzero

    def counted(terms):
        nonlocal visited
        visited += len(terms)
        return nonzero(terms)

    rng = np.random.default_rng(3)
    labels = ["".join(rng.choice(list("IXYZ"), 7)) for _ in range(1000)]
    terms = [qj.PauliSum.from_label(label, value) for label, value in zip(labels, rng.normal(size=1000), strict=True)]
    monkeypatch.setattr(sums, "nonzero", counted)
    total, expected = qj.PauliSum({}), {}
    for term in terms:
        total = WAYS[way](total, term)
        sign = {"from": -1, "negative": -1}.get(way, 1)
        half = 0.5 if way in ("scaled", "divided") else 1
        expected = {key: value * sign * half for key, value in expected.items()}
        for key, value in term.terms.items():
            expected[key] = expected.get(key, 0) + (-value if way == "-=" else half * value)
    assert visited == 0
    found = total.terms
    assert visited <= 1000
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[key] for key in expected], list(expected.values()), atol=1e-12)


def test_sums_of_sums_are_collected_once_however_they_share_their_parts():
    """Doubling sixty times, the builtin sum, and a part used twice before its terms are asked for."""
    doubled = qj.Z(0)
    for _ in range(60):
        doubled = doubled + doubled
    assert dict(doubled.terms) == {((0, "Z"),): 2.0**60}
    part = qj.X(0) + qj.Y(1)
    assert part + 2 * part - part == 2 * part
    assert sum([part, part, qj.Z(2)]) == 2 * qj.X(0) + 2 * qj.Y(1) + qj.Z(2)
    before = qj.X(0) + qj.Z(1)
    after = before
    after += qj.Z(1)
    assert before == qj.X(0) + qj.Z(1) and after == qj.X(0) + 2 * qj.Z(1)


def test_a_long_sum_survives_pickling_copying_and_being_dropped():
    total = sum(qj.Z(q % 40) for q in range(20_000))
    again, copied = pickle.loads(pickle.dumps(total)), copy.deepcopy(total)
    assert again == copied == total and total.terms[((0, "Z"),)] == 500
    assert (again @ again).is_hermitian
    dropped = sum(qj.Z(q % 40) for q in range(20_000))
    del dropped


def test_messages_about_a_large_sum_are_short():
    many = sum(1j * qj.Z(q) @ qj.X(q + 1) for q in range(3000))
    with pytest.raises(ValueError, match=r"but has \(0\+1j\) Z0 X1 among its 3,000 terms\.$") as caught:
        pauli_sums(many, 3001)
    assert len(str(caught.value)) < 200
    assert repr(many).endswith(" and 2,990 more terms>") and len(repr(many)) < 400
    assert str(many).count("X") == 3000
