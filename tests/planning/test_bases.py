"""Pauli sums that are read in rotated bases: the choice, and the values against dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.planning import bases
from qjaxsim.running import measurement


def random_state(n_qubits, columns=2):
    state = np.random.default_rng(n_qubits).normal(size=(2, 2**n_qubits, columns))
    return state / np.linalg.norm(state, axis=(0, 1))


def every_pair(n_qubits, letters="XY"):
    """All couplings of two qubits, with different weights."""
    pairs = [(a, b) for a in range(n_qubits) for b in range(a)]
    terms = {((b, p), (a, p)): 0.3 + 0.1 * a - 0.2 * b + 0.05 * "XYZ".index(p) for a, b in pairs for p in letters}
    return qj.PauliSum(terms)


def field(n_qubits):
    return qj.PauliSum({((q, "X"),): 1.0 + q for q in range(n_qubits)})


def expected(observable, state):
    psi = state[0] + 1j * state[1]
    dense = reference.pauli_sum_matrix(observable, int(np.log2(len(psi))))
    return np.einsum("ic,ij,jc->c", psi.conj(), dense, psi).real


OBSERVABLES = {
    "couplings": lambda n: every_pair(n) + every_pair(n, "Z"),
    "field": field,
    "mixed letters": lambda n: (
        sum((qj.X(q) @ qj.Y((q + 1) % n) @ qj.Z((q + 2) % n) for q in range(0, n - 2, 3)), field(n)) + 0.4 * qj.I()
    ),
}


@pytest.mark.parametrize("price", [0.0, np.inf])
@pytest.mark.parametrize("name", list(OBSERVABLES))
def test_both_ways_give_the_dense_value(name, price, monkeypatch):
    monkeypatch.setattr(bases, "rotation_price", lambda group, amplitudes: price)
    n = 6
    state = random_state(n)
    sums = (OBSERVABLES[name](n), every_pair(n, "XZ"))
    assert bool(bases.choose_bases(sums, n, 2)[0]) == (price == 0.0)
    values = measurement.expectation_values(sums, jnp.asarray(state))
    for value, observable in zip(values, sums, strict=True):
        np.testing.assert_allclose(value, expected(observable, state), atol=1e-12)


def test_gradients_are_the_same_both_ways(monkeypatch):
    n, observable = 5, every_pair(5)
    value = lambda state: measurement.expectation_values((observable,), state).sum()  # noqa: E731
    found = []
    for price in (0.0, np.inf):
        monkeypatch.setattr(bases, "rotation_price", lambda group, amplitudes, price=price: price)
        state = jnp.asarray(random_state(n))
        slope = jax.grad(lambda s: value(s))  # a function of its own, traced at this price
        found.append(jax.jit(lambda s, f=slope: (f(s), jax.jvp(f, (s,), (jnp.cos(s),))[1]))(state))
    for rotated, flipped in zip(*found, strict=True):
        np.testing.assert_allclose(rotated, flipped, atol=1e-13)


def test_a_basis_is_chosen_where_it_replaces_many_passes():
    chosen, rest = bases.choose_bases((every_pair(16),), 16, 1)
    assert len(chosen) == 2
    assert not rest[0].terms
    # As many terms, but the neighbours of a chain flip few sets of qubits: no rotation pays.
    chain = sum((p(q) @ p(q + 1) for q in range(15) for p in (qj.X, qj.Y, qj.Z)), 0 * qj.I())
    chosen, rest = bases.choose_bases((chain,), 16, 1)
    assert not chosen
    assert rest[0] == chain


def test_the_choice_splits_terms_without_losing_any():
    observable = every_pair(16) + qj.X(0) @ qj.Y(1) @ qj.Z(2)
    chosen, (rest,) = bases.choose_bases((observable,), 16, 1)
    assert sum(len(basis.observables[0].terms) for basis in chosen) + len(rest.terms) == len(observable.terms)
    assert all(letter == "Z" for basis in chosen for term in basis.observables[0].terms for _, letter in term)


def test_the_number_of_bases_is_bounded():
    words = np.random.default_rng(0).choice(list("XYZ"), (400, 10))
    observable = qj.PauliSum({tuple(enumerate(word.tolist())): 1.0 for word in words})
    chosen, _ = bases.choose_bases((observable,), 10, 2**12)
    assert len(chosen) <= bases.MOST_BASES
