"""Optimising disentanglers: figures of the notes, planted circuits, gradient descent, resuming, bad input."""

import dataclasses

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.models.disentangler.circuit import Brickwall, apply_circuit, random_gates
from qjaxsim.models.disentangler.config import lay_out
from qjaxsim.models.disentangler.gradient import GradientStepper, cayley
from qjaxsim.models.disentangler.layer import DisentanglerConfig, disentangle, plan_disentangler
from qjaxsim.models.disentangler.mpo import Geometry, balanced_geometry, qubit_geometry, tt_svd
from qjaxsim.models.disentangler.sweep import distance, operand, sweep
from tests.cases import mostly_slow


def gaussian(d_out, d_in, seed=0):
    return np.random.default_rng(seed).standard_normal((d_out, d_in))


def config(chi, **settings):
    return DisentanglerConfig(chi=chi, **({"dtype": "float64", "layers": 2} | settings))


def planted(n_out, n_in, layers, chi, seed):
    """U0 M0 V0^T with random circuits and a random MPO of that bond."""
    rng = np.random.default_rng(seed)
    walls = Brickwall(n_out, 2, layers), Brickwall(n_in, 2, layers)
    u, v = (random_gates(wall, np.dtype(float), rng) for wall in walls)
    geometry = qubit_geometry(2**n_out, 2**n_in)
    core = tt_svd(rng.standard_normal(geometry.shape), geometry, chi).to_dense()
    return np.asarray(apply_circuit(walls[0], u, apply_circuit(walls[1], v, core.T).T))


# --- figures of independent runs: 64 x 64 Gaussian at bond 1, identity start, 40 sweeps


@pytest.mark.slow
def test_register_wide_gates_attain_the_bound():
    weight = gaussian(64, 64)
    fixed = disentangle(weight, config(1, gate_qubits=6, target="fixed", sweeps=40))
    assert fixed.bound == pytest.approx(0.8391, abs=1e-4)
    assert 0.99 * fixed.bound < fixed.merit <= fixed.bound
    adaptive = disentangle(weight, config(1, gate_qubits=6, sweeps=40, tolerance=0))
    assert adaptive.error == pytest.approx(0.151, abs=1e-3)
    assert adaptive.history[0] == pytest.approx(0.994, abs=1e-3)
    assert adaptive.merit <= adaptive.bound
    # Success at this setting says nothing about the layer: the circuits hold everything.
    assert adaptive.layer.n_circuit == 2 * (64 * 63 // 2) > 0.98 * weight.size


@pytest.mark.parametrize(("k", "layers", "error"), mostly_slow([(2, 4, 0.968), (2, 16, 0.907), (3, 4, 0.899)], keep=1))
def test_small_gates_disentangle_weakly(k, layers, error):
    result = disentangle(gaussian(64, 64), config(1, gate_qubits=k, layers=layers, sweeps=40, tolerance=0))
    assert result.error == pytest.approx(error, abs=0.01)
    assert len(result.history) == 41
    assert result.entropies_after.mean() < result.entropies_before.mean()


def test_register_wide_gates_see_singular_values_only():
    # A geometric spectrum is a product over the sites: bond 1 is exact with gates as wide as the register.
    rng = np.random.default_rng(2)
    u, v = (np.linalg.qr(rng.standard_normal((16, 16)))[0] for _ in range(2))
    weight = (u * 0.7 ** np.arange(16)) @ v.T
    wide = disentangle(weight, config(1, gate_qubits=4, sweeps=500, restarts=3, tolerance=0))
    assert wide.history[0] > 0.5
    assert wide.error < 0.02


def test_a_unitary_weight_reaches_the_bound():
    weight = np.linalg.qr(gaussian(16, 16))[0]
    cut = np.asarray(tt_svd(weight, qubit_geometry(16, 16), 1).to_dense())
    # Gates are rotations: they reach the bound only if the determinants have the same sign.
    if np.linalg.det(weight) * np.linalg.det(cut) < 0:
        weight[0] *= -1
        cut = np.asarray(tt_svd(weight, qubit_geometry(16, 16), 1).to_dense())
    assert np.linalg.det(weight) * np.linalg.det(cut) > 0
    result = disentangle(weight, config(1, gate_qubits=4, target="fixed", sweeps=60))
    assert 0.999 * result.bound < result.merit <= result.bound + 1e-12


# --- planted circuits: the error goes to zero, at the linear pace of alternating updates


@pytest.mark.parametrize(("n_out", "n_in", "layers", "chi"), mostly_slow([(4, 4, 2, 1), (4, 3, 1, 2), (3, 3, 3, 1)]))
def test_planted_circuits_are_found_within_eight_restarts(n_out, n_in, layers, chi):
    weight = planted(n_out, n_in, layers, chi, 0)
    settings = config(chi, layers=layers, sweeps=400, restarts=8, tolerance=1e-6, patience=10)
    result = disentangle(weight, settings)
    assert result.history[0] > 0.3
    assert result.error < 0.01


def test_a_found_plant_is_exact_in_the_end():
    weight = planted(4, 3, 1, 2, 0)
    result = disentangle(weight, config(2, layers=1, sweeps=800, restarts=2, tolerance=0))
    assert result.error < 1e-12
    assert result.converged


# --- shapes and ranks at the edges


@pytest.mark.parametrize("shape", mostly_slow([[5, 1], [1, 1], [2, 3]], keep=2))
def test_narrow_matrices(shape):
    weight = gaussian(*shape)
    result = disentangle(weight, config(1, sweeps=30))
    assert result.error <= result.history[0]
    assert result.layer.apply(jnp.ones((4, shape[1]))).shape == (4, shape[0])
    plan = plan_disentangler(*shape, config(1))
    assert (plan.n_classical, plan.n_circuit) == (result.layer.n_classical, result.layer.n_circuit)


def test_a_row_is_a_vector_that_wide_gates_turn_into_a_product():
    result = disentangle(gaussian(1, 8), config(1, gate_qubits=3, sweeps=20))
    assert result.history[0] > 0.05
    assert result.error < 1e-9


def test_rank_deficient_weights_and_bonds_above_full_rank():
    rank_one = np.outer(gaussian(12, 1), gaussian(9, 1, seed=1))
    result = disentangle(rank_one, config(1, gate_qubits=5, sweeps=100))
    assert result.error < 1e-6  # two vectors, each turned into a product
    full = disentangle(gaussian(12, 9), config(10_000, sweeps=5))
    assert full.error < 1e-12
    assert full.converged
    assert full.layer.n_classical > 12 * 9  # padding and MPO lose at full rank


def test_the_scale_of_a_weight_does_not_matter():
    weight = gaussian(8, 8).astype(np.float32)
    results = [disentangle(weight * scale, config(2, dtype="float32", sweeps=4)) for scale in (1, 2.0**-80, 2.0**80)]
    assert len({result.error for result in results}) == 1
    for result, scale in zip(results, (1, 2.0**-80, 2.0**80), strict=True):
        np.testing.assert_array_equal(result.history, results[0].history)
        np.testing.assert_allclose(result.layer.to_dense() / scale, results[0].layer.to_dense(), rtol=1e-5, atol=1e-6)


def test_coarse_geometries():
    weight = gaussian(12, 8)
    coarse = disentangle(weight, config(2, geometry=Geometry((4, 4), (2, 4)), sweeps=5))
    assert coarse.error < coarse.history[0]
    plain = disentangle(weight, config(3, geometry=balanced_geometry(12, 8, 2), layers=0))
    values = np.linalg.svd(weight.reshape(4, 3, 4, 2).transpose(0, 2, 1, 3).reshape(16, 6), compute_uv=False)
    assert plain.error == pytest.approx(np.linalg.norm(values[3:]) / np.linalg.norm(values))


def test_complex_gates_and_complex_weights():
    weight = gaussian(8, 8)
    result = disentangle(weight, config(2, complex_gates=True, sweeps=10))
    assert not jnp.iscomplexobj(result.layer.to_dense())
    assert result.error <= result.error_padded + 1e-12
    assert result.layer.n_circuit == result.layer.wall_u.n_gates * 2 * 15
    x = gaussian(3, 8, seed=1)
    np.testing.assert_allclose(result.layer.apply(jnp.asarray(x)), x @ result.layer.to_dense().T, atol=1e-12)
    turned = weight * np.exp(0.3j) + 1j * gaussian(8, 8, seed=2)
    both = disentangle(turned, config(2, complex_gates=True, sweeps=10))
    assert both.error == pytest.approx(both.error_padded) and both.error < both.history[0]
    y = both.layer.apply(jnp.asarray(x))
    np.testing.assert_allclose(y, x @ np.asarray(both.layer.to_dense()).T, atol=1e-12)


# --- gradient descent


@pytest.mark.parametrize(("parametrisation", "complex_gates"), mostly_slow([("cayley", True), ("expm", False)], keep=1))
def test_gates_of_gradient_descent_are_rotations_and_improve(parametrisation, complex_gates):
    settings = config(
        1, method="gradient", parametrisation=parametrisation, complex_gates=complex_gates, sweeps=60, start="random"
    )
    result = disentangle(gaussian(8, 8), settings)
    even, odd = result.layer.u
    for gate in (*even.reshape(-1, 4, 4), *odd.reshape(-1, 4, 4)):
        np.testing.assert_allclose(gate @ gate.conj().T, np.eye(4), atol=1e-12)
        assert complex_gates or np.linalg.det(gate) > 0
    assert result.error_padded < result.history[0] - 0.01


def test_gradient_step_against_finite_differences():
    weight = jnp.asarray(gaussian(8, 4))
    settings = config(1, method="gradient", start="random")
    layout = lay_out(8, 4, settings)
    stepper = GradientStepper(layout, settings)
    rng = np.random.default_rng(3)
    start = [random_gates(wall, np.dtype(float), rng) for wall in (layout.wall_u, layout.wall_v)]
    state = stepper.init(*start)
    target = jnp.asarray(gaussian(8, 4, seed=5))

    def merit(skew):
        u, v = stepper.gates((state[0], skew, None))
        return float(distance(operand(layout.wall_u, layout.wall_v, u, v, weight), target)[0])

    # Adam's first step is the learning rate times the sign of the gradient, entry by entry.
    _, moved, _ = stepper.step(state, weight, target)
    flat, unravel = jax.flatten_util.ravel_pytree(state[1])
    steps = jax.flatten_util.ravel_pytree(moved)[0] / settings.learning_rate
    for i in range(0, flat.size, 7):
        slope = (merit(unravel(flat.at[i].add(1e-6))) - merit(unravel(flat.at[i].add(-1e-6)))) / 2e-6
        if abs(slope) > 1e-5:
            assert steps[i] == pytest.approx(np.sign(slope), abs=1e-2)
        else:
            assert abs(slope) < 1e-8  # the diagonal does not move the gate


def test_cayley_against_its_eigenvalues():
    rng = np.random.default_rng(0)
    skew = rng.standard_normal((3, 5, 5))
    skew = skew - skew.transpose(0, 2, 1)
    moved = np.asarray(cayley(jnp.asarray(skew)))
    values, vectors = np.linalg.eig(skew)
    expected = vectors @ (((1 - values) / (1 + values))[..., None] * np.linalg.inv(vectors))
    np.testing.assert_allclose(moved, expected, atol=1e-12)


# --- restarts and checkpoints


@pytest.mark.parametrize("method", ["explicit", "gradient"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, method):
    monkeypatch.setattr("qjaxsim.common.checkpoint.SAVES_APART", 0)
    settings = config(1, layers=2, sweeps=6, restarts=3, method=method, tolerance=0)
    weight = gaussian(8, 8)
    whole = disentangle(weight, settings)
    path = tmp_path / "run.npz"

    class KilledError(Exception):
        pass

    seen = []
    for kill_at in (3, 9, 17):

        def progress(done, total, error, kill_at=kill_at):
            seen.append(done)
            assert total == 18 and 0 < error < 1
            if done >= kill_at:
                raise KilledError

        with pytest.raises(KilledError):
            disentangle(weight, settings, progress=progress, checkpoint=path)
        assert path.exists()
    assert seen == sorted(seen) or seen.count(3) > 1  # what was done is not done again, but for the step in flight
    resumed = disentangle(weight, settings, checkpoint=path)
    for ours, theirs in zip(jax.tree.leaves(whole.layer), jax.tree.leaves(resumed.layer), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(whole.history, resumed.history)
    assert (whole.restart, whole.error) == (resumed.restart, resumed.error)
    finished = disentangle(weight, settings, checkpoint=path)  # nothing is left to do
    assert finished.error == whole.error

    with pytest.raises(
        ValueError, match=r"`checkpoint` must hold this run.*another weight or other settings \(weight\)"
    ):
        disentangle(weight + 1, settings, checkpoint=path)
    with pytest.raises(
        ValueError, match=r"other settings \(config\.sweeps \(6, now 7\)\); use them again, or another file"
    ):
        disentangle(weight, dataclasses.replace(settings, sweeps=7), checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read.*delete it"):
        disentangle(weight, settings, checkpoint=path)


def test_more_restarts_are_never_worse():
    errors = [disentangle(gaussian(8, 8), config(1, restarts=n, sweeps=15)).error for n in (1, 4)]
    assert errors[1] <= errors[0]


# --- what is said beforehand


def test_plan_prices_the_circuit():
    plan = plan_disentangler(576, 192, DisentanglerConfig(chi=10, layers=8))
    assert (plan.padded_out, plan.padded_in) == (1024, 256)
    assert (plan.n_dense, plan.n_classical, plan.n_circuit) == (110592, 2356, 384)
    assert (plan.n_gates_u, plan.n_gates_v, plan.cnots) == (36, 28, 128)
    assert plan.break_even_price == (110592 - 2356) / 384
    assert plan.svd_rank == (2356 + 384) // (576 + 192)
    wide = plan_disentangler(576, 192, DisentanglerConfig(chi=1, gate_qubits=10))
    assert wide.n_circuit == 556416 and 0 < wide.break_even_price < 1
    full = plan_disentangler(576, 192, DisentanglerConfig(chi=256))
    assert full.n_classical == 401956 and full.break_even_price < 0
    assert plan_disentangler(576, 192, DisentanglerConfig(chi=1, layers=0)).break_even_price == np.inf
    assert plan_disentangler(16, 16, DisentanglerConfig(chi=1, complex_gates=True)).n_classical == 2 * 16


@pytest.mark.parametrize(("n_out", "n_in", "settings"), [(7, 7, {}), (8, 5, {"gate_qubits": 3})])
def test_memory_said_beforehand_covers_the_compiled_sweep(n_out, n_in, settings):
    chosen = config(4, **settings)
    layout = lay_out(2**n_out, 2**n_in, chosen)
    rng = np.random.default_rng(0)
    gates = [random_gates(wall, np.dtype(float), rng) for wall in (layout.wall_u, layout.wall_v)]
    weight = jax.ShapeDtypeStruct((2**n_out, 2**n_in), np.float64)
    compiled = sweep.lower(layout.wall_u, layout.wall_v, *gates, weight, weight).compile().memory_analysis()
    held = compiled.temp_size_in_bytes + compiled.argument_size_in_bytes + compiled.output_size_in_bytes
    assert held < layout.n_bytes(chosen) < 5 * held


def test_compile_time_does_not_grow_with_layers():
    def length(layers):
        wall = Brickwall(4, 2, layers)
        gates = random_gates(wall, np.dtype(float), np.random.default_rng(0))
        weight = jnp.ones((16, 16))
        return len(str(jax.make_jaxpr(lambda w: sweep(wall, wall, gates, gates, w, w))(weight)))

    assert length(40) < 1.05 * length(4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chi": 0}, "`chi` must be an integer of at least 1, but is 0"),
        ({"chi": 2.5}, "`chi` must be an integer"),
        ({"gate_qubits": 0}, "`gate_qubits` must be an integer of at least 1"),
        ({"layers": -1}, "`layers` must be an integer of at least 0"),
        ({"sweeps": -1}, "`sweeps` must be"),
        ({"restarts": 0}, "`restarts` must be"),
        ({"patience": 0}, "`patience` must be"),
        ({"method": "magic"}, "`method` must be one of explicit, gradient, but is 'magic'"),
        ({"target": "moving"}, "`target` must be one of adaptive, fixed"),
        ({"parametrisation": "qr"}, "`parametrisation` must be one of cayley, expm"),
        ({"start": "cold"}, "`start` must be one of identity, random"),
        ({"dtype": "bfloat16"}, "`dtype` must be one of float32, float64"),
        ({"geometry": "balanced"}, '`geometry` must be "qubit" or a Geometry'),
        ({"target_chi": 1}, "`target_chi` is the bond of a fixed target"),
        ({"target_chi": 0, "target": "fixed"}, "`target_chi` must be an integer of at least 1"),
        ({"tolerance": 1.0}, "`tolerance` must be at least 0 and below 1"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
    ],
)
def test_errors_of_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        DisentanglerConfig(**({"chi": 1} | settings))


def test_double_precision_needs_x64():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="JAX is in single precision"):
            DisentanglerConfig(chi=1, dtype="float64")
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize(
    ("weight", "settings", "message"),
    [
        (np.zeros((4, 4)), {}, "`weight` must not be zero"),
        (np.full((4, 4), np.nan), {}, "`weight` must be finite, but nan stands at row 0, column 0"),
        (np.ones(4), {}, "`weight` must be a matrix"),
        (np.ones((4, 4)) * 1j, {}, "is complex and needs complex gates"),
        (np.ones((4, 4)), {"geometry": Geometry((2,), (2,))}, r"`geometry` must cover the weight \(4, 4\)"),
        (np.ones((6, 6)), {"geometry": Geometry((6,), (6,))}, "powers of two for circuits of qubits, but one is 6"),
    ],
)
def test_errors_of_weights(weight, settings, message):
    with pytest.raises(ValueError, match=message):
        disentangle(weight, config(1, **settings))


def test_memory_is_refused_beforehand(monkeypatch):
    monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 1000)
    with pytest.raises(MemoryError, match="Disentangling a matrix padded to 16 x 8 needs .* GiB"):
        disentangle(gaussian(12, 7), config(1))
