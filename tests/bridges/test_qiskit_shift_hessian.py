"""The parameter-shift Hessian through Qiskit's estimators against exact second derivatives."""

import math

import numpy as np
import pytest

import qjaxsim as qj

pytest.importorskip("qiskit_aer", reason="Qiskit Aer is not installed")

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit_aer import noise
from qiskit_aer.primitives import EstimatorV2
from qjaxsim_qiskit import from_aer_noise_model, from_qiskit, shift_hessian

ENERGY = qj.Z(0) @ qj.Z(1) + 0.5 * qj.X(1) - 0.3 * qj.Y(2)


@pytest.fixture(scope="module")
def circuit() -> qj.Circuit:
    """Three qubits: a repeated parameter, expressions, controlled and two-qubit rotations, an unused element."""
    w, s = qj.Parameter("w", (2, 2)), qj.Parameter("s")
    out = qj.Circuit(3).h(0).ry(w[0, 0], 0).rx(w[0, 0] * s, 1).cx(0, 1).crz(w[0, 1], 1, 2)
    return out.rzz(s**2 + 0.1, 0, 2).ry(w[0, 0] + 2 * w[0, 1], 2).rx(w[1, 1], 1)


@pytest.fixture(scope="module")
def params(circuit) -> dict:
    rng = np.random.default_rng(4)
    return {name: rng.uniform(0.2, 1.4, shape) for name, shape in circuit.parameters.items()}


def exact(circuit, params):
    return np.asarray(qj.hessian(qj.expectation(circuit, ENERGY), params))


def test_an_exact_estimator_gives_the_exact_hessian(circuit, params):
    for estimator in (StatevectorEstimator(), EstimatorV2()):
        found = shift_hessian(circuit, params, ENERGY, estimator=estimator)
        np.testing.assert_allclose(found.mean, exact(circuit, params), atol=1e-9)
        assert not found.stds.any() and found.shots is None


def test_a_repeated_parameter_has_the_right_diagonal():
    """PennyLane's issue 1424: wrong by a factor of 2."""
    w = qj.Parameter("w", (2,))
    circuit = qj.Circuit(1).ry(w[0], 0).ry(w[1], 0).ry(w[0], 0)
    at = np.array([0.3, 0.5])
    found = shift_hessian(circuit, {"w": at}, qj.Z(0), estimator=StatevectorEstimator())
    c = -math.cos(2 * at[0] + at[1])
    np.testing.assert_allclose(found.mean, [[4 * c, 2 * c], [2 * c, c]], atol=1e-12)


@pytest.mark.thorough
def test_errors_of_entries_are_standard_normal(circuit, params):
    estimator = StatevectorEstimator(seed=np.random.default_rng(1))
    wanted = exact(circuit, params)
    upper = np.triu_indices(len(wanted))
    scores = []
    for _ in range(40):
        found = shift_hessian(circuit, params, ENERGY, estimator=estimator, shots=400)
        assert found.shots == pytest.approx(400)
        used = found.stds_of_entries[upper] > 0
        scores.append(((found.mean - wanted)[upper] / np.where(used, found.stds_of_entries[upper], 1))[used])
    scores = np.array(scores)
    assert abs(scores.mean()) < 0.15 and 0.9 < scores.std() < 1.1
    # Entries share evaluations: all of them together are what the covariance says.
    covariance = found.covariance[upper][:, *upper][np.ix_(used, used)]
    lows = np.linalg.pinv(covariance / np.outer(*[found.stds_of_entries[upper][used]] * 2), rcond=1e-9)
    rank = np.linalg.matrix_rank(covariance, tol=1e-9 * covariance.max())
    assert np.einsum("sp,pq,sq->s", scores, lows, scores).mean() == pytest.approx(rank, rel=0.2)


def test_under_noise_it_is_the_hessian_of_the_noisy_value():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.ry(b, 0)
    circuit.cx(0, 1)
    circuit.rx(a, 1)
    circuit.ry(2 * b, 0)
    model = noise.NoiseModel()
    model.add_all_qubit_quantum_error(noise.depolarizing_error(0.05, 1), ["rx", "ry"])
    model.add_all_qubit_quantum_error(noise.depolarizing_error(0.1, 2), ["cx"])
    estimator = EstimatorV2(options={"backend_options": {"method": "density_matrix", "noise_model": model}})
    found = shift_hessian(circuit, [0.4, 0.9], qj.Z(0) @ qj.Z(1), estimator=estimator)
    noisy = qj.expectation(from_aer_noise_model(model).apply(from_qiskit(circuit).circuit), qj.Z(0) @ qj.Z(1))
    np.testing.assert_allclose(found.mean, qj.hessian(noisy, {"a": 0.4, "b": 0.9}), atol=1e-9)


def test_parameters_without_rotations_have_rows_of_zeros():
    w = qj.Parameter("w", (3,))
    found = shift_hessian(qj.Circuit(2).rx(w[1], 0), {"w": np.zeros(3)}, qj.Z(0), estimator=StatevectorEstimator())
    np.testing.assert_allclose(found.mean, np.diag([0, -1, 0]), atol=1e-12)


def test_refusals(circuit, params):
    exact = {"estimator": StatevectorEstimator()}
    with pytest.raises(ValueError, match=r"Arguments `shots` and `precision` say the same"):
        shift_hessian(circuit, params, ENERGY, shots=10, precision=0.1, **exact)
    with pytest.raises(ValueError, match=r"Argument `shots` must be an integer of at least 1, but is 0"):
        shift_hessian(circuit, params, ENERGY, shots=0, **exact)
    with pytest.raises(ValueError, match=r"Argument `precision` must be a positive number, but is -1"):
        shift_hessian(circuit, params, ENERGY, precision=-1, **exact)
    batch = {name: np.stack([value, value]) for name, value in params.items()}
    with pytest.raises(ValueError, match=r"Argument `params` must have no batch axes, but has \(2,\)"):
        shift_hessian(circuit, batch, ENERGY, **exact)
    noisy = qj.Circuit(1).ry(qj.Parameter("w"), 0).depolarizing(0.1, 0)
    with pytest.raises(
        ValueError, match=r"Argument `circuit` must be made of gates alone, .* give noise to the estimator"
    ):
        shift_hessian(noisy, {"w": 0.1}, qj.Z(0), **exact)
    with pytest.raises(ValueError, match=r"Argument `observable` must be one observable, but holds 2"):
        shift_hessian(circuit, params, [qj.Z(0), qj.Z(1)], **exact)
    for ours, fixed in (({}, qj.Circuit(3).h(0).cx(0, 1)), ([], QuantumCircuit(3))):
        with pytest.raises(ValueError, match="Argument `circuit` must have a parameter, .*, but has none"):
            shift_hessian(fixed, ours, ENERGY, **exact)
    with pytest.raises(ValueError, match="Argument `backend` must be .*, but 'fake_manilla' is none"):
        shift_hessian(circuit, params, ENERGY, backend="fake_manilla", **exact)
    for estimator in (None, "aer", StatevectorEstimator, StatevectorSampler()):
        with pytest.raises(TypeError, match=r"Argument `estimator` must be an estimator of Qiskit's, .*, but is"):
            shift_hessian(circuit, params, ENERGY, estimator=estimator)


def test_a_fake_backend_measures_with_error_bars():
    fakes = pytest.importorskip("qiskit_ibm_runtime.fake_provider", reason="the runtime is not installed")
    from qiskit.primitives import BackendEstimatorV2

    backend = fakes.FakeManilaV2()
    w = qj.Parameter("w", (2,))
    circuit, at = qj.Circuit(2).ry(w[0], 0).cx(0, 1).ry(w[1], 1), {"w": np.array([0.4, 0.8])}
    estimator = BackendEstimatorV2(backend=backend, options={"seed_simulator": 3})
    found = shift_hessian(circuit, at, qj.Z(1), estimator=estimator, shots=2000, backend="fake_manila")
    ideal = np.asarray(qj.hessian(qj.expectation(circuit, qj.Z(1)), at))
    assert (found.stds > 0).all() and found.stds.max() < 2000**-0.5 * 1.2
    # Noise of a few per cent lowers it, shots scatter it.
    assert np.abs(found.mean - ideal).max() < 0.2
    assert found.shots_needed(0.1).value > 0
