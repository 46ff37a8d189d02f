"""Dynamical Lie algebras, against dense matrices, closed forms and published dimensions."""

import itertools

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.geometry import lie_algebra


def chain(n, ring=False):
    """The sum of ZZ and the sum of X of a transverse-field Ising model."""
    pairs = [(q, (q + 1) % n) for q in range(n if ring else n - 1)]
    return [sum(qj.Z(a) @ qj.Z(b) for a, b in pairs), sum(qj.X(q) for q in range(n))]


def dense_dimension(generators, n):
    """The rank of all nested commutators, as vectors of matrix entries, until it stays."""
    found = [1j * reference.pauli_sum_matrix(one, n) for one in generators]
    rank = 0
    while True:
        rows = np.array([np.concatenate([m.real.ravel(), m.imag.ravel()]) for m in found])
        _, values, span = np.linalg.svd(rows, full_matrices=False)
        now = int((values > 1e-9 * values[0]).sum())
        if now == rank:
            return rank
        rank = now
        half = span.shape[1] // 2
        basis = [(row[:half] + 1j * row[half:]).reshape(2**n, 2**n) for row in span[:rank]]
        found = basis + [a @ b - b @ a for a, b in itertools.product(found[: len(generators)] + basis, basis)]


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("ring", [False, True])
def test_against_dense_commutators(n, ring):
    assert lie_algebra(chain(n, ring)).dimension == dense_dimension(chain(n, ring), n)


def test_sums_with_weights_against_dense_commutators():
    generators = [0.3 * qj.X(0) @ qj.Y(1) - qj.Z(2), qj.Z(0) + 2 * qj.X(1) @ qj.X(2) - 0.5 * qj.Y(0)]
    assert lie_algebra(generators).dimension == dense_dimension(generators, 3)


def turned(angle, n):
    """A product of X on n qubits, turned about Z: cos X + sin Y on each."""
    sides = {"X": np.cos(angle), "Y": np.sin(angle)}
    return qj.PauliSum({
        tuple(enumerate(letters)): float(np.prod([sides[letter] for letter in letters]))
        for letters in itertools.product("XY", repeat=n)
    })  # fmt: skip


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (1, 2))])
def test_what_commutes_up_to_rounding_adds_nothing(seed):
    rng = np.random.default_rng(seed)
    couplings = rng.normal(size=2)
    xxz = sum(c * (qj.X(q) @ qj.X(q + 1) + qj.Y(q) @ qj.Y(q + 1)) for q, c in enumerate(couplings))
    magnetisation = float(rng.normal()) * sum(qj.Z(q) for q in range(3))
    assert lie_algebra([xxz + 0.3 * qj.Z(0) @ qj.Z(1), magnetisation]).dimension == 2
    assert lie_algebra([turned(couplings[0], n) for n in (1, 2, 3)]).dimension == 3
    both = [xxz, magnetisation, turned(couplings[0], 1)]
    assert lie_algebra(both).dimension == dense_dimension(both, 3)


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1e200])
def test_the_unit_of_generators_makes_no_difference(scale):
    assert lie_algebra([scale * qj.Z(0), scale * qj.X(0)]).dimension == 3


@pytest.mark.parametrize(("n", "dimension"), [(4, 16), (6, 36)])
def test_open_chain_of_the_overparametrisation_study(n, dimension):
    assert lie_algebra(chain(n)).dimension == dimension


@pytest.mark.parametrize("n", [3, 4, 6])
def test_single_generators_of_the_chain_make_an_orthogonal_algebra(n):
    each = [qj.Z(q) @ qj.Z(q + 1) for q in range(n - 1)] + [qj.X(q) for q in range(n)]
    found = lie_algebra(each)
    assert found.dimension == n * (2 * n - 1)  # so(2 n)
    np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(found.dimension), atol=1e-12)


def test_all_of_su_8():
    pairs = [qj.Z(q) @ qj.Z(q + 1) for q in range(2)]
    found = lie_algebra([*pairs, *(p(q) for q in range(3) for p in (qj.X, qj.Y))])
    assert found.dimension == 4**3 - 1
    assert sorted(found.labels) == sorted(
        label for label in map("".join, itertools.product("IXYZ", repeat=3)) if label != "III"
    )


def test_purities_against_dense_projections():
    n = 3
    found = lie_algebra([*(qj.Z(q) @ qj.Z(q + 1) for q in range(n - 1)), *(qj.X(q) for q in range(n))])
    strings = [reference.pauli_sum_matrix(qj.PauliSum.from_label(label), n) for label in found.labels]
    basis = np.einsum("ds,sij->dij", found.basis, np.array(strings)) / np.sqrt(2**n)
    rng = np.random.default_rng(0)
    psi = rng.normal(size=8) + 1j * rng.normal(size=8)
    psi /= np.linalg.norm(psi)
    rho = 0.3 * np.outer(psi, psi.conj()) + 0.7 * np.eye(8) / 8
    observable = 0.4 * qj.X(1) - qj.Y(0) @ qj.Z(2) + qj.Z(1) @ qj.Z(2)
    for given, dense in (
        (psi, np.outer(psi, psi.conj())),
        (rho, rho),
        (observable, reference.pauli_sum_matrix(observable, n)),
    ):
        expected = sum(abs(np.trace(b.conj().T @ dense)) ** 2 for b in basis)
        np.testing.assert_allclose(found.purity(given), expected, rtol=1e-12)


def test_refusals():
    with pytest.raises(TypeError, match="`generators` must be several Pauli sums"):
        lie_algebra(qj.X(0))
    with pytest.raises(ValueError, match="`generators` must hold at least one Pauli sum, but is empty"):
        lie_algebra([])
    with pytest.raises(TypeError, match="`generators` must hold Pauli sums, but holds 'X'"):
        lie_algebra(["X"])
    with pytest.raises(ValueError, match="Hermitian Pauli sums that are not zero, but holds"):
        lie_algebra([0 * qj.X(0)])
    with pytest.raises(ValueError, match="Hermitian Pauli sums that are not zero, but holds"):
        lie_algebra([1j * qj.X(0)])
    with pytest.raises(ValueError, match="more than 5 dimensions; raise `max_dimension`"):
        lie_algebra(chain(4), max_dimension=5)
    with pytest.raises(ValueError, match="`n_qubits` must be from 4, which the generators act on, to 31, but is 2"):
        lie_algebra([qj.X(3)], 2)
    with pytest.raises(ValueError, match=r"`operator` must be .* of shape \(2,\) or \(2, 2\) for 1 qubits"):
        lie_algebra([qj.X(0), qj.Z(0)]).purity(np.eye(4))
