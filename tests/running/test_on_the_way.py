"""Measurements on the way, resets and conditions: every outcome at once, against NumPy branch by branch."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.planning.deferring import lowered

C = qj.Circuit
W = qj.Parameter("w", (3,))


def _gate(rng, circuit):
    a, b = (int(q) for q in rng.permutation(circuit.n_qubits)[:2])
    match rng.integers(6):
        case 0:
            circuit.ry(W[int(rng.integers(3))], a)
        case 1:
            circuit.h(a)
        case 2:
            circuit.cx(a, b)
        case 3:
            circuit.crz(W[0] * 0.7, a, b)
        case 4:
            circuit.rzz(W[1], a, b)
        case _:
            circuit.u(0.3, W[2], 0.2, a)


def _condition(rng, circuit):
    then, otherwise = C(circuit.n_qubits), C(circuit.n_qubits)
    for _ in range(2):
        _gate(rng, then)
    _gate(rng, otherwise)
    if rng.random() < 0.2:
        then.reset(0)
    bits = [int(b) for b in rng.permutation(3)[: int(rng.integers(1, 3))]]
    values = int(rng.integers(2 ** len(bits)))
    if rng.random() < 0.2:  # into a bit that is asked for
        circuit.if_bits(bits, values, then.measure(0, bits[0]).cx(0, 1))
        return
    circuit.if_bits(bits, values, then, otherwise if rng.random() < 0.5 else None)


def random_measured(seed, n_qubits, noisy=False):
    """A circuit of gates, measurements into three bits, resets and conditions."""
    rng = np.random.default_rng(seed)
    circuit = C(n_qubits)
    for _ in range(12):
        draw = rng.random()
        if draw < 0.5:
            _gate(rng, circuit)
        elif draw < 0.65:
            circuit.measure(int(rng.integers(n_qubits)), int(rng.integers(3)))
        elif draw < 0.75:
            circuit.reset(int(rng.integers(n_qubits)))
        elif noisy and draw < 0.82:
            circuit.depolarizing(0.2, int(rng.integers(n_qubits)))
        else:
            _condition(rng, circuit)
    return circuit, rng


def check(seed, n_qubits, noisy=False):
    circuit, rng = random_measured(seed, n_qubits, noisy)
    params = {name: rng.normal(size=shape) for name, shape in circuit.parameters.items()}
    branches = reference.outcomes(circuit, params)
    rho = sum(branches.values())
    np.testing.assert_allclose(qj.density_matrix(circuit)(params), rho, atol=1e-12)
    observable = qj.X(0) @ qj.Z(n_qubits - 1) + 0.3 * qj.Y(0)
    matrix = reference.pauli_sum_matrix(observable, n_qubits)
    assert abs(qj.expectation(circuit, observable)(params) - np.trace(matrix @ rho).real) < 1e-12
    np.testing.assert_allclose(qj.probabilities(circuit)(params), rho.diagonal().real, atol=1e-12)
    if circuit.n_bits:
        exact = np.zeros(2**circuit.n_bits)
        for bits, part in branches.items():
            exact[int("".join(map(str, bits)), 2)] += np.trace(part).real
        got = qj.probabilities(circuit, bits=range(circuit.n_bits))(params)
        np.testing.assert_allclose(got, exact, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_every_outcome_is_followed(seed):
    check(seed, 3, noisy=seed % 2 == 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 204))
def test_every_outcome_is_followed_in_many_circuits(seed):
    check(seed, 2 + seed % 2, noisy=seed % 3 == 0)


def test_branches_measure_into_the_bits_that_they_ask_for():
    """Up to three tries to find a qubit in |0>, each with half a chance; nested, and into two bits that are asked."""
    again = C(1).h(0).measure(0, 0)
    tried = again.copy().if_bits(0, 1, again).if_bits(0, 1, again)
    np.testing.assert_allclose(qj.probabilities(tried, bits=[0])(), [7 / 8, 1 / 8], atol=1e-12)
    nested = again.copy().if_bits(0, 1, again.copy().if_bits(0, 1, again))
    np.testing.assert_allclose(qj.probabilities(nested, bits=[0])(), [7 / 8, 1 / 8], atol=1e-12)
    np.testing.assert_allclose(qj.probabilities(nested)(), [7 / 8, 1 / 8], atol=1e-12)
    flip = C(2).x([0, 1]).measure([0, 1], [0, 1])
    both = C(2).ry(0.4, 0).cx(0, 1).measure([0, 1], [0, 1]).if_bits([0, 1], 3, flip)
    np.testing.assert_allclose(qj.probabilities(both, bits=[0, 1])(), [1, 0, 0, 0], atol=1e-12)
    assert lowered(nested).circuit.n_qubits == 5  # a row, a column, a bit, and a copy of it for each depth


@pytest.mark.parametrize("seed", range(3))
def test_bits_are_read_wrongly_as_they_are_measured(seed):
    circuit, rng = random_measured(seed + 7, 3, noisy=seed == 1)
    model = qj.NoiseModel().readout_error(0.1, 0.3, 0).readout_error(0.05, 0.0).after("reset", C(1).bit_flip(0.2, 0))
    noisy, params = model.apply(circuit), {"w": rng.normal(size=3)}
    branches = reference.outcomes(noisy, params)
    exact = np.zeros(2**noisy.n_bits)
    for bits, part in branches.items():
        exact[int("".join(map(str, bits)), 2)] += np.trace(part).real
    got = qj.probabilities(noisy, bits=range(noisy.n_bits))({k: params[k] for k in noisy.parameters})
    np.testing.assert_allclose(got, exact, atol=1e-12)


def test_a_misread_bit_decides_what_follows():
    model = qj.NoiseModel().readout_error(0.1, 0.3)
    noisy = model.apply(C(2).x(0).measure(0, 0).if_bits(0, 1, C(2).x(1)))
    np.testing.assert_allclose(qj.probabilities(noisy, bits=[0])(), [0.3, 0.7], atol=1e-12)
    np.testing.assert_allclose(
        qj.probabilities(noisy, [1])(), [0.3 * 0.9 + 0.7 * 0.3, 0.3 * 0.1 + 0.7 * 0.7], atol=1e-12
    )
    np.testing.assert_allclose(qj.density_matrix(noisy)()[3, 3], 0.7, atol=1e-12)  # the state itself
    twice = model.apply(model.apply(C(1).x(0).measure(0, 0)))
    np.testing.assert_allclose(qj.probabilities(twice, bits=[0])(), [0.3 * 0.9 + 0.7 * 0.3, 0.52], atol=1e-12)
    assert "M>0(0.1, 0.3)" in str(noisy)


def test_gradients_under_misread_bits():
    model = qj.NoiseModel().readout_error(0.1, 0.3)
    noisy = model.apply(C(2).ry(W[0], 0).measure(0, 0).if_bits(0, 1, C(2).x(1)))
    chance = lambda a: qj.probabilities(noisy, bits=[0])({"w": jnp.array([a, 0.0, 0.0])})[1]  # noqa: E731
    # 0.1 + 0.6 sin(a/2)**2
    np.testing.assert_allclose(jax.grad(chance)(0.7), 0.3 * np.sin(0.7), atol=1e-12)


def teleported():
    circuit = C(3).ry(W[0], 0).rz(W[1], 0).h(1).cx(1, 2).cx(0, 1).h(0).measure([0, 1], [0, 1])
    return circuit.if_bits(1, 1, C(3).x(2)).if_bits(0, 1, C(3).z(2))


def test_both_ways_give_the_same():
    """Deferral for few measurements, density matrices for many: the same circuit either way."""
    circuit = teleported()
    many = circuit.copy()
    for _ in range(4):
        many.measure(0, 0)
    assert not lowered(circuit).is_density
    assert lowered(many).is_density
    at = {"w": np.array([0.9, 0.7, 0.0])}
    exact = [np.sin(0.9) * np.cos(0.7), np.sin(0.9) * np.sin(0.7), np.cos(0.9)]
    for each in (circuit, many):
        np.testing.assert_allclose(qj.expectation(each, [qj.X(2), qj.Y(2), qj.Z(2)])(at), exact, atol=1e-12)
        np.testing.assert_allclose(qj.variance(each, qj.X(2))(at), 1 - exact[0] ** 2, atol=1e-12)


@pytest.mark.parametrize("more", [0, 4])
def test_derivatives_go_through_all_outcomes(more):
    circuit = teleported()
    for _ in range(more):
        circuit.measure(0, 0)
    energy = qj.expectation(circuit, qj.X(2))
    at = {"w": np.array([0.9, 0.7, 0.0])}
    exact = np.array([np.cos(0.9) * np.cos(0.7), -np.sin(0.9) * np.sin(0.7), 0])
    np.testing.assert_allclose(jax.grad(energy)(at)["w"], exact, atol=1e-12)
    value, mixed = np.sin(0.9) * np.cos(0.7), -np.cos(0.9) * np.sin(0.7)
    np.testing.assert_allclose(qj.hessian(energy, at), [[-value, mixed, 0], [mixed, -value, 0], [0, 0, 0]], atol=1e-12)


def test_batches_samples_and_initial_states():
    circuit = teleported()
    psi = np.array([0.6, 0.8j])
    initial = np.kron(psi, np.eye(4)[0])
    at = {"w": np.zeros((5, 3))}
    rho = qj.density_matrix(circuit)(at, initial=initial)
    assert rho.shape == (5, 8, 8)
    last = np.einsum("zabcabd->zcd", rho.reshape(5, 2, 2, 2, 2, 2, 2))
    np.testing.assert_allclose(last[3], np.outer(psi, psi.conj()), atol=1e-12)
    bits = np.asarray(qj.sample(circuit, 4000, bits=[0, 1])({"w": np.zeros(3)}, jax.random.key(0)))
    counts = np.bincount(2 * bits[:, 0] + bits[:, 1], minlength=4)
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(4000 * 0.25 * 0.75)


def test_readout_errors_of_a_circuit_are_of_qubits_at_the_end():
    circuit = C(1).readout_error(0.25, 0.5, 0).measure(0, 0)
    np.testing.assert_allclose(qj.probabilities(circuit)(), [0.75, 0.25], atol=1e-12)
    np.testing.assert_allclose(qj.probabilities(circuit, bits=0)(), [1, 0], atol=1e-12)


def test_one_bit_is_read_like_one_qubit():
    circuit = C(2).ry(0.8, 0).measure([0, 1], [1, 0])
    want = np.cos(0.4) ** 2, np.sin(0.4) ** 2
    for given in (1, np.int64(1), np.array(1), [1]):
        np.testing.assert_allclose(qj.probabilities(circuit, bits=given)(), want, atol=1e-12)


def test_what_is_read_after_a_measurement_has_no_coherence():
    circuit = C(1).h(0).measure(0, 0)
    assert abs(qj.expectation(circuit, qj.X(0))()) < 1e-12
    np.testing.assert_allclose(qj.density_matrix(circuit)(), np.eye(2) / 2, atol=1e-12)


def test_it_is_explained():
    assert str(qj.explain(teleported())).startswith("3 qubits and 2 wires for measurements and resets, outcomes")
    long = C(2)
    for _ in range(5):
        long.h(0).measure(0, 0).reset(0)
    assert str(qj.explain(long)).startswith("a density matrix of 2 qubits on 4 wires")
    assert "M>0" in str(teleported())
    assert "[if 1=1: 1 operation]" in str(teleported())


WRONG = {
    "count": (lambda: C(2).measure([0, 1], [0]), ValueError, "must name a bit for each of 2 qubits, but names 1: (0,)"),
    "bit": (lambda: C(2).measure(0, -1), ValueError, "Argument `bits` must hold different bits from 0 on, but is -1"),
    "kind": (lambda: C(2).measure(0, "a"), TypeError, "Argument `bits` must hold integers, but holds 'a'"),
    "values": (lambda: C(1).if_bits([0, 1], 4, C(1)), ValueError, "must be 0 or 1 for each of 2 bits, or an integer"),
    "then": (lambda: C(2).if_bits(0, 1, C(1).x(0)), ValueError, "Argument `then` must be a Circuit of 2 qubits like"),
    "both": (
        lambda: C(1).if_bits(0, 1, C(1).measure(0, 0), C(1).x(0)),
        ValueError,
        "must not measure into the bits that are asked for, but do into [0]",
    ),
    "both, deeper": (
        lambda: C(1).if_bits(0, 1, C(1).if_bits(1, 0, C(1).measure(0, 0)), C(1).x(0)),
        ValueError,
        "must not measure into the bits that are asked for, but do into [0]",
    ),
    "layer": (lambda: C(1).repeat(C(1).reset(0), 2), ValueError, "must not measure, reset or depend on measured bits"),
    "bits": (lambda: qj.probabilities(C(1).h(0), bits=[0]), ValueError, "bits of the circuit, which has 0, but is [0]"),
    "half": (lambda: qj.probabilities(teleported(), bits=[0.5]), TypeError, "`bits` must hold integers, but holds 0.5"),
    "label": (lambda: qj.sample(teleported(), 1, bits=["c"]), TypeError, "`bits` must hold integers, but holds 'c'"),
    "none": (lambda: qj.probabilities(teleported(), bits=[None]), TypeError, "must hold integers, but holds None"),
    "no bits": (lambda: qj.probabilities(teleported(), bits=[]), ValueError, "must hold different bits from 0 on"),
    "either": (lambda: qj.probabilities(teleported(), [0], bits=[0]), ValueError, "Give either `qubits` or `bits`"),
    "state": (
        lambda: qj.statevector(teleported()),
        ValueError,
        "measurements or resets on its way has no state vector",
    ),
    "back": (lambda: teleported().inverse(), ValueError, "A condition has no inverse (on bits (0,))"),
    "reset": (lambda: C(1).reset(0).inverse(), ValueError, "A reset has no inverse (qubit 0)"),
    "measure": (lambda: C(1).measure(0, 2).inverse(), ValueError, "A measurement has no inverse (qubit 0 into bit 2)"),
    "nested": (
        lambda: qj.probabilities(C(1).measure(0, 0).if_bits(0, 1, C(1).project(0, 0).initialize([1, 0])))(),
        ValueError,
        "Argument `qubits` of `initialize` must name qubits that nothing has acted on",
    ),
    "projection": (
        lambda: qj.probabilities(C(1).depolarizing(0.1, 0).measure(0, 0).if_bits(0, 1, C(1).project(0, 0)))(),
        ValueError,
        "Operation 'project' cannot stand under a condition; put it before or behind",
    ),
    "readout": (
        lambda: qj.probabilities(C(1).x(0).measure(0, 0).if_bits(0, 1, C(1).readout_error(0, 0.25, 0))),
        ValueError,
        "Operation 'readout_error' cannot stand under a condition; put it before or behind",
    ),
    "shots": (lambda: qj.expectation(teleported(), qj.Z(0), shots=5), ValueError, "needs a circuit of gates alone"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case):
    function, kind, message = WRONG[case]
    with pytest.raises(kind, match=re.escape(message)):
        function()


@pytest.mark.parametrize("phase", [np.pi, np.pi / 2, 0.3])
def test_phases_in_branches_change_nothing(phase):
    circuit = C(2).h(0).measure(0, 0).if_bits(0, 1, C(2).global_phase(phase).ry(0.4, 1)).h(0)
    opened = np.array([1.0, 0.0]), np.array([np.cos(0.2), np.sin(0.2)])
    found = qj.density_matrix(circuit)()
    flip = np.array([[1, 1], [1, -1]]) / 2**0.5
    expected = sum(
        np.kron(np.outer(flip[:, k], flip[:, k]), np.outer(opened[k], opened[k])) / 2 for k in range(2)
    )  # each outcome, then H on qubit 0
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_parameters_of_branches_that_are_never_taken_are_the_circuits():
    w, v = qj.Parameter("w"), qj.Parameter("v")
    circuit = C(2).h(0).ry(v, 1).measure(0, 1).if_bits(0, 1, C(2).rx(w, 1))  # nothing is measured into bit 0
    value = qj.expectation(circuit, qj.Z(1))
    params = {"v": jnp.asarray(0.4), "w": jnp.asarray(0.3)}
    np.testing.assert_allclose(value(params), np.cos(0.4), rtol=1e-12)
    np.testing.assert_allclose(value({**params, "w": np.arange(3.0)}), np.full(3, np.cos(0.4)), rtol=1e-12)
    slopes = jax.grad(value)(params)
    np.testing.assert_allclose([slopes["v"], slopes["w"]], [-np.sin(0.4), 0], rtol=1e-12)
    with pytest.raises(ValueError, match=r"`params` lacks \['w'\]"):
        value({"v": 0.4})
