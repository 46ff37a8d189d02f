"""Expectation values from shots: no bias, 1 / N, and shift rules as derivatives, against exact ones."""

import pickle

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.gates import GATES
from qjaxsim.planning.shifts import ANGLES, frequencies, shift_rules

w, a = qj.Parameter("w", (4,)), qj.Parameter("a", (2,))
PARAMS = {"w": np.array([0.3, 0.8, -0.4, 1.1]), "a": np.array([0.5, 2.0])}
OBSERVABLES = [a[0] * qj.Z(0) + a[1] * qj.X(1) @ qj.X(2), qj.Y(0) + qj.Z(1) @ qj.Z(2) + 0.5 - 0.7 * qj.Z(2)]


def ansatz():
    """Shared and multiplied angles, a controlled rotation, several angles in a gate, a repeated layer."""
    layer = qj.Circuit(3).rx(qj.Parameter("v"), 1).cx(1, 2)
    circuit = qj.Circuit(3).ry(w[0], 0).crx(w[1], 0, 1).h(2).rzz(w[0] * w[2], 1, 2).u(w[3], 0.2, w[1], 2).cx(2, 0)
    return circuit.repeat(layer, 2)


CIRCUIT = ansatz()
PARAMS["v"] = np.array([0.4, -0.9])


def keys(n):
    return jax.random.split(jax.random.key(7), n)


def assert_unbiased(draws, exact, sigmas=4.5):
    """The mean of independent draws is the exact value within its standard error."""
    error = draws.std(0) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(0) - exact) <= sigmas * error + 1e-12).all()
    assert (error > 0).any()


@pytest.mark.parametrize("name", sorted(name for name, spec in GATES.items() if spec.n_angles))
def test_the_rule_of_every_gate_gives_its_derivative(name):
    """Exactly, where shifted values are exact: by the reference, with central differences beside it."""
    spec = GATES[name]
    p = qj.Parameter("p", (spec.n_angles,))
    n_qubits = max(spec.n_qubits, 1)
    circuit = qj.Circuit(n_qubits)
    for q in range(n_qubits):
        circuit.ry(0.4 + 0.3 * q, q).rz(0.7 - q, q)
    circuit.append(name, range(spec.n_qubits), [2 * p[i] for i in range(spec.n_angles)])
    observable = sum((qj.X(q) + 0.3 * qj.Z(q) for q in range(n_qubits)), qj.X(0) @ qj.Y(n_qubits - 1) * (n_qubits > 1))
    shifted = shift_rules(circuit)
    angles = np.array([0.6, -0.4, 1.3, 0.2])[: spec.n_angles]

    def value(angles):
        return reference.expectation(shifted.circuit, observable, {ANGLES: angles})

    got = shifted.weights @ np.array([value(angles + shift) for shift in shifted.shifts])
    step = 1e-5 * np.eye(spec.n_angles)
    np.testing.assert_allclose(got, [(value(angles + d) - value(angles - d)) / 2e-5 for d in step], atol=1e-8)
    assert [str(angle) for angle in shifted.angles] == [f"2*p[{i}]" for i in range(spec.n_angles)]


def test_rotations_take_two_shifted_circuits_and_controlled_ones_four():
    assert frequencies("rzz", 0) == frequencies("cp", 0) == frequencies("u", 1) == (1.0,)
    assert frequencies("cry", 0) == frequencies("cu3", 0) == (0.5, 1.0)
    assert frequencies("global_phase", 0) == ()
    assert len(shift_rules(qj.Circuit(2).rx(w[0], 0).crx(w[1], 0, 1)).shifts) == 6


def test_values_have_no_bias_and_their_variance_falls_as_one_over_shots():
    exact = qj.expectation(CIRCUIT, OBSERVABLES)(PARAMS)
    spread = []
    for shots in (20, 320):
        run = qj.expectation(CIRCUIT, OBSERVABLES, shots=shots)
        draws = np.asarray(jax.vmap(lambda key, run=run: run(PARAMS, key))(keys(1000)))
        assert_unbiased(draws, exact)
        spread.append(draws.var(0))
    ratio = spread[0] / spread[1]  # 16, each variance known to 1 / sqrt(500)
    assert (np.abs(np.log(ratio / 16)) < 5 * np.sqrt(2 / 500)).all()


@pytest.mark.thorough
@pytest.mark.parametrize("mode", [jax.jacrev, jax.jacfwd])
def test_gradients_have_no_bias(mode):
    exact = jax.jacrev(qj.expectation(CIRCUIT, OBSERVABLES))(PARAMS)
    run = qj.expectation(CIRCUIT, OBSERVABLES, shots=30)
    draws = jax.jit(jax.vmap(lambda key: mode(lambda params: run(params, key))(PARAMS)))(keys(300))
    for name in exact:
        assert_unbiased(np.asarray(draws[name]), exact[name])


def test_second_derivatives_have_no_bias():
    both = qj.Parameter("w", (2,))
    circuit, observable = qj.Circuit(2).ry(both[0], 0).crx(both[1], 0, 1), qj.Z(1) + a[0] * qj.X(0)
    params = {"w": PARAMS["w"][:2], "a": PARAMS["a"]}
    exact = jax.hessian(qj.expectation(circuit, observable))(params)
    run = qj.expectation(circuit, observable, shots=30)
    draws = jax.jit(jax.vmap(lambda key: jax.hessian(lambda params: run(params, key))(params)))(keys(300))
    for row in ("w", "a"):
        assert_unbiased(np.asarray(draws[row]["w"]), exact[row]["w"])


def test_shifted_circuits_have_shots_of_their_own():
    """One outcome of a fair coin a run: with common draws the two shifted values could not differ so often."""
    run = qj.expectation(qj.Circuit(1).rx(qj.Parameter("t"), 0), qj.Z(0), shots=1)
    slopes = jax.vmap(lambda key: jax.grad(lambda t: run({"t": t}, key))(0.0))(keys(400))
    assert set(np.unique(slopes).tolist()) == {-1.0, 0.0, 1.0}
    np.testing.assert_allclose((slopes == 0).mean(), 0.5, atol=5 * 0.5 / 20)


def test_batches_draw_apart_and_the_key_decides():
    run = qj.expectation(CIRCUIT, OBSERVABLES, shots=50)
    batch = {**PARAMS, "a": np.tile(PARAMS["a"], (3, 1, 1)), "w": np.tile(PARAMS["w"], (2, 1))}
    got = run(batch, keys(1)[0])
    assert got.shape == (3, 2, 2) and len(np.unique(got[..., 0])) > 2
    np.testing.assert_array_equal(got, run(batch, keys(1)[0]))
    assert (got != run(batch, keys(2)[1])).any()
    alone = qj.expectation(CIRCUIT, OBSERVABLES[0], shots=50)
    small = alone({name: np.float32(each) for name, each in PARAMS.items()}, keys(1)[0])
    assert small.shape == () and small.dtype == np.float32
    assert jax.random.PRNGKey(0).dtype == np.uint32 and np.isfinite(alone(PARAMS, jax.random.PRNGKey(0)))


def test_eigenstates_are_measured_without_spread():
    """In the basis of each letter, constants and wide diagonals beside them; nothing is left to chance."""
    circuit = qj.Circuit(6).h(0).x(range(2, 5))
    wide = qj.Diagonal(np.arange(32.0), [5, 4, 3, 2, 1])
    observables = [qj.X(0) - 2 * qj.Z(1) @ qj.Z(2) + 3, qj.I() / 2, wide]
    got = qj.expectation(circuit, observables, shots=3)({}, keys(1)[0])
    np.testing.assert_allclose(got, [1 + 2 + 3, 0.5, 0b01110], atol=1e-12)
    y = qj.expectation(qj.Circuit(1).h(0).s(0), qj.Y(0), shots=3)
    np.testing.assert_allclose(jax.vmap(lambda key: y({}, key))(keys(5)), 1, atol=1e-12)
    zero = qj.expectation(qj.Circuit(1).rz(qj.Parameter("t"), 0), qj.I() * 2, shots=3)
    assert jax.grad(lambda t: zero({"t": t}, keys(1)[0]))(0.3) == 0


def test_groups_of_as_many_qubits_are_drawn_by_one_program_with_shots_of_their_own():
    """All strings of three letters, a basis each, two letters of one coin, and two diagonals of other sizes."""
    letters = (qj.X, qj.Y, qj.Z)
    strings = [one(0) @ other(1) @ last(2) for one in letters for other in letters for last in letters]
    circuit = qj.Circuit(6).compose(CIRCUIT).ry(w[0], 4).cx(4, 5)
    params = {name: PARAMS[name] for name in circuit.parameters}
    diagonals = [(np.cos(np.arange(2**k)), range(k)) for k in (5, 6)]
    asked = [*strings, qj.X(3), qj.Y(3), *(qj.Diagonal(*each) for each in diagonals)]
    estimate = qj.expectation(circuit, asked, shots=2000)
    assert str(jax.make_jaxpr(estimate)(params, jax.random.key(0))).count("random_bits[") == 4
    chances = np.abs(reference.statevector(circuit, params)) ** 2
    exact = [reference.expectation(circuit, each, params) for each in asked[:-2]]
    exact += [values @ chances.reshape(len(values), -1).sum(1) for values, _ in diagonals]
    found = np.array([estimate(params, key) for key in keys(3)])
    assert np.abs(found - exact).max() < 5 / np.sqrt(2000)
    assert (found[:, 27] != found[:, 28]).any()


def test_copies_draw_the_same():
    run = qj.expectation(qj.Circuit(2).ry(w[0], 0).cx(0, 1), a[0] * qj.Z(0) + qj.X(1), shots=10)
    key = keys(1)[0]
    assert pickle.loads(pickle.dumps(run))(PARAMS_OF_TWO, key) == run(PARAMS_OF_TWO, key)


PARAMS_OF_TWO = {name: PARAMS[name] for name in ("w", "a")}
WIDE = qj.Hermitian(np.eye(32) + np.eye(32)[::-1], range(5))
READY = qj.expectation(CIRCUIT, OBSERVABLES, shots=5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: qj.expectation(CIRCUIT, qj.Z(0), shots=0), ValueError, "`shots` must be a positive integer, but is 0"),
        (lambda: qj.expectation(CIRCUIT, qj.Z(0), shots=1.5), ValueError, "`shots` must be a positive integer"),
        (
            lambda: qj.expectation(qj.Circuit(5), WIDE, shots=5),
            ValueError,
            "Pauli sums and diagonals with `shots`, but has a DenseOperator on 5 qubits",
        ),
        (
            lambda: qj.expectation(qj.Circuit(1).h(0).project(0, 1), qj.Z(0), shots=5),
            ValueError,
            "projections has no shift rule, so that `shots` must be None",
        ),
        (lambda: READY(PARAMS), TypeError, "Argument `key` must be a random key, .* but is not given"),
        (lambda: READY(PARAMS, 3), TypeError, "Argument `key` must be a random key"),
        (lambda: READY({"w": PARAMS["w"]}, keys(1)[0]), ValueError, r"lacks \['a', 'v'\]"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
