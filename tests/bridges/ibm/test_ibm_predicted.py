"""What a backend's noise model predicts, against Aer's density matrices of the transpiled circuit."""

import numpy as np
import pytest

import qjaxsim as qj

pytest.importorskip("qiskit_ibm_runtime", reason="qiskit-ibm-runtime is not installed")
pytest.importorskip("qiskit_aer", reason="Qiskit Aer is not installed")

from qiskit.quantum_info import DensityMatrix, SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qjaxsim_qiskit import ibm, to_qiskit
from qjaxsim_qiskit.ibm.primitives import to_isa

BACKEND = FakeManilaV2()
OBSERVABLES = [qj.Z(0) @ qj.Z(2), qj.X(1)]


def circuit():
    w = qj.Parameter("w", (2,))
    return qj.Circuit(3).ry(w[0], 0).cx(0, 2).ry(w[1], 1).cx(1, 2)


def aer_state(values, backend=BACKEND, model=None):
    """Aer's density matrix of all qubits of the device, and the place of each qubit at the end."""
    bound = to_qiskit(circuit(), {"w": values})
    isa = to_isa(bound, backend, optimization_level=1, seed=0, local=True)
    places = isa.layout.final_index_layout()
    isa.save_density_matrix()
    simulator = AerSimulator(method="density_matrix", noise_model=model or NoiseModel.from_backend(BACKEND))
    return DensityMatrix(simulator.run(isa).result().data(0)["density_matrix"]), places


def run(backend=BACKEND, **options):
    values = np.array([[0.7, 0.3], [0.1, 1.0]])
    return values, ibm.run(circuit(), {"w": values}, backend=backend, dry_run=True, report=lambda _: None, **options)


def test_expectation_values_without_readout_errors():
    values, record = run(observables=OBSERVABLES, resilience_level=1)
    for row, one in zip(record.predicted, values, strict=True):
        rho, places = aer_state(one)
        for value, (word, qubits) in zip(row, (("ZZ", (0, 2)), ("X", (1,))), strict=True):
            where = [places[q] for q in qubits]
            operator = SparsePauliOp.from_sparse_list([(word, where, 1.0)], BACKEND.num_qubits)
            assert abs(value - rho.expectation_value(operator).real) < 1e-9
    assert [*record.rows()[0]] == ["sample", "observable", "value", "error", "exact", "noisy", "deviation"]


def test_probabilities_with_readout_errors():
    values, record = run()
    errors = NoiseModel.from_backend(BACKEND)._local_readout_errors
    for row, one in zip(record.predicted, values, strict=True):
        rho, places = aer_state(one)
        exact = rho.probabilities(places[::-1]).reshape(2, 2, 2)  # our order: qubit 0 most significant
        for axis, place in enumerate(places):
            table = np.asarray(errors[(place,)].probabilities)  # rows: the outcome
            exact = np.moveaxis(np.tensordot(table, exact, (0, axis)), 0, axis)
        np.testing.assert_allclose(row, exact.reshape(-1), atol=1e-9)


def test_readout_errors_stay_where_the_runtime_leaves_them():
    _, mitigated = run(observables=OBSERVABLES, resilience_level=1)
    _, plain = run(observables=OBSERVABLES, resilience_level=0)
    assert np.all(np.abs(plain.predicted[:, 0]) < np.abs(mitigated.predicted[:, 0]) - 0.05)


def test_left_out_where_it_is_not_asked_for_or_too_wide(monkeypatch):
    assert run(noisy=False)[1].predicted is None
    monkeypatch.setattr("qjaxsim_qiskit.ibm.predicted.WIDEST", 2)
    assert run()[1].predicted is None


def test_a_simulator_has_its_own_noise_not_the_device_s_that_it_was_made_from():
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.3, 2), ["cx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.05, 1), ["sx", "x"])
    simulator = AerSimulator.from_backend(BACKEND, noise_model=model)
    values, record = run(simulator)
    for row, one in zip(record.predicted, values, strict=True):
        rho, places = aer_state(one, simulator, model)
        np.testing.assert_allclose(row, rho.probabilities(places[::-1]), atol=1e-9)
    simulator.set_options(noise_model=None)
    assert run(simulator)[1].predicted is None
    together = NoiseModel()
    together.add_readout_error(ReadoutError(np.eye(4)[::-1]), [0, 1])  # of two qubits together: no such noise here
    assert run(AerSimulator.from_backend(BACKEND, noise_model=together))[1].predicted is None
