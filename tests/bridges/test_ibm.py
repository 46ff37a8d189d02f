"""Circuits on simulated backends: numbers, order of qubits, batches, options, refusals."""

import json
import sys
import warnings

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.common import memory

pytest.importorskip("qiskit_ibm_runtime")
pytest.importorskip("qiskit_aer")
from qiskit import QuantumCircuit, transpile  # noqa: E402
from qiskit.circuit import Gate, Parameter, ParameterVector  # noqa: E402
from qiskit.providers.fake_provider import GenericBackendV2  # noqa: E402
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector  # noqa: E402
from qiskit_aer import AerSimulator  # noqa: E402
from qiskit_ibm_runtime import Session  # noqa: E402
from qiskit_ibm_runtime.fake_provider import FakeManilaV2  # noqa: E402
from qjaxsim_qiskit import ibm  # noqa: E402
from qjaxsim_qiskit.ibm import jobs, parts, primitives, records  # noqa: E402
from qjaxsim_qiskit.ibm.work import prepare, pub  # noqa: E402

from tests.cases import mostly_slow

pytestmark = [
    # Aer says of a noiseless GenericBackendV2 that its noise model will lack thermal relaxation.
    pytest.mark.filterwarnings("ignore:Qiskit backend .* has no QubitProperties:UserWarning"),
]

OBSERVABLES = [qj.Z(0), qj.Z(1) @ qj.X(3), 0.5 * qj.Y(2) - 2.0 * qj.Z(0) @ qj.Z(3) + 0.25]
OPERATORS = [SparsePauliOp("IIIZ"), SparsePauliOp("XIZI"), SparsePauliOp(["IYII", "ZIIZ", "IIII"], [0.5, -2, 0.25])]


@pytest.fixture(scope="module")
def line():
    """Five qubits in a line, no noise."""
    coupling = [[a, b] for q in range(4) for a, b in ((q, q + 1), (q + 1, q))]
    return GenericBackendV2(5, noise_info=False, coupling_map=coupling, seed=1)


@pytest.fixture(scope="module")
def theirs() -> QuantumCircuit:
    """Four qubits, no two alike, with couplings that a line does not have and more than ten parameters."""
    v, a = ParameterVector("v", 11), Parameter("a")
    made = QuantumCircuit(4)
    for qubit in range(4):
        made.ry(v[qubit], qubit)
        made.rx(2 * v[qubit + 4] + a, qubit)
    made.cx(0, 3)
    made.cx(0, 2)
    made.cx(2, 3)
    for qubit in range(3):
        made.ry(v[qubit + 8] * a, qubit)
    return made


@pytest.fixture(scope="module")
def params():
    """Three samples: as many as there are observables."""
    rng = np.random.default_rng(3)
    return {"v": rng.uniform(-np.pi, np.pi, (3, 11)), "a": np.array(0.7)}


def states(circuit, params):
    return [
        Statevector(
            circuit.assign_parameters({**dict(zip(circuit.parameters[1:], row, strict=True)), "a": params["a"]})
        )
        for row in params["v"]
    ]


def submit(circuit, params, observables, tmp_path, **options):
    options = {"shots": 1000, "out": tmp_path, "report": lambda line: None, **options}
    return ibm.run(circuit, params, observables, **options)


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


@pytest.fixture
def old_runtime(monkeypatch):
    """As before qiskit-ibm-runtime 0.50."""
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime.executor_estimator", None)


def test_older_primitives_take_over(old_runtime, theirs, params, line, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        record = submit(theirs, params, OBSERVABLES, tmp_path, backend=line)
        counts = submit(theirs, params, None, tmp_path, backend=line)
    assert record.primitive == "qiskit_ibm_runtime.estimator.EstimatorV2" and record.resilience_level is None
    assert np.abs(record.deviations).max() < 5
    assert counts.primitive == "qiskit_ibm_runtime.sampler.SamplerV2" and max(counts.total_variation) < 0.15


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 0}, "`shots` must be an integer of at least 1, but is 0"),
        ({"shots": True}, "`shots` must be an integer of at least 1, but is True"),
        ({"optimization_level": 4}, "`optimization_level` must be an integer from 0 to 3, but is 4"),
        ({"seed": -1}, "`seed` must be an integer from 0 to 2147483647, but is -1"),
        ({"mode": "turbo"}, "`mode` must be one of job, session, batch, but is 'turbo'"),
        ({"resilience_level": 3}, "options of the primitive are out of range: resilience_level: Input should be 0"),
        ({"wait": False}, "`wait` must be true in local mode"),
        ({"channel": "ibm_quantum"}, "but is 'ibm_quantum' .IBM closed the channel ibm_quantum; ibm_quantum_platform"),
        ({"channel": "moon"}, "`channel`, .* must be one of local, ibm_quantum_platform, ibm_cloud, but is 'moon'"),
        ({"backend": "fake_manilla"}, r"'fake_manilla' is none \(near it: fake_manila"),
        ({"backend": "fake_armonk"}, "The circuit has 4 qubits, but backend fake_armonk has 1; choose a wider backend"),
        ({"observables": [qj.Z(4)]}, "acts on qubit 4, but the circuit has 4 qubits"),
        ({"observables": [qj.Z(0), qj.Z(1) - qj.Z(1)]}, "Observable 1 must have a term, but is 0"),
        ({"params": {"v": np.zeros(11)}}, r"`params` lacks \['a'\]"),
        ({"params": {"v": np.full(11, np.nan), "a": 0.0}}, "`params` must hold finite numbers, but v does not"),
    ],
)  # fmt: skip
def test_wrong_arguments(options, message, theirs, params, tmp_path):
    arguments = {"params": params, "observables": OBSERVABLES, "backend": "fake_manila", **options}
    with pytest.raises(ValueError, match=message):
        submit(theirs, arguments.pop("params"), arguments.pop("observables"), tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("backend", "shown"), [(3, "int"), (None, "NoneType"), (FakeManilaV2, "the class FakeManila")])
def test_what_is_no_backend(backend, shown, theirs, params, tmp_path):
    with pytest.raises(TypeError, match=f"Argument `backend` must be a BackendV2 of Qiskit's, but is {shown}"):
        submit(theirs, params, OBSERVABLES, tmp_path, backend=backend)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": None}, r"`mode` must be one of job, session, batch, or an open .* Batch, but is None \(NoneType\)"),
        ({"mode": Session}, r"`mode` must be one of job, session, batch, or an open .*Session'> \(ABCMeta|type\)"),
        ({"mode": FakeManilaV2()}, r"`mode` must be one of job, session, batch, or an open .* \(FakeManilaV2\)"),
        ({"report": None}, r"`report` must be a function of a line, such as print, but is None \(NoneType\)"),
    ],
)
def test_arguments_of_other_types(options, message, theirs, params, tmp_path):
    with pytest.raises(TypeError, match=message):
        submit(theirs, params, OBSERVABLES, tmp_path, backend="fake_manila", **options)
    assert list(tmp_path.iterdir()) == []


def test_counts_know_no_resilience(theirs, params, tmp_path):
    with pytest.raises(ValueError, match="`resilience_level` is for expectation values, but is 1"):
        submit(theirs, params, None, tmp_path, backend="fake_manila", resilience_level=1)


def test_only_the_qubits_in_use_of_a_wide_device_are_simulated(tmp_path, monkeypatch):
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(0, 2)
    circuit.ry(0.3, 1)
    asked = []
    monkeypatch.setattr(jobs, "check_local", lambda backend, width, report: asked.append(width))
    counts = submit(circuit, None, None, tmp_path, backend="fake_guadalupe")
    dry = submit(circuit, None, None, tmp_path, backend="fake_guadalupe", dry_run=True)
    values = submit(circuit, None, [qj.Z(0) @ qj.Z(2), qj.X(1)], tmp_path, backend="fake_guadalupe", resilience_level=0)
    # A GHZ state with the noise of a good device.
    assert counts.total_variation[0] < 0.2 and len(counts.physical_qubits) == 3 and dry.status == "dry run"
    np.testing.assert_allclose(values.exact, [1, 0], atol=1e-12)
    assert 0.7 < values.evs[0] < 1 and abs(values.evs[1]) < 5 * values.stds[1]
    assert asked == [3, 3, 3]


def test_a_part_of_a_device_has_its_noise():
    from qiskit_aer.noise import NoiseModel
    from qiskit_ibm_runtime.fake_provider import FakeGuadalupeV2

    backend = FakeGuadalupeV2()
    circuit = QuantumCircuit(3)
    circuit.sx([0, 1, 2])
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    isa = transpile(circuit, backend, initial_layout=[12, 13, 14], optimization_level=0)
    submission = parts.used_part(isa, backend)
    assert submission.circuit.num_qubits == 3 and list(submission.places) == [0, 1, 2]
    whole, part = NoiseModel.from_backend(backend), submission.backend.options.noise_model
    for name in ("sx", "cx"):
        for qubits, error in part._local_quantum_errors[name].items():
            assert error == whole._local_quantum_errors[name][tuple(12 + qubit for qubit in qubits)]
    assert len(part._local_quantum_errors["cx"]) == 4 and len(part._local_readout_errors) == 3
    for (qubit,), error in part._local_readout_errors.items():
        assert error == whole._local_readout_errors[(12 + qubit,)]


def test_too_many_qubits_in_use(monkeypatch):
    lines = []
    jobs.check_local(FakeManilaV2(), 13, lines.append)
    assert lines == ["13 qubits of fake_manila are simulated, which may take minutes"]
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**8 - 1)
    with pytest.raises(MemoryError, match=r"but 4 of fake_manila take 2\.38e-07 GiB, .* use fewer qubits"):
        jobs.check_local(FakeManilaV2(), 4, lines.append)


def test_foreign_instructions_are_refused(theirs):
    circuit = theirs.copy()
    circuit.barrier()
    with pytest.raises(ValueError, match="holds rx, ry, but backend fake_manila has only .*cx.*; transpile it"):
        primitives.check_isa(circuit, FakeManilaV2())


def test_a_failed_simulation_is_recorded(theirs, params, tmp_path, monkeypatch):
    import qiskit_ibm_runtime.fake_provider.local_service as local
    from qiskit.exceptions import QiskitError

    def fail(*_, **__):
        raise QiskitError("no more\nshots.")

    monkeypatch.setattr(local, "run_quantum_program", fail)
    with pytest.raises(RuntimeError, match=r"^Job .* failed: no more shots\.$"):
        submit(theirs, params, OBSERVABLES, tmp_path, backend="fake_manila")
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text())["status"] == "failed"
    with pytest.raises(RuntimeError, match="failed: no more shots"):
        ibm.fetch(path.stem, out=tmp_path)


def test_a_local_job_without_its_result_cannot_be_fetched(theirs, params, tmp_path, monkeypatch):
    class KilledError(BaseException):
        pass

    def kill(*_):
        raise KilledError

    monkeypatch.setattr(jobs, "finish_job", kill)
    with pytest.raises(KilledError):
        submit(theirs, params, OBSERVABLES, tmp_path, backend="fake_manila")
    (path,) = tmp_path.iterdir()
    with pytest.raises(RuntimeError, match="was simulated in a process that ended before its result; run it again"):
        ibm.fetch(path.stem, out=tmp_path)


@pytest.mark.parametrize("package", ["qiskit_ibm_runtime", "qiskit_aer"])
def test_missing_packages(package, theirs, params, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError, match=rf'{package} is missing; install it with: pip install -e "\.\[ibm\]" in a clone'
    ):
        submit(theirs, params, OBSERVABLES, tmp_path, backend="fake_manila")


def test_older_primitives_need_aer_too(old_runtime, theirs, params, tmp_path, monkeypatch):
    """They would run without noise, and say nothing."""
    backend = FakeManilaV2()
    monkeypatch.setitem(sys.modules, "qiskit_aer", None)
    with pytest.raises(ImportError, match="qiskit_aer is missing"):
        submit(theirs, params, OBSERVABLES, tmp_path, backend=backend)


def test_observables_and_samples_are_crossed(theirs, params):
    """As many of one as of the other would be paired if the observables had no axis of their own."""
    work = prepare(theirs, params, OBSERVABLES)
    submission = parts.Submission(theirs, None, None)
    _, operators, values = pub(work, submission, primitives.EXPECTATION)
    assert np.array(operators, dtype=object).shape[:2] == (3, 1) and values.shape == (3, 12)


def test_every_field_of_a_record_is_written(theirs, params, tmp_path):
    record = submit(theirs, params, OBSERVABLES, tmp_path, backend="fake_manila", shots=50, resilience_level=0)
    content = json.loads((tmp_path / f"{record.job_id}.json").read_text())
    assert content.keys() == {*records.JobRecord.__dataclass_fields__, "deviations", "total_variation"}


def test_a_gate_of_ones_own_under_a_standard_name_is_written_out():
    own = Gate("rz", 1, [])
    own.definition = QuantumCircuit(1)
    own.definition.h(0)
    circuit = QuantumCircuit(3)
    circuit.append(own, [2])
    circuit.cx(2, 0)
    work = prepare(circuit, {}, [qj.Z(0)])
    assert work.circuit.count_ops() == {"h": 1, "cx": 1}
    assert Operator(work.circuit) == Operator(circuit)


def test_delays_of_a_free_duration_are_refused(tmp_path):
    circuit = QuantumCircuit(2)
    circuit.ry(0.3, 0)
    circuit.delay(Parameter("wait"), 1)
    with pytest.raises(
        ValueError, match="durations to be run on a backend, but that of operation 1 is wait; bind it in"
    ):
        submit(circuit, {"wait": 0.3}, [qj.Z(0)], tmp_path, backend="fake_manila")


def test_delays_between_a_device_s_ticks_are_refused(tmp_path):
    device = FakeManilaV2()
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    circuit.delay(5000, 0, "ns")
    steps = 5e-6 / device.dt
    near = 16 * round(steps / 16)
    with pytest.raises(ValueError, match=rf"must be multiples of 16 dt .* operation 1 is {steps:.0f}; .* is {near} dt"):
        submit(circuit, None, None, tmp_path, backend=device, dry_run=True)
    circuit.data.pop()
    circuit.delay(near * device.dt, 0, "s")
    assert submit(circuit, None, None, tmp_path, backend=device, dry_run=True).operations["delay"] == 1


def test_observables_need_gates_that_turn_bases(tmp_path):
    device = GenericBackendV2(2, basis_gates=["cz", "rx", "rz"], noise_info=False, seed=1)
    circuit = QuantumCircuit(2)
    circuit.h(0)
    with pytest.raises(ValueError, match="needs a backend with the gates rz and sx, .* generic.* has no sx; choose an"):
        submit(circuit, None, [qj.X(0)], tmp_path, backend=device)
    assert list(tmp_path.iterdir()) == []


def test_observables_of_a_circuit_with_branches_are_refused(tmp_path):
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.x(1)
    with pytest.raises(ValueError, match="`observables` needs a circuit without branches .*; ask for counts, without"):
        submit(circuit, None, [qj.Z(1)], tmp_path, backend="fake_manila", dry_run=True)


def test_values_at_which_an_angle_is_none_are_refused(tmp_path):
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("a").log(), 0)
    circuit.cx(0, 1)
    for exact in (True, False):
        with pytest.raises(ValueError, match=r"^Angles must be .*, but .*log\(a\) is none at a = -0.5\.$"):
            submit(circuit, {"a": [0.5, -0.5]}, [qj.Z(1)], tmp_path, backend="fake_manila", exact=exact)
    assert list(tmp_path.iterdir()) == []
    assert submit(circuit, {"a": [0.5, 1.5]}, [qj.Z(1)], tmp_path, backend="fake_manila", shots=100).status == "done"


def test_counts_on_a_simulator_made_from_a_wide_device(tmp_path):
    from qiskit_ibm_runtime.fake_provider import FakeGuadalupeV2

    circuit = QuantumCircuit(2)
    circuit.x(1)
    simulator = AerSimulator.from_backend(FakeGuadalupeV2())
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "check_local", lambda backend, width, report: asked.append(width))
        record = submit(circuit, None, None, tmp_path, backend=simulator)
        submit(circuit, None, [qj.Z(0)], tmp_path, backend=simulator, dry_run=True)
    assert asked == [2, 16]
    assert record.counts[0]["01"] > 800
