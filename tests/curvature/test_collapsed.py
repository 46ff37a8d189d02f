"""The split through the unitary of all weights: against pushes of every sample, the dense Hessian, dense matrices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.common import memory
from qjaxsim.curvature import CircuitOutputs, circuit_outputs, collapsed, plan_split, split_hessian
from qjaxsim.models.losses import cross_entropy
from qjaxsim.running import measurement
from tests.cases import mostly_slow

N = 3


def hybrid(depth=2):
    """RY and RZ encoding of three inputs, layers of rotations and a ring, a weight that the layers share."""
    x, w, v = qj.Parameter("x", (N,)), qj.Parameter("w", (N, 2)), qj.Parameter("v")
    circuit = qj.Circuit(N)
    for q in range(N):
        circuit.ry(x[q], q).rz(x[q] * x[(q + 1) % N], q)
    circuit.cx(0, 2)
    layer = qj.Circuit(N)
    for q in range(N):
        layer.rx(w[q, 0], q).ry(2 * w[q, 1], q).cx(q, (q + 1) % N)
    return circuit.repeat(layer.rz(v, 1), depth, shared=("v",)) if depth else circuit.rx(v, 0)


OBSERVABLES = (qj.Z(0) + 0.5 * qj.X(1), qj.Y(2) @ qj.X(0) - 0.3 * qj.Y(0) @ qj.Y(1) @ qj.Z(2), qj.Z(1) @ qj.Z(2))


def problem(n_samples=12, depth=2, dtype=np.float64):
    rng = np.random.default_rng(3)
    params = {"w": rng.normal(size=(depth, N, 2)), "v": np.array(0.4)} if depth else {"v": np.array(0.4)}
    x = {"x": rng.normal(size=(n_samples, N))}
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), (params, x)) + (jnp.arange(n_samples) % 3,)


@functools.cache
def model(depth=2):
    """One object for all tests, so that it is compiled once."""
    return CircuitOutputs(hybrid(depth), OBSERVABLES, ("x",), 4.0)


@pytest.fixture
def few_are_enough(monkeypatch):
    """Problems of a few samples take the way of many."""
    monkeypatch.setattr(CircuitOutputs, "collapses", lambda self, *_: self.stages is not None)
    monkeypatch.setattr(CircuitOutputs, "sees_little", lambda self, *_: False)


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize(
    ("dtype", "batch_size"),
    mostly_slow([(np.float32, None), (np.float64, None), (np.float64, 5)]),
)
def test_equal_to_pushing_every_sample(dtype, batch_size):
    outputs, (params, x, y) = model(), problem(dtype=dtype)
    fast = split_hessian(outputs, cross_entropy, params, x, y, batch_size=batch_size)
    slow = split_hessian(lambda p, x: outputs(p, x), cross_entropy, params, x, y)
    for ours, theirs in zip(fast, slow, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, atol=1e-13 if dtype == np.float64 else 2e-5)


@pytest.mark.usefixtures("few_are_enough")
def test_equal_to_the_generic_hessian():
    outputs, (params, x, y) = model(), problem()
    split = split_hessian(outputs, cross_entropy, params, x, y)
    dense = qj.hessian(lambda p: cross_entropy(outputs(p, x), y).mean(), params)
    np.testing.assert_allclose(split.hessian, dense, atol=1e-13)


def test_the_residual_never_sees_the_samples():
    """What R is made from has no axis of samples, so its cost cannot depend on their number."""
    outputs, (params, x, _) = model(), problem(4 * 12)
    operators = collapsed.no_operators(outputs, jnp.float64)
    found = jax.eval_shape(lambda p: collapsed.tangents(outputs, p), params)
    slope = jnp.ones((48, 3))
    after = jax.eval_shape(lambda f, o: collapsed.add_samples(outputs, f, x, slope, o)[0], found, operators)
    assert after.shape == operators.shape == (3, 2, 8, 8)
    program = str(jax.make_jaxpr(lambda f, p, o: collapsed.residual_part(outputs, f, p, o))(found, params, operators))
    assert "48" not in program


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize("n_samples", [1, 12])
def test_one_class_and_one_sample_are_finite(n_samples):
    outputs, (params, x, _) = model(), problem(n_samples)
    split = split_hessian(outputs, cross_entropy, params, x, jnp.zeros(n_samples, int))
    assert all(np.isfinite(part).all() for part in split)


@pytest.mark.usefixtures("few_are_enough")
def test_no_layers():
    outputs, (params, x, y) = model(depth=0), problem(depth=0)
    split = split_hessian(outputs, cross_entropy, params, x, y)
    dense = qj.hessian(lambda p: cross_entropy(outputs(p, x), y).mean(), params)
    np.testing.assert_allclose(split.hessian, dense, atol=1e-13)


def test_weights_before_data_take_the_other_way():
    x, w = qj.Parameter("x", (N,)), qj.Parameter("w", (N,))
    circuit = qj.Circuit(N)
    for q in range(N):
        circuit.rx(w[q], q).cx(q, (q + 1) % N).ry(x[q], q)
    outputs = CircuitOutputs(circuit, OBSERVABLES, ("x",))
    assert outputs.stages is None
    assert not outputs.collapses(10**6, N)
    rng = np.random.default_rng(0)
    params, inputs, y = {"w": rng.normal(size=N)}, {"x": rng.normal(size=(12, N))}, jnp.arange(12) % 3
    split = split_hessian(outputs, cross_entropy, params, inputs, y)
    dense = qj.hessian(lambda p: cross_entropy(outputs(p, inputs), y).mean(), params)
    np.testing.assert_allclose(split.hessian, dense, atol=1e-13)


def test_projections_take_the_other_way():
    projected = hybrid().repeat(qj.Circuit(N).project(1, 0), 2)
    assert CircuitOutputs(projected, OBSERVABLES, ("x",)).stages is None


def test_few_samples_and_little_memory_take_the_other_way(monkeypatch):
    assert not model().collapses(1023, 13)
    assert model().collapses(1024, 13)
    monkeypatch.setattr(circuit_outputs, "LEAST_SAMPLES", 1)
    assert not model().collapses(23, 13)
    assert model().collapses(24, 13)  # three observables times eight amplitudes
    params, x, y = problem(24)
    monkeypatch.setattr(memory, "available_bytes", lambda: 8 * 8 * 13 * 8**2)  # less than the derivatives of U
    assert plan_split(model(), cross_entropy, params, x, y, batch_size=1).structure == "pushed"


def test_names_that_the_circuit_lacks_are_refused():
    with pytest.raises(ValueError, match="Argument `data` names images, but the circuit's parameters are x, w, v"):
        CircuitOutputs(hybrid(), OBSERVABLES, ("images",))
    with pytest.raises(ValueError, match="Argument `data` must name at least one parameter"):
        CircuitOutputs(hybrid(), OBSERVABLES, ())
    with pytest.raises(ValueError, match="Observable 0 acts on qubit 5"):
        CircuitOutputs(hybrid(), [qj.Z(5)], ("x",))
    params, x, _ = problem(5)
    with pytest.raises(ValueError, match="`params` must not hold what samples bring, but holds x; leave it out"):
        model()(params | x, x)


def test_observables_applied_to_states_with_weights_by_column():
    observables = (*OBSERVABLES, 0.7 * qj.I() + qj.Y(0), qj.Y(0) @ qj.Y(1) @ qj.Y(2) + qj.X(1))
    rng = np.random.default_rng(1)
    state, weights = rng.normal(size=(2, 8, 5)), rng.normal(size=(5, 5))
    dense = [reference.pauli_sum_matrix(o, N) @ (state[0] + 1j * state[1]) for o in observables]
    for given in (weights, weights[:, :1]):
        applied = np.asarray(measurement.apply_observables(observables, jnp.asarray(given), jnp.asarray(state)))
        expected = sum(row * part for row, part in zip(given, dense, strict=True))
        np.testing.assert_allclose(applied[0] + 1j * applied[1], expected, atol=1e-13)
