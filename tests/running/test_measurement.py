"""Expectation values, probabilities, samples and unitaries against dense matrices."""

import itertools

import jax
import numpy as np
import pytest
from scipy.stats import chi2

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.running import measurement

x, w = qj.Parameter("x", (2,)), qj.Parameter("w", (3,))


def ansatz(n_qubits):
    """An entangled circuit with no symmetry between qubits and complex amplitudes."""
    circuit = qj.Circuit(n_qubits)
    for q in range(n_qubits):
        circuit.u(0.3 + 0.4 * q, w[q % 3], 0.9 * q, q).ry(x[q % 2] * (q + 1), q)
    for q in range(n_qubits):
        circuit.cx(q, (q + 1) % n_qubits).t(q).rx(0.2 * q + 0.1, q)
    return circuit


def some_params(batch=()):
    rng = np.random.default_rng(4)
    return {"x": rng.normal(size=(*batch, 2)), "w": rng.normal(size=3)}


def random_observables(rng, n_qubits, n_observables, n_terms):
    """Sums of random strings: the identity, all letters, odd and even numbers of Y."""
    out = []
    for _ in range(n_observables):
        strings = ["".join(rng.choice(list("IXYZ"), n_qubits)) for _ in range(n_terms)]
        out.append(sum((rng.normal() * qj.PauliSum.from_label(s) for s in strings), rng.normal() * qj.I()))
    return out


def apply_pauli_sum(observable, psi):
    """The Pauli sum applied letter by letter to a state of any width."""
    n_qubits = len(psi).bit_length() - 1
    total = np.zeros_like(psi)
    for term, coefficient in observable.terms.items():
        state = psi.reshape((2,) * n_qubits)
        for q, letter in term:
            zero, one = np.moveaxis(state, q, 0)
            pair = {"X": (one, zero), "Y": (-1j * one, 1j * zero), "Z": (zero, -one)}[letter]
            state = np.moveaxis(np.stack(pair), 0, q)
        total = total + coefficient * state.reshape(-1)
    return total


@pytest.mark.parametrize("n_qubits", [3, 4, 5])
def test_expectations_are_those_of_dense_matrices(n_qubits):
    rng = np.random.default_rng(n_qubits)
    every = ["".join(s) for s in itertools.product("IXYZ", repeat=3)]
    observables = [qj.PauliSum.from_label(s) for s in every] + random_observables(rng, n_qubits, 6, 9)
    params = some_params((2, 3))
    circuit = ansatz(n_qubits)
    got = qj.expectation(circuit, observables)(params)
    assert got.shape == (2, 3, len(observables)) and got.dtype == np.float64
    for index in np.ndindex(2, 3):
        psi = reference.statevector(circuit, {"x": params["x"][index], "w": params["w"]})
        want = [(psi.conj() @ reference.pauli_sum_matrix(o, n_qubits) @ psi).real for o in observables]
        np.testing.assert_allclose(got[index], want, atol=1e-13)


@pytest.mark.parametrize("n_qubits", [10, 11, 13])
def test_expectations_of_wide_states(n_qubits):
    """From 11 qubits on the signs come from tables of half the register."""
    rng = np.random.default_rng(n_qubits)
    psi = rng.normal(size=(2**n_qubits, 2)) + 1j * rng.normal(size=(2**n_qubits, 2))
    psi /= np.linalg.norm(psi, axis=0)
    observables = [*random_observables(rng, n_qubits, 3, 12), qj.Z(0) @ qj.Z(n_qubits - 1), qj.Y(n_qubits // 2)]
    observables += [qj.Z(q) for q in range(n_qubits)] + [qj.X(0) - qj.X(0), qj.I() * 3]
    got = measurement.expectation_values(observables, jax.numpy.stack([psi.real, psi.imag]))
    want = [[np.vdot(column, apply_pauli_sum(o, column)).real for column in psi.T] for o in observables]
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_one_observable_drops_its_axis():
    circuit, params = ansatz(3), some_params((4,))
    energy = 0.5 * qj.Z(0) @ qj.X(2) - 2 * qj.Y(1)
    single = qj.expectation(circuit, energy)(params)
    assert single.shape == (4,)
    np.testing.assert_array_equal(single, qj.expectation(circuit, [energy])(params)[:, 0])
    assert qj.expectation(circuit, energy)(some_params()).shape == ()
    small = {k: v.astype(np.float32) for k, v in params.items()}
    got = qj.expectation(circuit, energy)(small)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, single, atol=1e-5)


def test_probabilities_of_any_qubits_in_any_order():
    circuit, params = ansatz(4), some_params((2,))
    joint = np.abs([reference.statevector(circuit, {**params, "x": row}) for row in params["x"]]) ** 2
    joint = joint.reshape(2, 2, 2, 2, 2)
    np.testing.assert_allclose(qj.probabilities(circuit)(params), joint.reshape(2, 16), atol=1e-14)
    for qubits in ([0], [3], [2, 0], [1, 3], [3, 1, 0], [1, 2, 3, 0]):
        got = qj.probabilities(circuit, qubits)(params)
        want = np.einsum(joint, [9, 0, 1, 2, 3], [9, *qubits]).reshape(2, -1)
        np.testing.assert_allclose(got, want, atol=1e-14)
        np.testing.assert_allclose(got.sum(-1), 1, atol=1e-14)
    np.testing.assert_array_equal(qj.probabilities(circuit, 2)(params), qj.probabilities(circuit, [2])(params))


def test_samples_are_bits_of_the_chosen_qubits(key):
    circuit = qj.Circuit(4).x(0).x(2).ry(x[0], 3)
    draws = qj.sample(circuit, 50)({"x": np.array([[0.0, 0], [np.pi, 0]])}, key)
    assert draws.shape == (2, 50, 4) and draws.dtype == np.int32
    np.testing.assert_array_equal(draws, np.tile([[[1, 0, 1, 0]], [[1, 0, 1, 1]]], (1, 50, 1)))
    some = qj.sample(circuit, 5, [3, 0, 1])({"x": np.array([np.pi, 0])}, key)
    np.testing.assert_array_equal(some, np.tile([1, 1, 0], (5, 1)))


def test_samples_are_set_by_the_key_and_differ_within_a_batch(key):
    run = qj.sample(ansatz(4), 200)
    params = {**some_params(), "x": np.tile(some_params()["x"], (3, 1))}
    first = run(params, key)
    np.testing.assert_array_equal(first, run(params, key))
    assert (first != run(params, jax.random.key(1))).any()
    assert (first[0] != first[1]).any() and (first[1] != first[2]).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_frequencies_of_samples_follow_the_probabilities(dtype, key):
    circuit, shots = ansatz(4), 20_000
    params = {name: value.astype(dtype) for name, value in some_params((2,)).items()}
    draws = np.asarray(qj.sample(circuit, shots, [2, 0, 3])(params, key))
    expected = np.asarray(qj.probabilities(circuit, [2, 0, 3])(params), float) * shots
    for row, want in zip(draws, expected, strict=True):
        counts = np.bincount(row @ [4, 2, 1], minlength=8)
        statistic = ((counts - want) ** 2 / want).sum()
        assert statistic < chi2.ppf(1 - 1e-6, 7)
        assert ((counts - np.roll(want, 1)) ** 2 / np.roll(want, 1)).sum() > chi2.ppf(1 - 1e-6, 7)  # it can fail


def test_impossible_outcomes_are_never_drawn(key):
    ghz = qj.Circuit(5).h(4).cx(4, 0).cx(0, 2)
    draws = np.asarray(qj.sample(ghz, 4000)(None, key))
    assert set(map(tuple, draws.tolist())) == {(0, 0, 0, 0, 0), (1, 0, 1, 0, 1)}
    assert abs(draws[:, 0].mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)


def test_outcomes_of_no_probabilities_are_marked(key):
    """Those of a state that is not there, beside others of its batch, and of NaN as an angle."""
    circuit = qj.Circuit(2).ry(x[0], 0).project(0, 1)
    draws = np.asarray(qj.sample(circuit, 3)({"x": np.array([[0.0, 0], [np.pi, 0], [np.nan, 0]])}, key))
    np.testing.assert_array_equal(draws, np.tile([[[-1, -1]], [[1, 0]], [[-1, -1]]], (1, 3, 1)))
    estimate = qj.expectation(qj.Circuit(1).ry(x[0], 0), [qj.Z(0), qj.X(0)], shots=3)
    assert np.isnan(estimate({"x": np.array([np.nan, 0.0])}, key)).all()


def test_outcomes_of_any_probability_are_projected_on():
    """By hand: qubit 1 has a state of its own; the probability, below 1e-40, has no place in single precision."""
    circuit = qj.Circuit(2).ry(x[0], 0).ry(x[1], 1).project(0, 1)
    run = qj.expectation(circuit, [qj.Z(1), qj.Z(0)])
    angles = np.array([[1e-20, 0.4], [1e-30, 0.4], [1.0, 0.4]], np.float32)
    np.testing.assert_allclose(run({"x": angles}), [[np.cos(0.4), -1]] * 3, rtol=1e-6)
    slopes = jax.grad(lambda angles: run({"x": angles})[:, 0].sum())(angles)
    np.testing.assert_allclose(slopes[:, 1], -np.sin(0.4), rtol=1e-5)
    assert np.isnan(run({"x": np.zeros(2, np.float32)})).all()


@pytest.mark.parametrize("extreme", [0, 2**32 - 1])
def test_the_extreme_random_numbers_draw_possible_outcomes(extreme, key, monkeypatch):
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype: jax.numpy.full(shape, extreme, dtype))
    circuit = qj.Circuit(4).x(1).ry(x[0], [0, 3])
    angles = np.float32([[0.0, 0], [0.3, 0], [1.3, 0]])
    chances = np.asarray(qj.probabilities(circuit)({"x": angles}))
    for row, (bits,) in zip(chances, np.asarray(qj.sample(circuit, 1)({"x": angles}, key)), strict=True):
        assert row[bits @ [8, 4, 2, 1]] > 0


def test_unitaries_are_dense_matrices_and_batched():
    layer = qj.Circuit(3).rx(w[0], 0).cx(0, 2).u(w[1], x[1], 0.3, 1).rzz(w[2], 2, 0)
    circuit = qj.Circuit(3).ry(x[0], 2).repeat(layer, 3, shared=("x",)).swap(0, 1).global_phase(0.3)
    rng = np.random.default_rng(2)
    params = {"x": rng.normal(size=(2, 1, 2)), "w": rng.normal(size=(4, 3, 3))}
    got = qj.unitary(circuit)(params)
    assert got.shape == (2, 4, 8, 8)
    states = qj.statevector(circuit)(params)
    for i, j in np.ndindex(2, 4):
        want = reference.unitary(circuit, {"x": params["x"][i, 0], "w": params["w"][j]})
        np.testing.assert_allclose(got[i, j], want, atol=1e-13)
        np.testing.assert_allclose(states[i, j], want[:, 0], atol=1e-13)
    inverse = qj.unitary(circuit.inverse())(params)
    np.testing.assert_allclose(inverse @ got, np.broadcast_to(np.eye(8), (2, 4, 8, 8)), atol=1e-12)
    np.testing.assert_array_equal(qj.unitary(qj.Circuit(3))(), np.eye(8))


def many_terms(n_qubits, n_terms, seed=3):
    """A sum of random Pauli strings, all letters."""
    rng = np.random.default_rng(seed)
    total = 0.3 * qj.I()
    for _ in range(n_terms):
        product = qj.I() * float(rng.normal())
        for q in range(n_qubits):
            letter = rng.integers(4)
            if letter:
                product = product @ (qj.X, qj.Y, qj.Z)[letter - 1](q)
        total = total + product
    return total


def test_a_thousand_terms_on_twelve_qubits_in_one_call():
    n_qubits = 12
    rng = np.random.default_rng(0)
    psi = rng.normal(size=(2**n_qubits, 1)) + 1j * rng.normal(size=(2**n_qubits, 1))
    psi /= np.linalg.norm(psi)
    energy = many_terms(n_qubits, 1000)
    state = jax.numpy.stack([psi.real, psi.imag])
    got = measurement.expectation_values([energy, 2 * energy], state)
    want = np.vdot(psi, apply_pauli_sum(energy, psi[:, 0])).real
    np.testing.assert_allclose(got[:, 0], [want, 2 * want], atol=1e-11)
    slope = jax.grad(lambda s: measurement.expectation_values([energy], s).sum())(state)
    other = apply_pauli_sum(energy, psi[:, 0])
    parts = np.asarray(slope)[..., 0]
    np.testing.assert_allclose(parts[0] + 1j * parts[1], 2 * other, atol=1e-11)


def test_programs_do_not_grow_with_the_number_of_terms():
    def length(n_terms):
        state = jax.ShapeDtypeStruct((2, 2**10, 3), np.float64)
        terms = [many_terms(10, n_terms)]
        return len(str(jax.make_jaxpr(lambda s: measurement.expectation_values(terms, s))(state)).splitlines())

    few = length(300)
    assert length(1200) <= 1.1 * few  # the number of rotated bases is bounded, and the rest is one scan


def test_sets_of_very_different_sizes_are_read_by_one_scan():
    """A hundred diagonal terms beside forty sets of one each, for a batch, in several observables."""
    n_qubits, rng = 7, np.random.default_rng(1)
    flips = [np.binary_repr(i, n_qubits).translate(str.maketrans("01", "ZX")) for i in range(3, 123, 3)]
    diagonal = [np.binary_repr(i, n_qubits).translate(str.maketrans("01", "IZ")) for i in range(20, 120)]
    observables = [
        sum((rng.normal() * qj.PauliSum.from_label(label) for label in labels), qj.PauliSum({}))
        for labels in (flips + diagonal, diagonal[::2], flips[5:])
    ]
    psi = rng.normal(size=(2**n_qubits, 3)) + 1j * rng.normal(size=(2**n_qubits, 3))
    got = measurement.expectation_values(observables, jax.numpy.stack([psi.real, psi.imag]))
    want = [[np.vdot(column, apply_pauli_sum(o, column)).real for column in psi.T] for o in observables]
    np.testing.assert_allclose(got, want, atol=1e-11)


def test_thousands_of_observables_of_one_term_need_no_table_of_weights(monkeypatch):
    monkeypatch.setattr(measurement, "LARGEST_TABLE", 10)
    rng = np.random.default_rng(2)
    psi = rng.normal(size=(32, 2)) + 1j * rng.normal(size=(32, 2))
    observables = random_observables(rng, 5, 30, 2)
    got = measurement.expectation_values(observables, jax.numpy.stack([psi.real, psi.imag]))
    want = [[np.vdot(column, apply_pauli_sum(o, column)).real for column in psi.T] for o in observables]
    np.testing.assert_allclose(got, want, atol=1e-11)
