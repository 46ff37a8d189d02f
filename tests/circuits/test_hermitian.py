"""Observables from matrices, diagonals, states and sparse entries: records, their algebra and what they refuse."""

import itertools
import pickle

import jax
import numpy as np
import pytest
from qiskit.quantum_info import Operator, SparsePauliOp
from scipy import sparse
from scipy.sparse.linalg import eigsh

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.hermitian import pauli_coefficients
from qjaxsim.circuits.observables import pauli_sums
from qjaxsim.circuits.reference import pauli_sum_matrix

w = qj.Parameter("w", (3,))


def hermitian(rng, n_qubits):
    matrix = rng.normal(size=(2**n_qubits,) * 2) + 1j * rng.normal(size=(2**n_qubits,) * 2)
    return matrix + matrix.conj().T


WIDE = qj.Hermitian(hermitian(np.random.default_rng(0), 5), range(5))


@pytest.mark.parametrize("qubits", [[2], [2, 0], [1, 3, 0], [3, 0, 2, 1]])
def test_narrow_operators_are_pauli_sums_of_their_matrix(qubits):
    k = len(qubits)
    rng = np.random.default_rng(k)
    matrix = hermitian(rng, k)
    values = rng.normal(size=2**k)
    state = rng.normal(size=2**k) + 1j * rng.normal(size=2**k)
    state /= np.linalg.norm(state)
    bits = rng.integers(2, size=k)
    one_hot = np.eye(2**k)[int("".join(map(str, bits)), 2)]
    pairs = [
        (qj.Hermitian(matrix, qubits), matrix),
        (qj.Diagonal(values, qubits), np.diag(values)),
        (qj.Projector(state, qubits), np.outer(state, state.conj())),
        (qj.Projector("".join(map(str, bits)), qubits), np.diag(one_hot)),
        (qj.SparseHermitian(sparse.csr_array(matrix), qubits), matrix),
        (qj.SparseHermitian((*np.nonzero(matrix), matrix[np.nonzero(matrix)]), qubits), matrix),
    ]
    if k > 1:
        pairs.append((qj.Projector(bits, qubits), np.diag(one_hot)))
    for observable, dense in pairs:
        assert isinstance(observable, qj.PauliSum)
        assert pauli_sums(observable, 4)
        want = reference.embed(dense, tuple(qubits), 4)
        np.testing.assert_allclose(pauli_sum_matrix(observable, 4), want, atol=1e-13)


def test_few_letters_give_few_terms():
    assert qj.Hermitian(np.kron(np.diag([1, -1]), [[0, -1j], [1j, 0]]), [3, 1]) == qj.Z(3) @ qj.Y(1)
    assert qj.Hermitian(np.eye(4) * 0.5, [0, 1]) == 0.5 * qj.I()
    assert len(qj.Diagonal(np.arange(8), [0, 1, 2]).terms) == 4
    assert qj.Hermitian(np.zeros((2, 2)), 0) == qj.PauliSum({})
    assert qj.SparseHermitian(([0, 0], [0, 0], [1, 2]), [0]) == 1.5 * qj.I() + 1.5 * qj.Z(0)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_pauli_coefficients_are_traces_with_strings_in_order(k):
    rng = np.random.default_rng(k)
    matrices = np.stack([hermitian(rng, k) for _ in range(2)])
    strings = ["".join(word) for word in itertools.product("IXYZ", repeat=k)]
    dense = [pauli_sum_matrix(qj.PauliSum.from_label(word), k) for word in strings]
    want = np.array([[np.trace(p @ m).real / 2**k for p in dense] for m in matrices])
    np.testing.assert_allclose(pauli_coefficients(matrices), want, atol=1e-14)
    if k == 2:
        np.testing.assert_allclose(jax.jit(pauli_coefficients)(matrices), want, atol=1e-14)
        slopes = jax.jacfwd(pauli_coefficients)(np.eye(4))
        np.testing.assert_allclose(slopes, np.stack(dense).real / 4, atol=1e-14)


def test_sums_of_operators_add_scale_and_multiply_like_their_coefficients():
    total = 2 * WIDE - qj.Z(1) / 4 + 1 - WIDE / 2
    ((_, wide),) = WIDE.parts
    assert total.parts == ((2.0, wide), (1.0, -qj.Z(1) / 4), (1.0, qj.I()), (-0.5, wide)) and total.n_qubits == 5
    assert [value for value, _ in (qj.Z(0) - 3 * WIDE).parts] == [1.0, -3.0]
    trained = (w[0] * qj.X(0)) @ qj.Y(1) + qj.Z(0) @ (qj.X(1) * w[1]) + w[2] - qj.X(0) / w[0]
    assert [operator for _, operator in trained.parts][:3] == [qj.X(0) @ qj.Y(1), qj.Z(0) @ qj.X(1), qj.I()]
    assert str(1 - 2 * w[0] * qj.X(0)) == "2*w[0] (-1 X0) + 1"
    assert str(WIDE) == "1 DenseOperator(0, 1, 2, 3, 4)" and "DenseOperator" in repr(WIDE)
    again = pickle.loads(pickle.dumps(total))
    np.testing.assert_array_equal(again.parts[0][1].matrix, WIDE.parts[0][1].matrix)


LARGE = np.diag(np.arange(32.0))
NOT = np.array([[0, 1], [2, 0]])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: qj.Hermitian(NOT, 0), ValueError, "`matrix` must be Hermitian, but differs from its adjoint by 1"),
        (lambda: qj.Hermitian(1j * np.eye(2), 0), ValueError, "must be Hermitian"),
        (lambda: qj.Hermitian(np.eye(3), 0), ValueError, r"shape \(2, 2\) for qubits \(0,\), but has \(3, 3\)"),
        (lambda: qj.Hermitian(np.eye(2), [0, 1]), ValueError, r"must have shape \(4, 4\)"),
        (lambda: qj.Hermitian(np.full((2, 2), np.nan), 0), ValueError, "finite numbers, but holds NaN or infinity"),
        (lambda: qj.Hermitian("ab", 0), TypeError, "`matrix` must be an array of numbers, but is 'ab'"),
        (lambda: qj.Hermitian(np.eye(4), [1, 1]), ValueError, "must name each qubit once, but is"),
        (lambda: qj.Hermitian(np.eye(2), -1), ValueError, "`qubits` must hold integers from 0 on, but is -1"),
        (lambda: qj.Hermitian(np.eye(2), [0.5]), ValueError, "`qubits` must hold integers from 0 on"),
        (lambda: qj.Hermitian(np.eye(1), []), ValueError, "`qubits` must hold integers from 0 on, but is "),
        (
            lambda: jax.jit(lambda m: qj.Hermitian(m, 0).terms)(np.eye(2)),
            TypeError,
            "traced by JAX .* `pauli_expansion`",
        ),
        (lambda: qj.Diagonal([1, 2, 3], 0), ValueError, r"`values` must have shape \(2,\)"),
        (lambda: qj.Diagonal([1, 2j], 0), TypeError, "`values` must be real, but is complex"),
        (lambda: qj.Diagonal([1, np.inf], 0), ValueError, "`values` must hold finite numbers"),
        (lambda: qj.Projector("012", [0, 1, 2]), ValueError, "a bit for each of 3 qubits, but is '012'"),
        (lambda: qj.Projector("01", [0]), ValueError, "a bit for each of 1 qubits, but is '01'"),
        (lambda: qj.Projector([1, 1.0], 0), ValueError, "`state` must have norm 1, but has norm 1.41421"),
        (lambda: qj.Projector([np.nan, 1.0], 0), ValueError, "`state` must hold finite numbers"),
        (lambda: qj.SparseHermitian(sparse.csr_array(NOT)), ValueError, "must be Hermitian, but differs"),
        (lambda: qj.SparseHermitian(([0], [1], [1.0]), 0), ValueError, "must be Hermitian, but differs"),
        (lambda: qj.SparseHermitian(np.eye(2), 0), TypeError, "a sparse matrix of SciPy's or three arrays"),
        (lambda: qj.SparseHermitian(([0], [0], [1])), ValueError, "`qubits` must be given with a matrix of entries"),
        (lambda: qj.SparseHermitian(([0], [2], [1]), 0), ValueError, "must have indices from 0 to 1, but has others"),
        (lambda: qj.SparseHermitian(([0], [0.5], [1]), 0), ValueError, "must have integers as rows and columns"),
        (lambda: qj.SparseHermitian(([0], [0, 1], [1]), 0), ValueError, "as many rows, columns and values"),
        (lambda: qj.SparseHermitian(([0], [0], [np.nan]), 0), ValueError, "finite numbers"),
        (lambda: qj.SparseHermitian(sparse.eye_array(3)), ValueError, r"shape \(2\*\*k, 2\*\*k\), but has \(3, 3\)"),
        (lambda: qj.SparseHermitian(sparse.eye_array(4), [0]), ValueError, r"must have shape \(2, 2\)"),
        (lambda: 1j * WIDE, ValueError, "coefficient of an operator must be real and finite, but is 1j"),
        (lambda: WIDE * np.nan, ValueError, "coefficient of an operator must be real and finite, but is nan"),
        (lambda: WIDE / 0, ZeroDivisionError, "The divisor of a sum of operators must not be zero"),
        (lambda: WIDE @ qj.Z(0), TypeError, "added and scaled, but not multiplied with @"),
        (lambda: WIDE * qj.Z(0), TypeError, "multiplied with @"),
        (lambda: qj.Z(0) * WIDE, TypeError, "multiplied with @"),
        (lambda: WIDE + "a", TypeError, "unsupported operand"),
        (lambda: "a" * WIDE, TypeError, "can't multiply|unsupported"),
        (lambda: w * qj.Z(0), ValueError, "index it down to one entry"),
        (lambda: np.ones(2) * WIDE, TypeError, r"must be one number, but is an array of shape \(2,\)"),
        (lambda: pauli_sums([qj.Z(0), WIDE], 5), TypeError, "Observable 1 must be a PauliSum, .*; `expectation` alone"),
        (
            lambda: qj.expectation(qj.Circuit(4), WIDE),
            ValueError,
            "Observable 0 acts on qubit 4, but the circuit has 4",
        ),
        (
            lambda: qj.expectation(qj.Circuit(2), [w[0] * (qj.X(0) @ qj.Z(0))]),
            ValueError,
            "Observable 0 must have real coefficients",
        ),
        (lambda: pauli_coefficients(np.eye(3)), ValueError, r"shape \(..., 2\*\*k, 2\*\*k\), but has \(3, 3\)"),
        (lambda: pauli_coefficients(np.ones(4)), ValueError, r"but has \(4,\)"),
        (lambda: qj.pauli_expansion(w, 0), ValueError, r"must have shape \(4,\) for qubits \(0,\), but has \(3,\)"),
        (lambda: qj.pauli_expansion([1.0] * 4, 0), TypeError, "`coefficients` must be a Parameter, but is"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


# --- matrices of Pauli sums ------------------------------------------------------------------------------------------


def test_matrices_of_pauli_sums_against_kronecker_products():
    rng = np.random.default_rng(3)
    labels = {"".join(label) for label in rng.choice(list("IXYZ"), size=(40, 4))}
    energy = sum((qj.PauliSum.from_label(label, float(rng.normal())) for label in sorted(labels)), 0.3 * qj.I())
    for width in (4, 5):
        found = qj.sparse_matrix(energy, width)
        np.testing.assert_allclose(found.toarray(), pauli_sum_matrix(energy, width), atol=1e-14)
    real = qj.Y(0) @ qj.Y(2) - 0.5 * qj.X(1)
    assert qj.sparse_matrix(real, 3).dtype == float and qj.sparse_matrix(real + qj.Y(1), 3).dtype == complex
    np.testing.assert_array_equal(qj.sparse_matrix(qj.X(0) - qj.X(0), 3).toarray(), np.zeros((8, 8)))
    again = qj.expectation(
        qj.Circuit(5).ry(0.4, 0).cx(0, 3), [energy, qj.SparseHermitian(qj.sparse_matrix(energy, 5))]
    )()
    np.testing.assert_allclose(again[0], again[1], atol=1e-12)


def test_exact_energies_of_a_chain_and_of_qiskits_operators():
    """Free fermions: the open transverse-field Ising chain at its critical point."""
    n = 11
    chain = -sum(qj.Z(q) @ qj.Z(q + 1) for q in range(n - 1)) - sum(qj.X(q) for q in range(n))
    (ground,) = eigsh(qj.sparse_matrix(chain, n), k=1, which="SA", return_eigenvectors=False)
    np.testing.assert_allclose(ground, 1 - 1 / np.sin(np.pi / (4 * n + 2)), rtol=1e-10)
    given = SparsePauliOp.from_list([("IXY", 0.5), ("ZII", 1.5), ("XYZ", -0.7)])
    np.testing.assert_allclose(qj.sparse_matrix(given, 3).toarray(), Operator(given).reverse_qargs().data, atol=1e-14)


def test_what_has_no_sparse_matrix():
    for observable, width, error, message in (
        (qj.Z(3), 3, ValueError, "Argument `observable` acts on qubit 3, but the circuit has 3 qubits"),
        (1j * qj.Z(0), 3, ValueError, "Argument `observable` must have real coefficients"),
        (WIDE, 5, TypeError, "must be a Pauli sum with numbers as coefficients, .* add the matrices of its parts"),
        (w[0] * qj.Z(0), 3, TypeError, "must be a Pauli sum with numbers as coefficients"),
        ("ZZ", 3, TypeError, "Argument `observable` must be a PauliSum, but is str; write Z0 X1 as"),
        (qj.Z(0), 0, ValueError, "`n_qubits` must be a positive integer, but is 0"),
    ):
        with pytest.raises(error, match=message):
            qj.sparse_matrix(observable, width)
