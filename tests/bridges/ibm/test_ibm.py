"""Circuits on simulated backends: numbers, order of qubits, batches, options."""

import warnings

import numpy as np
import pytest

import qjaxsim as qj

pytest.importorskip("qiskit_ibm_runtime")
pytest.importorskip("qiskit_aer")
from qiskit import QuantumCircuit, transpile  # noqa: E402
from qiskit.circuit import Parameter  # noqa: E402
from qiskit.providers.fake_provider import GenericBackendV2  # noqa: E402
from qiskit.quantum_info import SparsePauliOp, Statevector  # noqa: E402
from qiskit_aer import AerSimulator  # noqa: E402
from qiskit_ibm_runtime.fake_provider import FakeManilaV2  # noqa: E402
from qjaxsim_qiskit import ibm  # noqa: E402

from tests.cases import mostly_slow
from tests.ibm_cases import OBSERVABLES, submit  # noqa: E402

pytestmark = [
    # Aer says of a noiseless GenericBackendV2 that its noise model will lack thermal relaxation.
    pytest.mark.filterwarnings("ignore:Qiskit backend .* has no QubitProperties:UserWarning"),
]

OPERATORS = [SparsePauliOp("IIIZ"), SparsePauliOp("XIZI"), SparsePauliOp(["IYII", "ZIIZ", "IIII"], [0.5, -2, 0.25])]


def states(circuit, params):
    return [
        Statevector(
            circuit.assign_parameters({**dict(zip(circuit.parameters[1:], row, strict=True)), "a": params["a"]})
        )
        for row in params["v"]
    ]


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", mostly_slow([0, 1], keep=1))
def test_expectations_of_a_noiseless_backend(level, theirs, params, line, tmp_path):
    wanted = [[state.expectation_value(operator).real for operator in OPERATORS] for state in states(theirs, params)]
    record = submit(theirs, params, OBSERVABLES, tmp_path, backend=line, resilience_level=level)
    assert record.status == "done" and record.resilience_level == level and record.evs.shape == (3, 3)
    np.testing.assert_allclose(record.exact, wanted, atol=1e-12)
    assert np.abs((record.evs - wanted) / record.stds).max() < 5
    np.testing.assert_allclose(record.deviations, (record.evs - wanted) / record.stds, rtol=1e-9)
    # Shot noise of a sum of two bases, or of one: the errors are neither made up nor of a single shot.
    assert (record.stds > 0.3 / np.sqrt(1000)).mean() > 0.5 and record.stds.max() < 3 / np.sqrt(1000)
    assert len(set(record.physical_qubits)) == 4 and record.physical_qubits != (0, 1, 2, 3)


def test_ours_with_two_batch_axes(line, tmp_path):
    x, w = qj.Parameter("x", (2,)), qj.Parameter("w", (2, 3))
    layer = qj.Circuit(3).cx(0, 2).cx(2, 1)
    weights = qj.Parameter("w", (3,))
    for qubit in range(3):
        layer.ry(weights[qubit], qubit)
    circuit = qj.Circuit(3).ry(x[0], 0).rx(x[1], 2).repeat(layer, 2)
    rng = np.random.default_rng(4)
    params = {"x": rng.normal(size=(2, 1, 2)), "w": rng.normal(size=(3, *w.shape))}
    record = submit(circuit, params, [qj.Z(0), qj.X(1)], tmp_path, backend=line, resilience_level=0)
    assert record.batch == (2, 3) and record.evs.shape == (2, 3, 2)
    np.testing.assert_allclose(record.exact, qj.expectation(circuit, [qj.Z(0), qj.X(1)])(params), atol=1e-12)
    assert np.nanmax(np.abs(record.deviations)) < 5
    rows = record.rows()
    assert [(row["sample"], row["observable"]) for row in rows[:3]] == [("0,0", "Z0"), ("0,0", "X1"), ("0,1", "Z0")]
    assert rows[7]["value"] == record.evs[1, 0, 1] and rows[7]["exact"] == record.exact[1, 0, 1]


@pytest.mark.parametrize("backend", mostly_slow(["aer_simulator", "controlled"], keep=[1]))
def test_angles_of_controlled_rotations_are_not_lost(backend, tmp_path):
    """Aer would run them with wrong angles."""
    if backend == "controlled":
        backend = GenericBackendV2(3, basis_gates=["cx", "rz", "sx", "x", "crx", "cp"], noise_info=False, seed=1)
    a = qj.Parameter("a", (3,))
    circuit = qj.Circuit(3).h(0).h(1).crx(a[0], 0, 2).cry(a[1], 1, 2).cp(a[2], 0, 1).h(0).h(1)
    params = {"a": np.array([[1.2, 0.5, 2.0], [0.1, 2.2, 1.0]])}
    record = submit(circuit, params, [qj.Z(q) for q in range(3)], tmp_path, backend=backend, resilience_level=0)
    assert np.abs(record.deviations).max() < 5
    counts = submit(circuit, params, None, tmp_path, backend=backend)
    assert max(counts.total_variation) < 0.1


def test_a_device_that_lacks_the_usual_gates_keeps_its_own(tmp_path):
    device = GenericBackendV2(2, basis_gates=["cz", "crx", "rx", "rz"], noise_info=False, seed=1)
    a = Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.ry(a, 0)
    circuit.crx(2 * a, 0, 1)
    angles = np.array([0.6, 1.9])
    record = submit(circuit, {"a": angles}, None, tmp_path, backend=device, shots=4000)
    assert not {"crx", "cx"} & {*record.operations}
    for one, counts in zip(angles, record.counts, strict=True):
        chance = np.sin(one / 2) ** 2 * np.sin(one) ** 2  # of both qubits at one
        assert abs(counts.get("11", 0) / 4000 - chance) < 5 * np.sqrt(chance * (1 - chance) / 4000)


def test_phases_that_no_measurement_sees_may_have_parameters(line, tmp_path):
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2, global_phase=2 * b)
    circuit.ry(a, 1)
    values = {"a": np.array([0.3, 1.1]), "b": np.array([0.4, 0.9])}
    record = submit(circuit, values, [qj.Z(1)], tmp_path, backend=line, resilience_level=0)
    assert np.all(np.abs(record.evs[:, 0] - np.cos(values["a"])) < 5 * record.stds[:, 0])
    alone = QuantumCircuit(2, global_phase=b)
    alone.x(1)
    record = submit(alone, {"b": values["b"]}, [qj.Z(1), qj.Z(0)], tmp_path, backend=line, resilience_level=0)
    np.testing.assert_allclose(record.evs, [[-1, 1], [-1, 1]])
    record = submit(alone, {"b": values["b"]}, None, tmp_path, backend="fake_manila")
    assert len(record.counts) == 2 and record.predicted.shape == (2, 4) and record.predicted[1, 1] > 0.8


@pytest.mark.parametrize("level", [1, 3])
def test_angles_may_have_parameters_on_which_they_do_not_depend(level, line, tmp_path):
    """Qiskit cannot hash `0 * a - 0.3`, nor copy `a - a`."""
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(3, global_phase=a - a - 0.2)
    circuit.h(0)
    circuit.rz(0 * a - 0.3, 0)
    circuit.rz(b, 0)
    circuit.u(a - a - 0.4, b, a - a, 1)
    circuit.cx(1, 2)
    values, wanted = {"a": [0.7, 0.1], "b": [0.4, 0.9]}, [qj.X(0), qj.Z(2)]
    for options in ({"backend": line, "resilience_level": 0}, {"backend": "fake_manila", "resilience_level": 1}):
        record = submit(circuit, values, wanted, tmp_path, optimization_level=level, **options)
        exact = [[np.cos(0.1), np.cos(0.4)], [np.cos(0.6), np.cos(0.4)]]
        np.testing.assert_allclose(record.exact, exact, rtol=0, atol=1e-6)
        np.testing.assert_allclose(record.evs, exact, rtol=0, atol=0.1)


def test_noise_is_that_of_aer(tmp_path):
    circuit = QuantumCircuit(3)
    circuit.ry(0.4, 0)
    circuit.ry(1.3, 1)
    circuit.ry(2.2, 2)
    circuit.cx(0, 2)
    backend = FakeManilaV2()
    record = submit(circuit, None, [qj.Z(q) for q in range(3)], tmp_path, backend="fake_manila", resilience_level=0)
    measured = transpile(circuit, backend, optimization_level=0, initial_layout=list(record.physical_qubits))
    measured.measure_all()
    shots = 100_000
    noisy = AerSimulator.from_backend(backend, method="density_matrix").run(measured, shots=shots, seed_simulator=1)
    counts = noisy.result().get_counts()
    for qubit, place in enumerate(record.physical_qubits):
        value = sum(n * (-1) ** int(text[::-1][place]) for text, n in counts.items()) / shots
        assert abs(record.evs[qubit] - value) < 5 * record.stds[qubit] + 0.01


def test_counts_have_qubit_0_first(line, tmp_path):
    circuit = QuantumCircuit(4)
    circuit.x(1)
    circuit.ry(0.8, 3)
    circuit.cx(3, 0)
    wanted = {"0100": np.cos(0.4) ** 2, "1101": np.sin(0.4) ** 2}
    circuit.measure_all()
    record = submit(circuit, None, None, tmp_path, backend=line, shots=2000)
    (counts,) = record.counts
    assert counts.keys() == wanted.keys() and sum(counts.values()) == 2000
    for outcome, probability in wanted.items():
        assert record.exact[int(outcome, 2)] == pytest.approx(probability)
        assert abs(counts[outcome] / 2000 - probability) < 5 * np.sqrt(probability * (1 - probability) / 2000)
    assert record.total_variation[0] == pytest.approx(abs(counts["0100"] / 2000 - wanted["0100"]))
    assert [row["outcome"] for row in record.rows()] == ["0100", "1101"]


def test_branches_may_have_expressions_of_parameters(tmp_path):
    a = Parameter("a")
    circuit = QuantumCircuit(3, 1)
    circuit.ry(a, 0)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)) as otherwise:
        circuit.rx(2 * a, 1)
    with otherwise:
        circuit.ry(a * a, 2)
    record = submit(circuit, {"a": [0.5, 1.5]}, None, tmp_path, backend=AerSimulator())
    for a, exact, counts in zip([0.5, 1.5], record.exact, record.counts, strict=True):
        one, followed, other = (np.sin(angle / 2) ** 2 for angle in (a, 2 * a, a * a))
        wanted = [(1 - one) * (1 - other), (1 - one) * other, 0, 0, one * (1 - followed), 0, one * followed, 0]
        np.testing.assert_allclose(exact, wanted, atol=1e-12)
        drawn = np.array([counts.get(f"{outcome:03b}", 0) for outcome in range(8)]) / record.shots
        assert (np.abs(drawn - wanted) <= 5 * np.sqrt(np.multiply(wanted, 1 - np.array(wanted)) / record.shots)).all()


def test_counts_of_a_batch(theirs, params, line, tmp_path):
    record = submit(theirs, params, None, tmp_path, backend=line, shots=800)
    for number, state in enumerate(states(theirs, params)):
        wanted = state.probabilities().reshape((2,) * 4).transpose().reshape(-1)
        np.testing.assert_allclose(record.exact[number], wanted, atol=1e-12)
        found = np.array([record.counts[number].get(f"{index:04b}", 0) for index in range(16)])
        assert found.sum() == 800
        assert (np.abs(found - 800 * wanted) <= 5 * np.sqrt(800 * wanted * (1 - wanted)) + 1e-6).all()


def test_an_observable_without_scatter_has_no_deviation(line, tmp_path):
    record = submit(QuantumCircuit(2), None, [qj.Z(0), 2 * qj.I()], tmp_path, backend=line, resilience_level=0)
    np.testing.assert_array_equal(record.evs, [1, 2])
    assert np.isnan(record.deviations).all()
    assert [row["deviation"] for row in record.rows()] == [None, None]


def test_error_of_a_frequency_is_that_of_the_beta_distribution(tmp_path):
    from scipy.stats import beta

    record = submit(QuantumCircuit(1), None, None, tmp_path, backend="aer_simulator", shots=30)
    assert record.counts == ({"0": 30},)
    (row,) = record.rows()
    assert row["error"] == pytest.approx(beta(31, 1).std())
    assert (row["value"], row["exact"], row["deviation"]) == (1, 1, 0)


# --- options -----------------------------------------------------------------------------------------------------


def test_seeds_decide_local_results(theirs, params, tmp_path):
    first, again, other = (
        submit(theirs, params, OBSERVABLES[:1], tmp_path, backend="FakeManilaV2", resilience_level=0, shots=200, seed=s)
        for s in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.evs, again.evs)
    assert (first.evs != other.evs).any()


@pytest.mark.parametrize("mode", mostly_slow(["session", "batch"], keep=1))
def test_modes_run_locally(mode, theirs, params, tmp_path):
    record = submit(theirs, params, [qj.Z(0)], tmp_path, backend="fake_manila", mode=mode, shots=50, resilience_level=0)
    assert record.status == "done" and record.mode == mode


def test_without_exact_values(theirs, params, tmp_path):
    record = submit(theirs, params, [qj.Z(1)], tmp_path, backend="fake_manila", exact=False, shots=50)
    assert record.exact is None and record.deviations is None and record.evs.shape == (3, 1)
    assert record.rows()[0]["exact"] is None and record.rows()[0]["error"] > 0
    counts = submit(theirs, params, None, tmp_path, backend="fake_manila", exact=False, shots=50)
    assert counts.total_variation is None and not (tmp_path / f"{counts.job_id}.npy").exists()


def test_records_come_back_whole(theirs, params, tmp_path):
    for observables in (OBSERVABLES, None):
        record = submit(theirs, params, observables, tmp_path, backend="fake_manila", shots=100)
        back = ibm.load(record.job_id, tmp_path)
        assert back.rows() == record.rows() and back.to_json() == record.to_json()
        assert ibm.fetch(record.job_id, out=tmp_path).rows() == record.rows()


def test_a_dry_run_reports_the_circuit(theirs, params, line, tmp_path):
    record = submit(theirs, params, OBSERVABLES, tmp_path, backend=line, dry_run=True)
    assert record.status == "dry run" and list(tmp_path.iterdir()) == []
    assert record.operations["cx"] >= 3 and record.exact.shape == (3, 3)
    assert [row["value"] for row in record.rows()] == [None] * 9


def test_older_primitives_take_over(old_runtime, theirs, params, line, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        record = submit(theirs, params, OBSERVABLES, tmp_path, backend=line)
        counts = submit(theirs, params, None, tmp_path, backend=line)
    assert record.primitive == "qiskit_ibm_runtime.estimator.EstimatorV2" and record.resilience_level is None
    assert np.abs(record.deviations).max() < 5
    assert counts.primitive == "qiskit_ibm_runtime.sampler.SamplerV2" and max(counts.total_variation) < 0.15
