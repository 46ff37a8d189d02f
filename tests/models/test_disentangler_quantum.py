"""Circuits of a disentangled layer in this engine and in Qiskit, finite shots, adapters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from qjaxsim_qiskit.disentangled import export_circuits

import qjaxsim as qj
from qjaxsim.models.disentangler.adapter import identity_adapter
from qjaxsim.models.disentangler.layer import DisentanglerConfig, disentangle, plan_disentangler
from qjaxsim.models.disentangler.quantum import layer_circuits, read_amplitudes, shot_forward
from tests.cases import mostly_slow


def found(shape=(12, 7), **settings):
    weight = np.random.default_rng(0).standard_normal(shape)
    settings = {"chi": 2, "layers": 3, "sweeps": 3, "start": "random", "dtype": "float64"} | settings
    return disentangle(weight, DisentanglerConfig(**settings)).layer


@pytest.mark.parametrize("complex_gates", mostly_slow([False, True], keep=[1]))
def test_circuits_of_the_engine_rebuild_the_layer(complex_gates):
    layer = found(complex_gates=complex_gates)
    circuits = layer_circuits(layer)
    u, v = (np.asarray(qj.unitary(circuit)({})) for circuit in circuits)
    rebuilt = u @ np.asarray(layer.mpo.to_dense()) @ v.conj().T
    np.testing.assert_allclose(rebuilt[:12, :7].real, layer.to_dense(), atol=1e-6)


@pytest.mark.parametrize("dtype", mostly_slow(["float64", "float32"]))
def test_export_to_qiskit(dtype):
    pytest.importorskip("qiskit", reason="The extra `qiskit` brings Qiskit.")
    layer = found(dtype=dtype)
    facts = export_circuits(layer)
    assert [fact.n_qubits for fact in facts] == [4, 3]
    assert [fact.n_gates for fact in facts] == [5, 3] == [layer.wall_u.n_gates, layer.wall_v.n_gates]
    # A rotation of two qubits takes two CNOTs (Vatan and Williams, quant-ph/0308006).
    assert [fact.cnots for fact in facts] == [10, 6]
    assert sum(fact.cnots for fact in facts) == plan_disentangler(12, 7, DisentanglerConfig(chi=2, layers=3)).cnots
    for fact in facts:
        assert fact.deviation < (2e-6 if dtype == "float32" else 1e-12)
        assert fact.synthesis_deviation < (2e-6 if dtype == "float32" else 1e-12)
        assert fact.circuit.count_ops()["cx"] == fact.cnots
        assert set(fact.circuit.count_ops()) == {"u", "cx"}
        assert fact.cnot_depth == 6 and fact.depth >= 6 + 4


def test_wider_and_complex_gates_in_qiskit():
    pytest.importorskip("qiskit", reason="The extra `qiskit` brings Qiskit.")
    for settings in ({"gate_qubits": 3, "sweeps": 0}, {"complex_gates": True}):
        layer = found(**settings)
        planned = plan_disentangler(12, 7, DisentanglerConfig(chi=2, layers=3, **settings))
        facts = export_circuits(layer)
        assert max(max(fact.deviation, fact.synthesis_deviation) for fact in facts) < 1e-10
        assert 0 < sum(fact.cnots for fact in facts) <= planned.cnots


def test_empty_circuits_export():
    pytest.importorskip("qiskit", reason="The extra `qiskit` brings Qiskit.")
    facts = export_circuits(found(layers=0))
    assert [(fact.n_qubits, fact.cnots, fact.depth, fact.deviation) for fact in facts] == [(4, 0, 0, 0), (3, 0, 0, 0)]


def test_refusals():
    with pytest.raises(ValueError, match="2, 4, 8 ... rows and columns.*side of U has 1"):
        layer_circuits(found((1, 4)))
    with pytest.raises(ValueError, match="at most 6 qubits, but have 7"):
        export_circuits(found((128, 2), gate_qubits=7, chi=1, sweeps=0))
    layer = found(complex_gates=True, sweeps=0)
    with pytest.raises(ValueError, match="must have real gates"):
        shot_forward(layer, jnp.ones((1, 7)), 100, jax.random.key(0))
    with pytest.raises(ValueError, match="`shots` must be an integer of at least 2, but is 1"):
        shot_forward(found(), jnp.ones((1, 7)), 1, jax.random.key(0))


# --- finite shots


def test_magnitudes_have_the_error_of_multinomial_roots(key):
    states = jax.random.normal(jax.random.key(5), (400, 16))
    states = states / jnp.linalg.norm(states, axis=1, keepdims=True)
    for shots in (4001, 64000):
        read = read_amplitudes(states, shots, key)
        # The variance of the root of a frequency is 1 / (4 shots), here with half of the shots.
        squared = jnp.mean(jnp.sum((jnp.abs(read) - jnp.abs(states)) ** 2, axis=1))
        assert squared == pytest.approx(16 / (2 * shots), rel=0.1)
        np.testing.assert_allclose(jnp.linalg.norm(read, axis=1), 1, atol=1e-12)
        clear = jnp.abs(states) > 12 / np.sqrt(shots)
        assert bool(jnp.all(jnp.where(clear, jnp.sign(read) == jnp.sign(states), True)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_readout_keeps_the_precision(dtype, key):
    states = jax.ShapeDtypeStruct((3, 8), dtype)
    assert jax.eval_shape(read_amplitudes, states, 100, key).dtype == dtype


@pytest.mark.thorough
def test_shots_approach_the_layer_as_one_over_the_root(key):
    layer = found()
    x = np.random.default_rng(1).standard_normal((2, 30, 7))
    x[0, 0] = 0
    exact = layer.apply(jnp.asarray(x))
    errors = []
    for shots in (4000, 64000):
        y = shot_forward(layer, jnp.asarray(x), shots, key)
        assert y.shape == (2, 30, 12) and y.dtype == jnp.float64
        assert bool(jnp.all(y[0, 0] == 0))
        errors.append(float(jnp.linalg.norm(y - exact) / jnp.linalg.norm(exact)))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.3)
    assert errors[1] < 2 * np.sqrt((16 + 8) / (2 * 64000))
    np.testing.assert_allclose(shot_forward(layer, jnp.eye(7, dtype=int), 10**9, key), layer.to_dense().T, atol=1e-3)


# --- adapters


@pytest.mark.parametrize("block", mostly_slow([1, 4], keep=[1]))
def test_adapters_of_equal_size(block):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 5, 12)))
    unitary, control = (identity_adapter(kind, 12, block, jnp.float64) for kind in ("cayley", "triangular"))
    assert unitary.n_params == control.n_params == 12 * (block - 1) // 2
    for adapter in (unitary, control):
        np.testing.assert_allclose(adapter.apply(x), x, atol=1e-14)
    lower = jnp.asarray(rng.standard_normal(unitary.lower.shape))
    turned, sheared = (type(adapter)(lower, block) for adapter in (unitary, control))
    dense = [np.asarray(adapter.apply(jnp.eye(12)).T) for adapter in (turned, sheared)]
    np.testing.assert_allclose(dense[0] @ dense[0].T, np.eye(12), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(dense[1]), 1, atol=1e-12)
    for matrix, adapter in zip(dense, (turned, sheared), strict=True):
        np.testing.assert_allclose(adapter.apply(x), x @ matrix.T, atol=1e-12)
        mask = np.kron(np.eye(12 // block), np.ones((block, block)))
        assert np.abs(matrix * (1 - mask)).max() == 0
    if block > 1:
        assert np.abs(dense[1] @ dense[1].T - np.eye(12)).max() > 0.1
        gradient = jax.grad(lambda adapter: jnp.sum(adapter.apply(x)[..., 0] ** 2))(turned)
        assert float(jnp.abs(gradient.lower).max()) > 0


def test_adapter_refusals():
    with pytest.raises(ValueError, match="`kind` must be one of cayley, triangular, but is 'lora'"):
        identity_adapter("lora", 12, 4)
    with pytest.raises(ValueError, match="`block` must divide the 12 features, but is 5"):
        identity_adapter("cayley", 12, 5)
